internal import LatheTensor

/// Reads the normalizers of a `tokenizer.json`.
enum HuggingFaceNormalizers {
  static func read(_ json: JSON?, depth: Int = 0) throws(Problem) -> [NormalizerStep] {
    guard let json else { return [] }
    let fields = try json.members()
    let type = fields["type"]?.text ?? ""
    if let form = NormalizerStep.UnicodeForm(rawValue: type) { return [.unicode(form)] }
    switch type {
    case "Sequence":
      var steps: [NormalizerStep] = []
      for part in try fields["normalizers"]?.elements() ?? [] {
        steps += try read(part, depth: try nested(depth, "normalizer"))
      }
      return steps
    case "Prepend": return [.prepend(fields["prepend"]?.string ?? [])]
    case "Replace":
      let content = fields["content"]?.string ?? []
      switch try HuggingFacePattern.read(fields["pattern"], at: "normalizer") {
      case .literal(let text): return [.replace(text, with: content)]
      case .expression(let text): return [.replacePattern(try Pattern(text), with: content)]
      }
    case "Lowercase": return [.lowercase]
    case "StripAccents": return [.stripAccents]
    case "Strip":
      return [.strip(left: fields["strip_left"]?.bool ?? true, right: fields["strip_right"]?.bool ?? true)]
    default:
      throw unknown(
        type, "normalizer", ["Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip"])
    }
  }
}

/// Reads the pre-tokenizers of a `tokenizer.json`.
struct HuggingFaceSplitters {
  private(set) var steps: [SplitStep] = []
  private(set) var isByteLevel = false

  static func read(_ json: JSON?) throws(Problem) -> HuggingFaceSplitters {
    var result = HuggingFaceSplitters()
    if let json { try result.append(json, depth: 0) }
    return result
  }

  private mutating func append(_ json: JSON, depth: Int) throws(Problem) {
    let fields = try json.members()
    let type = fields["type"]?.text ?? ""
    if isByteLevel, type != "Sequence", type != "ByteLevel" {
      throw Problem(
        .badData, "the pre-tokenizer \(type) comes after ByteLevel", at: "pre_tokenizer",
        cure: "use a tokenizer where ByteLevel is the last")
    }
    switch type {
    case "Sequence":
      for part in try fields["pretokenizers"]?.elements() ?? [] {
        try append(part, depth: try nested(depth, "pre_tokenizer"))
      }
    case "ByteLevel":
      isByteLevel = true
      if fields["add_prefix_space"]?.bool ?? true { steps.append(.prefixSpace) }
      if fields["use_regex"]?.bool ?? true { try appendPattern(SplitPatterns.gpt2, .isolated) }
    case "Split":
      let behavior = try behavior(fields["behavior"]) ?? .isolated
      let inverted = fields["invert"]?.bool ?? false
      switch try HuggingFacePattern.read(fields["pattern"], at: "pre_tokenizer") {
      case .literal(let text): steps.append(.literal(text, behavior, inverted: inverted))
      case .expression(let text): try appendPattern(text, behavior, inverted: inverted)
      }
    case "Metaspace":
      let symbol = fields["replacement"]?.string ?? WhitespaceRules.symbol
      let custom: MetaspacePrefix = fields["add_prefix_space"]?.bool == false ? .never : .always
      let prefix = fields["prepend_scheme"]?.text.flatMap { MetaspacePrefix(rawValue: $0) } ?? custom
      steps.append(.metaspace(symbol: symbol, prefix: prefix, cuts: fields["split"]?.bool ?? true))
    case "Digits":
      let single = fields["individual_digits"]?.bool ?? false
      try appendPattern(#"\p{N}"#, single ? .isolated : .contiguous)
    case "Whitespace": try appendPattern(#"\w+|[^\w\s]+"#, .removed, inverted: true)
    case "WhitespaceSplit": try appendPattern(#"\s"#, .removed)
    case "Punctuation":
      try appendPattern(
        #"[\p{P}\x{21}-\x{2F}\x{3A}-\x{40}\x{5B}-\x{60}\x{7B}-\x{7E}]"#,
        try behavior(fields["behavior"]) ?? .isolated)
    case "CharDelimiterSplit":
      steps.append(.literal(fields["delimiter"]?.string ?? [], .removed, inverted: false))
    default:
      throw unknown(
        type, "pre_tokenizer",
        ["Sequence, ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit, Punctuation"])
    }
  }

  private mutating func appendPattern(
    _ text: String, _ behavior: SplitStep.Behavior, inverted: Bool = false
  ) throws(Problem) {
    steps.append(.pattern(try Pattern(text), behavior, inverted: inverted))
  }

  private func behavior(_ json: JSON?) throws(Problem) -> SplitStep.Behavior? {
    guard let name = json?.text else { return nil }
    guard let behavior = SplitStep.Behavior(rawValue: name) else {
      throw unknown(name, "pre_tokenizer.behavior", [])
    }
    return behavior
  }
}

/// A pattern as a `tokenizer.json` writes it.
enum HuggingFacePattern {
  case literal([UInt8])
  case expression(String)

  static func read(_ json: JSON?, at place: String) throws(Problem) -> HuggingFacePattern {
    let fields = try json?.members() ?? [:]
    if let text = fields["String"]?.string { return .literal(text) }
    if let text = fields["Regex"]?.text { return .expression(text) }
    throw Problem(
      .badData, "a pattern is neither a String nor a Regex", at: place, cure: "fetch the tokenizer again")
  }
}

/// What a `tokenizer.json` puts before and after a text.
struct HuggingFaceTemplate {
  private(set) var prefix: [Int32] = []
  private(set) var suffix: [Int32] = []
  private(set) var isTemplate = false

  static func read(_ json: JSON?, _ vocabulary: Vocabulary) throws(Problem) -> HuggingFaceTemplate {
    var result = HuggingFaceTemplate()
    if let json { try result.add(json, vocabulary, depth: 0) }
    guard (result.prefix + result.suffix).allSatisfy(vocabulary.contains) else {
      throw Problem(
        .badData, "the template names a token that is not there", at: "post_processor", cure: "fetch it again"
      )
    }
    return result
  }

  private mutating func add(_ json: JSON, _ vocabulary: Vocabulary, depth: Int) throws(Problem) {
    let fields = try json.members()
    let type = fields["type"]?.text ?? ""
    switch type {
    case "ByteLevel": break
    case "Sequence":
      for part in try fields["processors"]?.elements() ?? [] {
        try add(part, vocabulary, depth: try nested(depth, "post_processor"))
      }
    case "TemplateProcessing": try addTemplate(fields, vocabulary)
    case "BertProcessing", "RobertaProcessing":
      isTemplate = true
      prefix += try pairID(fields["cls"])
      suffix += try pairID(fields["sep"])
    default: throw unknown(type, "post_processor", ["TemplateProcessing, ByteLevel, Sequence"])
    }
  }

  private mutating func addTemplate(_ fields: [String: JSON], _ vocabulary: Vocabulary) throws(Problem) {
    isTemplate = true
    let special = try fields["special_tokens"]?.members() ?? [:]
    var isBehindText = false
    for part in try fields["single"]?.elements() ?? [] {
      let part = try part.members()
      if part["Sequence"] != nil { isBehindText = true }
      guard let token = try part["SpecialToken"]?.member("id")?.text else { continue }
      let listed = try special[token]?.member("ids")?.elements() ?? []
      var ids = listed.compactMap { $0.int.flatMap { Int32(exactly: $0) } }
      if ids.isEmpty { ids = vocabulary.id(of: Array(token.utf8)).map { [$0] } ?? [-1] }
      if isBehindText { suffix += ids } else { prefix += ids }
    }
  }

  private func pairID(_ json: JSON?) throws(Problem) -> [Int32] {
    try json?.elements().last?.int.flatMap { Int32(exactly: $0) }.map { [$0] } ?? []
  }
}

/// One level deeper, refused where a file nests without end.
func nested(_ depth: Int, _ place: String) throws(Problem) -> Int {
  guard depth < 16 else {
    throw Problem(.badData, "steps are nested too deeply", at: place, cure: "fetch it again")
  }
  return depth + 1
}

/// A step of a kind that is not known.
func unknown(_ type: String, _ place: String, _ known: [String]) -> Problem {
  Problem(
    .badData, "the kind \"\(type)\" is not known", at: place,
    cure: known.first.map { "known are \($0)" } ?? "use another tokenizer")
}
