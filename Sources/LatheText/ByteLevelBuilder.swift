internal import LatheTensor

/// Builds the vocabulary and the model of a byte-level tokenizer whose pieces are spelled in GPT-2's alphabet.
struct ByteLevelBuilder {
  private(set) var vocabulary: Vocabulary
  private var pieces: PieceTable
  private var byteIDs = [Int32](repeating: -1, count: 256)

  init(capacity: Int) {
    vocabulary = Vocabulary(capacity: capacity)
    pieces = PieceTable(capacity: capacity, bytes: 8 * capacity)
  }

  /// Adds the token of the next id; `isText` says that words may become it.
  mutating func append(_ token: some Collection<UInt8>, isText: Bool, isSpecial: Bool) {
    let id = Int32(vocabulary.count)
    guard isText, let bytes = ByteAlphabet.bytes(of: token) else {
      vocabulary.append(token, surface: token, isSpecial: isSpecial)
      return
    }
    vocabulary.append(token, surface: bytes, isSpecial: isSpecial)
    pieces.insert(bytes, id: id)
    if bytes.count == 1 { byteIDs[Int(bytes[0])] = id }
  }

  /// The table of `count` merges; `merge` gives the spellings of the two pieces of each, nil where it is broken.
  func pairs(
    _ count: Int, _ merge: (Int) throws(Problem) -> (ArraySlice<UInt8>, ArraySlice<UInt8>)?
  ) throws(Problem) -> PairTable {
    var pairs = PairTable(capacity: count)
    var bytes: [UInt8] = []
    for index in 0..<count {
      bytes.removeAll(keepingCapacity: true)
      guard let (left, right) = try merge(index), ByteAlphabet.appendBytes(left, to: &bytes) else {
        throw ByteLevelBuilder.broken(index)
      }
      let middle = bytes.count
      guard ByteAlphabet.appendBytes(right, to: &bytes), let first = pieces.find(bytes[..<middle]),
        let second = pieces.find(bytes[middle...]), let merged = pieces.find(bytes)
      else { throw ByteLevelBuilder.broken(index) }
      pairs.insert(first, second, rank: UInt32(index), merged: merged)
    }
    return pairs
  }

  private static func broken(_ index: Int) -> Problem {
    Problem(.badData, "merge \(index) is not two pieces that make a third", cure: "fetch the tokenizer again")
  }

  /// The model of the tokens added so far.
  func model(_ pairs: PairTable, takesWholeWords: Bool, unknown: Int32? = nil) throws(Problem) -> MergeModel {
    MergeModel(
      units: .bytes(byteIDs), rule: .pairs(PairMerges(pairs: pairs)), pieces: pieces,
      takesWholeWords: takesWholeWords, byteIDs: nil, unknown: unknown, fusesUnknown: false)
  }
}
