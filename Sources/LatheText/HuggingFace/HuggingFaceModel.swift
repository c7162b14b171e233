internal import LatheTensor

/// The tokens of a `tokenizer.json`, by id: the model's vocabulary and the added tokens.
struct HuggingFaceVocabulary {
  /// The spelling of each id; empty for a hole.
  private(set) var pieces: ByteStrings
  /// Whether the model's own vocabulary has the id.
  private(set) var isModels: [Bool]
  private(set) var added: [(AddedToken, isNormalized: Bool)]

  init(_ vocab: JSON, added own: [(AddedToken, isNormalized: Bool)], beside: [AddedToken]) throws(Problem) {
    var texts = ByteStrings()
    var ids: [Int] = []
    try vocab.forEachMember { piece, id throws(Problem) in
      guard let id = id.int, id >= 0 else {
        throw Problem(.badData, "a piece has no id", at: "model.vocab", cure: "fetch the tokenizer again")
      }
      texts.append(piece)
      ids.append(id)
    }
    added = own
    let known = Set(own.map(\.0.id))
    for token in beside where !known.contains(token.id) { added.append((token, false)) }
    let largest = max(ids.max() ?? -1, added.map { Int($0.0.id) }.max() ?? -1)
    guard largest <= TokenizerSettings.largestID(besides: ids.count), added.allSatisfy({ $0.0.id >= 0 })
    else {
      throw Problem(
        .badData, "\(ids.count) pieces and ids up to \(largest)", at: "model.vocab",
        cure: "fetch the tokenizer again")
    }
    var order = [Int](repeating: -1, count: largest + 1)
    isModels = [Bool](repeating: false, count: largest + 1)
    for (index, id) in ids.enumerated() {
      order[id] = index
      isModels[id] = true
    }
    let additions = Dictionary(
      added.map { (Int($0.0.id), $0.0.text) }, uniquingKeysWith: { first, _ in first })
    pieces = ByteStrings()
    pieces.reserve(count: largest + 1, bytes: texts.storage.count)
    for id in 0...max(0, largest) where id <= largest {
      if let text = additions[id] {
        pieces.append(text)
      } else if order[id] >= 0 {
        pieces.append(texts[order[id]])
      } else {
        pieces.append([])
      }
    }
  }
}

/// Builds the model of a `tokenizer.json` in either of its styles.
enum HuggingFaceModel {
  static func build(
    _ tokens: HuggingFaceVocabulary, _ options: [String: JSON], merges: JSON, isByteLevel: Bool,
    _ decoder: HuggingFaceDecoder
  ) throws(Problem) -> (Vocabulary, MergeModel) {
    let special = Set(tokens.added.lazy.filter(\.0.isSpecial).map(\.0.id))
    let wholeWords = options["ignore_merges"]?.bool ?? false
    let unknownText = options["unk_token"]?.string
    if isByteLevel {
      var builder = ByteLevelBuilder(capacity: tokens.pieces.count)
      for id in 0..<tokens.pieces.count {
        builder.append(
          tokens.pieces[id], isText: tokens.isModels[id], isSpecial: special.contains(Int32(id)))
      }
      let list = try MergeList(merges)
      let pairs = try builder.pairs(list.count) { list[$0] }
      let unknown = unknownText.flatMap { builder.vocabulary.id(of: $0) }
      return (builder.vocabulary, try builder.model(pairs, takesWholeWords: wholeWords, unknown: unknown))
    }
    var vocabulary = Vocabulary(capacity: tokens.pieces.count)
    var pieces = PieceTable(capacity: tokens.pieces.count, bytes: tokens.pieces.storage.count)
    for id in 0..<tokens.pieces.count {
      let piece = tokens.pieces[id]
      vocabulary.append(piece, surface: decoder.surface(Array(piece)), isSpecial: special.contains(Int32(id)))
      if tokens.isModels[id] { pieces.insert(piece, id: Int32(id)) }
    }
    var isMade = [Bool](repeating: false, count: tokens.pieces.count)
    let pairs = try characterPairs(try MergeList(merges), pieces, &isMade)
    let fallsBack = options["byte_fallback"]?.bool ?? false
    let byteIDs = (0..<256).map { pieces.find(spelling(ofByte: $0)) ?? -1 }
    let model = MergeModel(
      units: .charactersOrBytes, rule: .pairs(PairMerges(pairs: pairs)), pieces: pieces,
      takesWholeWords: wholeWords,
      byteIDs: fallsBack && !byteIDs.contains(-1) ? byteIDs : nil,
      unknown: unknownText.flatMap { pieces.find($0) }, fusesUnknown: options["fuse_unk"]?.bool ?? false,
      // A whole word is looked up as it is, so it must not be cut.
      cuts: wholeWords
        ? nil : CutPoints(space: WhitespaceRules.symbol, pieces: vocabulary.pieces, made: { isMade[$0] }))
    return (vocabulary, model)
  }

  private static func spelling(ofByte byte: Int) -> [UInt8] {
    let digits = String(byte, radix: 16, uppercase: true)
    return Array("<0x\(digits.count == 1 ? "0" : "")\(digits)>".utf8)
  }

  private static func characterPairs(
    _ merges: MergeList, _ pieces: PieceTable, _ isMade: inout [Bool]
  ) throws(Problem) -> PairTable {
    var pairs = PairTable(capacity: merges.count)
    for index in 0..<merges.count {
      guard let (left, right) = merges[index], let first = pieces.find(left), let second = pieces.find(right),
        let merged = pieces.find(left + right)
      else {
        throw Problem(
          .badData, "merge \(index) is not two pieces that make a third", at: "model.merges",
          cure: "fetch the tokenizer again")
      }
      pairs.insert(first, second, rank: UInt32(index), merged: merged)
      isMade[Int(merged)] = true
    }
    return pairs
  }
}

/// The merges of a `tokenizer.json`, written as "left right" or as a list of two.
private struct MergeList {
  private var texts = ByteStrings()
  private var middles: [Int] = []

  init(_ json: JSON) throws(Problem) {
    var text: [UInt8] = []
    var texts = ByteStrings()
    var middles: [Int] = []
    try json.forEachElement { element throws(Problem) in
      text.removeAll(keepingCapacity: true)
      if element.isArray {
        var middle = 0
        var count = 0
        try element.forEachElement { part throws(Problem) in
          guard count < 2, part.appendString(to: &text) else { throw MergeList.broken(middles.count) }
          if count == 0 { middle = text.count }
          count += 1
        }
        guard count == 2 else { throw MergeList.broken(middles.count) }
        middles.append(middle)
      } else {
        guard element.appendString(to: &text), let space = text.firstIndex(of: 0x20) else {
          throw MergeList.broken(middles.count)
        }
        text.remove(at: space)
        middles.append(space)
      }
      texts.append(text)
    }
    (self.texts, self.middles) = (texts, middles)
  }

  var count: Int { middles.count }

  subscript(index: Int) -> (ArraySlice<UInt8>, ArraySlice<UInt8>)? {
    let text = texts[index]
    let middle = text.startIndex + middles[index]
    return (text[..<middle], text[middle...])
  }

  private static func broken(_ index: Int) -> Problem {
    Problem(
      .badData, "merge \(index) is not two pieces", at: "model.merges", cure: "fetch the tokenizer again")
  }
}
