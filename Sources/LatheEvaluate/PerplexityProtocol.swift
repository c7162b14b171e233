public import LatheTensor
public import LatheText

/// A way to measure perplexity that makes two figures comparable: the text, its tokens, the windows, what is scored.
///
/// Perplexity without its protocol is not a number. The named ones are those of the field's tables; a text file of
/// one's own gets a protocol whose name says all that matters.
public struct PerplexityProtocol: Codable, Hashable, Sendable {
  /// Where a token that begins a sequence is put.
  public enum Beginning: String, Codable, Sendable, CaseIterable {
    /// One before each window's other tokens.
    case every
    /// One before the whole stream.
    case first
    /// None.
    case none
    /// One before the whole stream, where the tokenizer adds one by itself.
    case tokenizer
    /// In place of each window's first token, where the tokenizer adds one by itself.
    case replacing
  }

  /// Which positions of a window count.
  public enum Scoring: String, Codable, Sendable {
    /// All but the first.
    case all
    /// The second half: those that have at least half a window before them.
    case secondHalf = "second-half"
  }

  /// The name: results under different names are not comparable.
  public var name: String
  /// One sentence.
  public var summary: String
  /// Where the protocol comes from.
  public var source: String
  /// The text's file, relative to the data folder; empty for a text given otherwise.
  public var file: String
  /// How the file becomes one text.
  public var preparation: TextPreparation
  /// The tokens in a window.
  public var window: Int
  /// The beginning-of-sequence rule.
  public var beginning: Beginning
  /// What is scored.
  public var scoring: Scoring
  /// The number of windows at most; nil for all.
  public var limit: Int?

  /// A protocol for a text file of one's own.
  public static func text(window: Int, beginning: Beginning) -> PerplexityProtocol {
    PerplexityProtocol(
      name: "text-\(window)-bos-\(beginning.rawValue)",
      summary: "A text file in windows of \(window) tokens.",
      source: "Lathe", file: "", preparation: .asIs, window: window, beginning: beginning, scoring: .all,
      limit: nil)
  }

  /// The windows of tokens that `text` gives under this protocol; the remainder is dropped.
  ///
  /// - Throws: `Problem` where the text is shorter than a window or the tokenizer lacks the token it must begin with.
  public func windows(of text: Bytes, _ tokenizer: Tokenizer) throws(Problem) -> [[Int32]] {
    guard window >= 2, window <= 1 << 20 else {
      throw Problem(.usage, "a window of \(window) tokens is out of range", cure: "choose 2 to 1,048,576")
    }
    let tokens = try tokenizer.encode(text, addingSpecialTokens: false, parsingSpecialTokens: false)
    let adds = tokenizer.addsBeginningOfSequence
    let needed = beginning == .every || beginning == .first || (adds && beginning != .none)
    let bos = needed ? tokenizer.beginningOfSequence : nil
    if needed, bos == nil {
      throw Problem(
        .usage, "the tokenizer has no token that begins a sequence", cure: "choose --bos none")
    }
    let stream = bos != nil && beginning != .every ? [bos ?? 0] + tokens : tokens
    let step = beginning == .every ? window - 1 : window
    let count = min(stream.count / step, limit ?? .max)
    guard count > 0 else {
      throw Problem(
        .badData, "the text has \(tokens.count) tokens, fewer than one window of \(window)",
        cure: "choose a smaller window")
    }
    return (0..<count).map { i in
      var run = Array(stream[i * step..<(i + 1) * step])
      if beginning == .every { run.insert(bos ?? 0, at: 0) }
      if beginning == .replacing, let bos { run[0] = bos }
      return run
    }
  }

  /// The first position whose token is scored.
  public var firstScored: Int { scoring == .all ? 1 : window / 2 + 1 }
}

/// The named protocols. A new one is one line here.
public enum ProtocolCatalog {
  /// Every named protocol.
  public static let all: [PerplexityProtocol] = [
    gptq("gptq-wikitext2-2048", "WikiText-2 test", "corpora/wikitext2/wiki.test.raw", .wikitextRows),
    gptq(
      "gptq-c4-new", "the first 1,100 C4 validation documents", "corpora/c4/c4.jsonl", .jsonDocuments(1100),
      limit: 256),
    gptq("gptq-ptb", "Penn Treebank validation", "corpora/ptb/ptb.valid.txt", .lines(separator: "\n\n")),
    gptq("gptq-ptb-new", "Penn Treebank test", "corpora/ptb/ptb.test.txt", .lines(separator: " ")),
    PerplexityProtocol(
      name: "llamacpp-512",
      summary: "WikiText-2 test as llama-perplexity measures it: 512 tokens, the second half scored.",
      source: "llama.cpp, tools/perplexity", file: "corpora/wikitext2/wiki.test.raw", preparation: .asIs,
      window: 512,
      beginning: .replacing, scoring: .secondHalf, limit: nil),
  ]

  /// The protocol called `name`.
  ///
  /// - Throws: `Problem` of kind `usage` that lists the known names.
  public static func named(_ name: String) throws(Problem) -> PerplexityProtocol {
    guard let found = all.first(where: { $0.name == name }) else {
      throw Problem(
        .usage, "unknown protocol \"\(name)\"", cure: "known are \(all.map(\.name).joined(separator: ", "))")
    }
    return found
  }

  private static func gptq(
    _ name: String, _ text: String, _ file: String, _ preparation: TextPreparation, limit: Int? = nil
  ) -> PerplexityProtocol {
    PerplexityProtocol(
      name: name, summary: "GPTQ's protocol on \(text): windows of 2,048 tokens, all but the first scored.",
      source: "IST-DASLab/gptq, datautils.py", file: file, preparation: preparation, window: 2048,
      beginning: .tokenizer,
      scoring: .all, limit: limit)
  }
}
