internal import LatheTensor

/// How a `tokenizer.json` turns pieces into text, brought into one form: what each piece contributes, and how
/// many spaces the text loses at its start.
struct HuggingFaceDecoder {
  private(set) var leadingSpaces = 0
  private(set) var isByteLevel = false
  private var replacements: [(old: [UInt8], new: [UInt8])] = []
  private var readsBytes = false
  private var isFused = false

  static func read(_ json: JSON?) throws(Problem) -> HuggingFaceDecoder {
    var result = HuggingFaceDecoder()
    if let json { try result.add(json, depth: 0) }
    return result
  }

  private mutating func add(_ json: JSON, depth: Int) throws(Problem) {
    let fields = try json.members()
    let type = fields["type"]?.text ?? ""
    switch type {
    case "Sequence":
      for part in try fields["decoders"]?.elements() ?? [] {
        try add(part, depth: try nested(depth, "decoder"))
      }
    case "ByteLevel": isByteLevel = true
    case "ByteFallback": readsBytes = true
    case "Fuse": isFused = true
    case "Replace":
      guard case .literal(let old) = try HuggingFacePattern.read(fields["pattern"], at: "decoder") else {
        throw Problem(.badData, "a decoder replaces an expression", at: "decoder", cure: "use a literal text")
      }
      replacements.append((old, fields["content"]?.string ?? []))
    case "Strip":
      let start = fields["start"]?.int ?? 0
      guard isFused, fields["content"]?.text == " ", (0...16).contains(start), fields["stop"]?.int ?? 0 == 0
      else {
        throw Problem(
          .badData, "a decoder strips what is not a space at the start of the text", at: "decoder",
          cure: "use a tokenizer that does not")
      }
      leadingSpaces = start
    case "Metaspace":
      replacements.append((fields["replacement"]?.string ?? WhitespaceRules.symbol, [0x20]))
      let adds = fields["add_prefix_space"]?.bool ?? true
      leadingSpaces = (fields["prepend_scheme"]?.text).map { $0 != "never" } ?? adds ? 1 : 0
    default:
      throw unknown(type, "decoder", ["Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace"])
    }
  }

  /// What a piece contributes to a text.
  func surface(_ piece: [UInt8]) -> [UInt8] {
    if readsBytes, let byte = byteValue(piece[...]) { return [byte] }
    return replacements.reduce(piece) { replacing($1.old, with: $1.new, in: $0) }
  }
}
