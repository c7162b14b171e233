import ArgumentParser
import LatheModel
import LatheTensor
import LatheText

struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the tokens of a text.",
    usage: "lathe tokenize <model> (--text <text> | --file <file>) [<options>]")

  @Argument(help: "A model, or a tokenizer's file.") var model: String
  @Option(help: "The text.") var text: String?
  @Option(help: "A file that holds the text.") var file: String?
  @Flag(help: "Print the ids alone, separated by spaces.") var ids = false
  @Flag(name: .customLong("no-special"), help: "Add no special tokens, and take none from the text.")
  var noSpecial = false
  @OptionGroup var tokenizer: TokenizerOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (text == nil) != (file == nil) else { throw ValidationError("give either --text or --file") }
  }

  private struct Result: Encodable {
    let ids: [Int32]
    let pieces: [String]
    let count: Int
    let tokenizer: String
  }

  func run() throws {
    let tokenizer = try Tokenizer.forModel(at: model, override: tokenizer.tokenizer)
    let bytes =
      try file.map { (path) throws(Problem) in try Bytes(mapping: path) } ?? Bytes(Array((text ?? "").utf8))
    let tokens = try tokenizer.encode(
      bytes, addingSpecialTokens: !noSpecial, parsingSpecialTokens: !noSpecial)
    if common.json {
      try Output.json(
        Result(
          ids: tokens, pieces: tokens.map { tokenizer.piece(of: $0) ?? "" }, count: tokens.count,
          tokenizer: tokenizer.summary))
    } else if ids {
      Output.line(tokens.map(String.init).joined(separator: " "))
    } else {
      Output.piece(tokens.map { "\($0)\t\(tokenizer.piece(of: $0) ?? "")\n" }.joined())
      Output.note("\(tokens.count) tokens (\(tokenizer.summary))")
    }
  }
}
