public import LatheTensor

/// The vocabulary that a GGUF file carries in its metadata, as plain values; whoever reads the file fills it in.
public struct GGUFVocabulary: Sendable {
  /// `tokenizer.ggml.model`: "llama" is SentencePiece, "gpt2" byte-level merges.
  public var model: String
  /// `tokenizer.ggml.pre`: the name of the pattern that cuts a text into words.
  public var pre: String
  /// `tokenizer.ggml.tokens`, as UTF-8.
  public var tokens: [[UInt8]]
  /// `tokenizer.ggml.scores`; needed by "llama" only.
  public var scores: [Float]
  /// `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
  public var types: [Int32]
  /// `tokenizer.ggml.merges`, each two pieces with a space between; needed by "gpt2" only.
  public var merges: [[UInt8]]
  /// `tokenizer.ggml.bos_token_id`.
  public var beginningOfSequence: Int32?
  /// `tokenizer.ggml.eos_token_id`, and `eot_token_id` and its like where the file has them.
  public var endOfSequence: [Int32]
  /// `tokenizer.ggml.add_bos_token`; nil, the model's custom: "llama" does, "gpt2" does where `pre` is LLaMA 3's.
  public var addsBeginningOfSequence: Bool?
  /// `tokenizer.ggml.add_eos_token`.
  public var addsEndOfSequence: Bool
  /// `tokenizer.ggml.add_space_prefix`; nil, the model's custom.
  public var addsSpacePrefix: Bool?

  /// Gathers the values; those with defaults may be missing in a file.
  public init(
    model: String, pre: String = "default", tokens: [[UInt8]], scores: [Float] = [], types: [Int32] = [],
    merges: [[UInt8]] = [], beginningOfSequence: Int32? = nil, endOfSequence: [Int32] = [],
    addsBeginningOfSequence: Bool? = nil, addsEndOfSequence: Bool = false, addsSpacePrefix: Bool? = nil
  ) {
    (self.model, self.pre, self.tokens, self.scores, self.types) = (model, pre, tokens, scores, types)
    (self.merges, self.beginningOfSequence, self.endOfSequence) = (merges, beginningOfSequence, endOfSequence)
    self.addsBeginningOfSequence = addsBeginningOfSequence
    self.addsEndOfSequence = addsEndOfSequence
    self.addsSpacePrefix = addsSpacePrefix
  }
}

extension Tokenizer {
  /// The tokenizer a GGUF file carries.
  ///
  /// - Throws: `Problem` of kind `badData` for a model or pattern that is not known, or lists that contradict
  ///   each other.
  public init(gguf vocabulary: GGUFVocabulary) throws(Problem) {
    let count = vocabulary.tokens.count
    guard count > 0, count < 1 << 24 else {
      throw Problem(.badData, "the vocabulary has \(count) tokens", cure: "fetch the file again")
    }
    guard vocabulary.types.isEmpty || vocabulary.types.count == count else {
      throw Problem(
        .badData, "\(vocabulary.types.count) token types for \(count) tokens", cure: "fetch the file again")
    }
    for id in [vocabulary.beginningOfSequence].compactMap({ $0 }) + vocabulary.endOfSequence
    where id < 0 || id >= count {
      throw Problem(
        .badData, "the special token \(id) is outside the \(count) tokens", cure: "convert the model again")
    }
    switch vocabulary.model {
    case "llama": self = try Tokenizer.scored(vocabulary)
    case "gpt2": self = try Tokenizer.byteLevel(vocabulary)
    default:
      throw Problem(
        .badData, "the tokenizer is of the kind \"\(vocabulary.model)\"", at: "tokenizer.ggml.model",
        cure: "known are \"llama\" and \"gpt2\"")
    }
  }

  private static func scored(_ vocabulary: GGUFVocabulary) throws(Problem) -> Tokenizer {
    let count = vocabulary.tokens.count
    guard vocabulary.scores.count == count else {
      throw Problem(
        .badData, "\(vocabulary.scores.count) scores for \(count) tokens", at: "tokenizer.ggml.scores",
        cure: "fetch the file again")
    }
    var rules = WhitespaceRules()
    rules.removesExtraWhitespace = false
    rules.addsDummyPrefix = vocabulary.addsSpacePrefix ?? true
    let tokens = (0..<count).map { id in
      ScoredVocabulary.Token(
        text: vocabulary.tokens[id], score: vocabulary.scores[id], kind: vocabulary.kind(of: id))
    }
    let scored = ScoredVocabulary(
      kind: "GGUF SentencePiece BPE", tokens: tokens, rules: rules, beginning: vocabulary.beginningOfSequence,
      end: vocabulary.endOfSequence.first, addsBeginning: vocabulary.addsBeginningOfSequence ?? true,
      addsEnd: vocabulary.addsEndOfSequence)
    return try scored.tokenizer(TokenizerSettings()).ending(with: vocabulary.endOfSequence)
  }

  private static func byteLevel(_ gguf: GGUFVocabulary) throws(Problem) -> Tokenizer {
    guard let patterns = SplitPatterns.named[gguf.pre] else {
      throw Problem(
        .badData, "the pre-tokenizer \"\(gguf.pre)\" is not known", at: "tokenizer.ggml.pre",
        cure: "known are \(SplitPatterns.named.keys.sorted().joined(separator: ", "))")
    }
    var splitter: [SplitStep] = gguf.addsSpacePrefix == true ? [.prefixSpace] : []
    for pattern in patterns { splitter.append(.pattern(try Pattern(pattern), .isolated, inverted: false)) }
    var builder = ByteLevelBuilder(capacity: gguf.tokens.count)
    var added = AddedTokens()
    for (id, token) in gguf.tokens.enumerated() {
      let kind = gguf.kind(of: id)
      let isText = kind == .normal || kind == .byte || kind == .unused
      builder.append(token, isText: isText, isSpecial: kind == .control || kind == .unknown)
      if !isText { added.insert(AddedToken(text: token, id: Int32(id), isSpecial: kind != .userDefined)) }
    }
    let pairs = try builder.pairs(gguf.merges.count) { index in
      let merge = gguf.merges[index]
      // The first byte may itself be the space of a piece that is not in GPT-2's alphabet.
      guard let space = merge.dropFirst().firstIndex(of: 0x20) else { return nil }
      return (merge[..<space], merge[(space + 1)...])
    }
    let llama3 = patterns == [SplitPatterns.llama3]
    let addsBeginning = gguf.addsBeginningOfSequence ?? llama3
    return Tokenizer(
      TokenizerParts(
        kind: "GGUF byte-level BPE (\(gguf.pre))", vocabulary: builder.vocabulary, added: added,
        splitter: splitter,
        model: try builder.model(pairs, takesWholeWords: llama3 || gguf.pre == "tekken"),
        prefix: addsBeginning ? gguf.beginningOfSequence.map { [$0] } ?? [] : [],
        suffix: gguf.addsEndOfSequence ? Array(gguf.endOfSequence.prefix(1)) : [],
        beginning: gguf.beginningOfSequence, end: Set(gguf.endOfSequence)))
  }

  private func ending(with end: [Int32]) -> Tokenizer {
    Tokenizer(
      TokenizerParts(
        kind: parts.kind, vocabulary: parts.vocabulary, added: parts.added,
        addedNormalized: parts.addedNormalized,
        normalizer: parts.normalizer, splitter: parts.splitter, model: parts.model, prefix: parts.prefix,
        suffix: parts.suffix, beginning: parts.beginning, end: Set(end), leadingSpaces: parts.leadingSpaces))
  }
}

extension GGUFVocabulary {
  fileprivate func kind(of id: Int) -> ScoredVocabulary.Kind {
    types.isEmpty
      ? .normal : UInt8(exactly: types[id]).flatMap { ScoredVocabulary.Kind(rawValue: $0) } ?? .normal
  }
}
