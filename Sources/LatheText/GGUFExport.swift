public import LatheTensor

extension Tokenizer {
  /// The tokenizer as a GGUF file carries it.
  ///
  /// SentencePiece's scores are given as the ranks of the pieces, which order merges alike.
  /// - Throws: `Problem` of kind `usage` where GGUF has no way to say what this tokenizer does.
  public func ggufVocabulary() throws(Problem) -> GGUFVocabulary {
    if case .bytes = parts.model.units { return try byteLevelVocabulary() }
    return try scoredVocabulary()
  }

  // MARK: SentencePiece

  private func scoredVocabulary() throws(Problem) -> GGUFVocabulary {
    var gguf = GGUFVocabulary(model: "llama", pre: "default", tokens: spelledPieces())
    gguf.scores = try scores()
    gguf.types = types()
    for (byte, id) in (parts.model.byteIDs ?? []).enumerated() where id >= 0 {
      gguf.types[Int(id)] = 6
      gguf.tokens[Int(id)] = Array(ByteSpelling.hexadecimal(UInt8(byte)).utf8)
    }
    fillEnds(&gguf)
    gguf.addsSpacePrefix = parts.normalizer.contains { step in
      switch step {
      case .prepend: true
      case .sentencePiece(let rules): rules.addsDummyPrefix
      default: false
      }
    }
    return gguf
  }

  /// A score for each token: the lower the rank of the merge that makes it, the higher.
  private func scores() throws(Problem) -> [Float] {
    var scores = [Float](repeating: 0, count: vocabularySize)
    switch parts.model.rule {
    case .pieces(let rule):
      for id in scores.indices { scores[id] = -Float(rule.ranks.map { Int($0[id]) } ?? id) }
    case .pairs(let rule):
      // A piece that several merges make takes the rank of the first of them.
      var best = [UInt32](repeating: .max, count: vocabularySize)
      rule.pairs.visit { _, _, rank, merged in best[Int(merged)] = min(best[Int(merged)], rank) }
      for id in scores.indices { scores[id] = best[id] == .max ? -1e6 : -Float(best[id]) }
    }
    return scores
  }

  // MARK: Bytes

  private func byteLevelVocabulary() throws(Problem) -> GGUFVocabulary {
    let added = Set(parts.added.all.map(\.id))
    var gguf = GGUFVocabulary(model: "gpt2", pre: try patternName(), tokens: [])
    for id in 0..<vocabularySize {
      // Tokens of text decode to the bytes that GPT-2's alphabet spells; the others are spelled as they are.
      let isText = !added.contains(Int32(id)) && !isSpecial(Int32(id))
      gguf.tokens.append(
        isText ? ByteAlphabet.spelling(of: parts.vocabulary.surfaces[id]) : Array(parts.vocabulary.pieces[id])
      )
    }
    gguf.types = types()
    gguf.merges = merges().map { left, right in
      gguf.tokens[Int(left)] + [0x20] + gguf.tokens[Int(right)]
    }
    fillEnds(&gguf)
    return gguf
  }

  /// The name of the pattern that cuts a text into words.
  private func patternName() throws(Problem) -> String {
    let expressions = parts.splitter.compactMap { step in
      if case .pattern(let pattern, _, _) = step { pattern.expression } else { nil }
    }
    // Of the names of one pattern the one that converters write.
    for name in ["llama-bpe", "gpt-2", "qwen2"] + SplitPatterns.named.keys.sorted()
    where SplitPatterns.named[name] == expressions { return name }
    throw Problem(
      .usage, "the tokenizer cuts text by a pattern that has no name in GGUF", at: summary,
      cure: "write the native format")
  }

  /// The merges in the order of their ranks.
  private func merges() -> [(left: Int32, right: Int32)] {
    switch parts.model.rule {
    case .pairs(let rule):
      var all: [(rank: UInt32, left: Int32, right: Int32)] = []
      rule.pairs.visit { left, right, rank, _ in all.append((rank, left, right)) }
      return all.sorted { $0.rank < $1.rank }.map { ($0.left, $0.right) }
    case .pieces(let rule):
      // Ranks alone say which two pieces make a third: those that are left when it may not be made.
      var all: [(left: Int32, right: Int32)] = []
      for id in 0..<vocabularySize {
        let bytes = Array(parts.vocabulary.surfaces[id])
        guard bytes.count > 1, rule.pieces.find(bytes) == Int32(id) else { continue }
        if let pair = parts.model.halves(of: bytes, id: Int32(id), rule) { all.append(pair) }
      }
      return all
    }
  }

  // MARK: Both

  private func spelledPieces() -> [[UInt8]] {
    (0..<vocabularySize).map { Array(parts.vocabulary.pieces[$0]) }
  }

  /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused.
  private func types() -> [Int32] {
    var types = [Int32](repeating: 1, count: vocabularySize)
    for token in parts.added.all + parts.addedNormalized.all where Int(token.id) < types.count {
      types[Int(token.id)] = 4
    }
    for id in types.indices where isSpecial(Int32(id)) { types[id] = 3 }
    for id in parts.model.unused { types[Int(id)] = 5 }
    if let unknown = parts.model.unknown { types[Int(unknown)] = 2 }
    return types
  }

  private func fillEnds(_ gguf: inout GGUFVocabulary) {
    gguf.beginningOfSequence = beginningOfSequence
    gguf.endOfSequence = endOfSequence.sorted()
    gguf.addsBeginningOfSequence = addsBeginningOfSequence
    gguf.addsEndOfSequence = !parts.suffix.isEmpty
  }
}

enum ByteSpelling {
  /// SentencePiece's spelling of a byte: "<0x0A>".
  static func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "<0x" + (digits.count == 1 ? "0" : "") + digits + ">"
  }
}

extension MergeModel {
  /// The two pieces that merge to `id`, whose bytes are given.
  func halves(of bytes: [UInt8], id: Int32, _ rule: PieceMerges) -> (left: Int32, right: Int32)? {
    guard case .bytes(let table) = units else { return nil }
    return bytes.withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return nil }
      var merger = Merger()
      for i in bytes.indices {
        merger.symbols.append(Symbol(start: Int32(i), end: Int32(i) + 1, id: table[Int(bytes[i])]))
      }
      merger.run(MergesExcept(base: rule, id: id), base)
      guard merger.symbols.count == 2 else { return nil }
      return (merger.symbols[0].id, merger.symbols[1].id)
    }
  }
}
