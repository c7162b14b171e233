internal import LatheTensor

/// Hugging Face's `tokenizer.json`, of the model kind BPE: the whole pipeline from text to ids as data.
///
/// Source: github.com/huggingface/tokenizers.
enum HuggingFaceFile {
  static let format = TokenizerFormat(
    name: "Hugging Face tokenizer.json",
    recognizes: { name, head in
      name.hasSuffix(".json") || (head.count > 0 && head[0] == UInt8(ascii: "{"))
    }, load: load)

  static func load(_ bytes: Bytes, _ settings: TokenizerSettings) throws(Problem) -> Tokenizer {
    let file = try JSON(bytes).members()
    guard let modelJSON = file["model"], modelJSON.isObject else {
      throw Problem(.badData, "the JSON has no \"model\"", cure: "name a tokenizer.json")
    }
    let options = try modelJSON.members()
    if let type = options["type"]?.text, type != "BPE" {
      throw Problem(
        .badData, "the model is of the kind \(type)", at: "model.type", cure: "use a BPE tokenizer")
    }
    guard let vocabJSON = options["vocab"], let mergesJSON = options["merges"] else {
      throw Problem(
        .badData, "the model has no \"vocab\" or no \"merges\"", at: "model", cure: "use a BPE tokenizer")
    }
    try refuseUnknownOptions(options)
    let normalizer = try HuggingFaceNormalizers.read(file["normalizer"])
    let splitter = try HuggingFaceSplitters.read(file["pre_tokenizer"])
    let decoder = try HuggingFaceDecoder.read(file["decoder"])
    var own = try readAdded(file["added_tokens"])
    for index in own.indices where own[index].isNormalized {
      for step in normalizer { try step.apply(to: &own[index].0.text) }
    }
    let tokens = try HuggingFaceVocabulary(vocabJSON, added: own, beside: settings.added)
    var added = AddedTokens()
    var normalized = AddedTokens()
    for (token, isNormalized) in tokens.added {
      if isNormalized { normalized.insert(token) } else { added.insert(token) }
    }
    let (vocabulary, model) = try HuggingFaceModel.build(
      tokens, options, merges: mergesJSON, isByteLevel: splitter.isByteLevel || decoder.isByteLevel, decoder)
    let frame = try HuggingFaceTemplate.read(file["post_processor"], vocabulary)
    let first = settings.beginning.flatMap { vocabulary.id(of: $0) } ?? frame.prefix.first
    let last = settings.end.flatMap { vocabulary.id(of: $0) } ?? frame.suffix.last ?? customaryEnd(vocabulary)
    // A template says what surrounds a text; only where there is none do the settings.
    let asks =
      frame.isTemplate ? (false, false) : (settings.addsBeginning ?? false, settings.addsEnd ?? false)
    return Tokenizer(
      TokenizerParts(
        kind: splitter.isByteLevel ? "Hugging Face byte-level BPE" : "Hugging Face BPE",
        vocabulary: vocabulary,
        added: added, addedNormalized: normalized, normalizer: normalizer, splitter: splitter.steps,
        model: model,
        prefix: asks.0 ? first.map { [$0] } ?? [] : frame.prefix,
        suffix: asks.1 ? last.map { [$0] } ?? [] : frame.suffix, beginning: first,
        end: last.map { [$0] } ?? [],
        leadingSpaces: decoder.leadingSpaces))
  }

  private static func refuseUnknownOptions(_ options: [String: JSON]) throws(Problem) {
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let value = options[name]?.text, !value.isEmpty {
        throw Problem(
          .badData, "the model has a \(name), \"\(value)\"", at: "model", cure: "use a tokenizer without")
      }
    }
    if let dropout = options["dropout"]?.double, dropout > 0 {
      throw Problem(
        .badData, "the model drops merges at random (\(dropout))", at: "model.dropout", cure: "set it to 0")
    }
  }

  private static func customaryEnd(_ vocabulary: Vocabulary) -> Int32? {
    for name in ["</s>", "<|end_of_text|>", "<|endoftext|>"] {
      if let id = vocabulary.id(of: Array(name.utf8)), vocabulary.isSpecial(id) { return id }
    }
    return nil
  }

  /// The list of added tokens, each with whether it is looked for in the normalized text.
  static func readAdded(_ json: JSON?) throws(Problem) -> [(AddedToken, isNormalized: Bool)] {
    var result: [(AddedToken, isNormalized: Bool)] = []
    for element in try json?.elements() ?? [] {
      let fields = try element.members()
      guard let id = fields["id"]?.int.flatMap({ Int32(exactly: $0) }),
        let token = HuggingFaceFile.addedToken(fields, id: id)
      else {
        throw Problem(
          .badData, "an added token lacks its id or its content", at: "added_tokens", cure: "fetch it again")
      }
      result.append((token, fields["normalized"]?.bool ?? false))
    }
    return result
  }

  /// An added token as `added_tokens` and `added_tokens_decoder` describe it.
  static func addedToken(_ fields: [String: JSON], id: Int32) -> AddedToken? {
    guard let content = fields["content"]?.string else { return nil }
    return AddedToken(
      text: content, id: id, isSpecial: fields["special"]?.bool ?? false,
      takesSpaceBefore: fields["lstrip"]?.bool ?? false, takesSpaceAfter: fields["rstrip"]?.bool ?? false,
      isWord: fields["single_word"]?.bool ?? false)
  }
}

extension JSON {
  /// The members of an object by name; of several with one name, the last. Members that are null are left out.
  func members() throws(Problem) -> [String: JSON] {
    var result: [String: JSON] = [:]
    try forEachMember { key, value in
      result[String(decoding: key, as: UTF8.self)] = value.isNull ? nil : value
    }
    return result
  }
}
