internal import LatheTensor

/// llama2.c's `tokenizer.bin`: the length of the longest token, then per token a score, a length and the text.
///
/// The ids 0, 1 and 2 are unknown, beginning and end, and 3 to 258 the bytes, as llama2.c takes for granted.
/// Source: github.com/karpathy/llama2.c, `tokenizer.py`.
enum Llama2cFile {
  static let format = TokenizerFormat(
    name: "llama2.c",
    recognizes: { name, head in
      name.hasSuffix(".bin") && head.count > 12 && head.load(at: 0, as: UInt32.self).littleEndian < 1 << 16
    }, load: load)

  static func load(_ bytes: Bytes, _ settings: TokenizerSettings) throws(Problem) -> Tokenizer {
    var tokens: [ScoredVocabulary.Token] = []
    let longest = bytes.count >= 4 ? Int(bytes.load(at: 0, as: UInt32.self).littleEndian) : 0
    var at = 4
    while at < bytes.count {
      guard at + 8 <= bytes.count else { throw damaged("ends inside token \(tokens.count)") }
      let score = Float(bitPattern: bytes.load(at: at, as: UInt32.self).littleEndian)
      let length = Int(bytes.load(at: at + 4, as: UInt32.self).littleEndian)
      guard length <= longest, at + 8 + length <= bytes.count else {
        throw damaged("says that token \(tokens.count) has \(length) bytes")
      }
      let text = bytes[(at + 8)..<(at + 8 + length)].elements(as: UInt8.self)
      tokens.append(token(text, score, id: tokens.count))
      at += 8 + length
    }
    guard tokens.count > 259 else { throw damaged("has \(tokens.count) tokens") }
    var rules = WhitespaceRules()
    rules.removesExtraWhitespace = false
    rules.escapesWhitespace = false
    return try ScoredVocabulary(
      kind: "llama2.c BPE", tokens: tokens, space: [0x20], rules: rules, beginning: 1, end: 2
    ).tokenizer(settings)
  }

  private static func token(_ text: [UInt8], _ score: Float, id: Int) -> ScoredVocabulary.Token {
    switch id {
    case 0: .init(text: text, score: score, kind: .unknown)
    // The file spells them with a line break on either side.
    case 1: .init(text: Array("<s>".utf8), score: score, kind: .control)
    case 2: .init(text: Array("</s>".utf8), score: score, kind: .control)
    case 3..<259 where byteValue(text[...]) != nil: .init(text: text, score: score, kind: .byte)
    default: .init(text: text, score: score, kind: .normal)
    }
  }

  private static func damaged(_ what: String) -> Problem {
    Problem(.badData, "the llama2.c tokenizer \(what)", cure: "export the tokenizer again")
  }
}
