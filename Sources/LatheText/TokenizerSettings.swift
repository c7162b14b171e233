internal import LatheTensor

/// What the files beside a tokenizer say about it: added tokens, and which tokens begin and end a text.
struct TokenizerSettings: Sendable {
  /// Tokens a user of the model added, with their ids.
  var added: [AddedToken] = []
  /// The texts of the tokens that begin and end a sequence.
  var beginning: [UInt8]?
  var end: [UInt8]?
  var addsBeginning: Bool?
  var addsEnd: Bool?

  /// The greatest id an added token may have, given how many tokens there are beside them: a file that lies must
  /// not make the vocabulary grow without bound.
  static func largestID(besides count: Int) -> Int { 2 * count + 65_536 }
}

/// Tokens with scores, of which text is made by merging the best scored first: what SentencePiece's files,
/// llama2.c's and a GGUF of the kind "llama" have in common.
struct ScoredVocabulary {
  /// What a token is, by the numbers SentencePiece and GGUF share.
  enum Kind: UInt8 {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  struct Token {
    var text: [UInt8]
    var score: Float
    var kind: Kind
  }

  var kind: String
  var tokens: [Token]
  /// How a space is spelled in the tokens.
  var space = WhitespaceRules.symbol
  var rules = WhitespaceRules()
  var beginning: Int32?
  var end: Int32?
  var addsBeginning = true
  var addsEnd = false

  /// Builds the tokenizer.
  ///
  /// - Throws: `Problem` of kind `badData` for a vocabulary that cannot work.
  func tokenizer(_ settings: TokenizerSettings) throws(Problem) -> Tokenizer {
    guard !tokens.isEmpty, tokens.count < 1 << 24 else {
      throw Problem(.badData, "a vocabulary of \(tokens.count) tokens", cure: "fetch the tokenizer again")
    }
    var extra = settings.added
    for (id, token) in tokens.enumerated() where token.kind == .control || token.kind == .unknown {
      let id = Int32(id)
      if !extra.contains(where: { $0.id == id }) { extra.append(AddedToken(text: token.text, id: id)) }
    }
    let vocabulary = try vocabulary(with: extra)
    var added = AddedTokens()
    for token in extra { added.insert(token) }
    var userDefined = AddedTokens()
    var rules = rules
    for (id, token) in tokens.enumerated() where token.kind == .userDefined {
      userDefined.insert(AddedToken(text: token.text, id: Int32(id), isSpecial: false))
      rules.kept.insert(token.text)
    }
    let first = settings.beginning.flatMap { vocabulary.id(of: $0) } ?? beginning
    let last = settings.end.flatMap { vocabulary.id(of: $0) } ?? end
    return Tokenizer(
      TokenizerParts(
        kind: kind, vocabulary: vocabulary, added: added, addedNormalized: userDefined,
        normalizer: [.sentencePiece(rules)], model: model(),
        prefix: (settings.addsBeginning ?? addsBeginning) ? first.map { [$0] } ?? [] : [],
        suffix: (settings.addsEnd ?? addsEnd) ? last.map { [$0] } ?? [] : [],
        beginning: first, end: last.map { [$0] } ?? [],
        leadingSpaces: !rules.treatsWhitespaceAsSuffix
          && (rules.addsDummyPrefix || rules.removesExtraWhitespace)
          ? 1 : 0))
  }

  private func vocabulary(with extra: [AddedToken]) throws(Problem) -> Vocabulary {
    var vocabulary = Vocabulary(capacity: tokens.count)
    let special = Dictionary(extra.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    var count = tokens.count
    for id in special.keys {
      guard id >= 0, Int(id) <= TokenizerSettings.largestID(besides: tokens.count) else {
        throw Problem(
          .badData, "an added token has the id \(id) in a vocabulary of \(tokens.count)",
          cure: "fetch the tokenizer again")
      }
      count = max(count, Int(id) + 1)
    }
    for id in 0..<count {
      if let token = special[Int32(id)] {
        vocabulary.append(token.text, surface: token.text, isSpecial: token.isSpecial)
      } else if id < tokens.count {
        vocabulary.append(tokens[id].text, surface: surface(tokens[id]))
      } else {
        vocabulary.append([], surface: [])
      }
    }
    return vocabulary
  }

  private func surface(_ token: Token) -> [UInt8] {
    if token.kind == .byte, let byte = byteValue(token.text[...]) { return [byte] }
    return replacing(space, with: [0x20], in: token.text)
  }

  private func model() -> MergeModel {
    func isMade(_ id: Int) -> Bool { [.normal, .userDefined, .unused].contains(tokens[id].kind) }
    let made = tokens.indices.filter(isMade)
    var pieces = PieceTable(capacity: made.count)
    var texts = ByteStrings()
    for id in made {
      pieces.insert(tokens[id].text, id: Int32(id))
      texts.append(tokens[id].text)
    }
    var ranks = [UInt32](repeating: .max - 1, count: tokens.count)
    var rank: UInt32 = 0
    var previous = Float.infinity
    for id in made.sorted(by: { order(tokens[$0].score) > order(tokens[$1].score) }) {
      if order(tokens[id].score) < previous { rank += 1 }
      previous = order(tokens[id].score)
      ranks[id] = rank
    }
    var bytes = [Int32](repeating: -1, count: 256)
    for (id, token) in tokens.enumerated() where token.kind == .byte {
      if let byte = byteValue(token.text[...]) { bytes[Int(byte)] = Int32(id) }
    }
    return MergeModel(
      units: .characters, rule: .pieces(PieceMerges(pieces: pieces, ranks: ranks)), pieces: pieces,
      byteIDs: bytes.contains(-1) ? nil : bytes,
      unknown: tokens.firstIndex { $0.kind == .unknown }.map { Int32($0) },
      unused: Set(tokens.indices.lazy.filter { tokens[$0].kind == .unused }.map { Int32($0) }),
      cuts: CutPoints(space: space, pieces: texts, made: { _ in true }))
  }

  private func order(_ score: Float) -> Float { score.isNaN ? -.infinity : score }
}

/// The byte that a piece such as `<0x0A>` stands for.
func byteValue(_ piece: ArraySlice<UInt8>) -> UInt8? {
  guard piece.count == 6, piece.starts(with: Array("<0x".utf8)), piece.last == UInt8(ascii: ">") else {
    return nil
  }
  return UInt8(String(decoding: piece.dropFirst(3).dropLast(), as: UTF8.self), radix: 16)
}

/// `text` with every `old` replaced by `new`.
func replacing(_ old: [UInt8], with new: [UInt8], in text: [UInt8]) -> [UInt8] {
  guard let first = old.first, text.contains(first) else { return text }
  var result: [UInt8] = []
  var found: [Range<Int>] = []
  matches(of: old, in: text, 0..<text.count, into: &found)
  var at = 0
  for match in found {
    result += text[at..<match.lowerBound]
    result += new
    at = match.upperBound
  }
  return result + text[at...]
}
