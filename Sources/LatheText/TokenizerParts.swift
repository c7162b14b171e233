internal import LatheTensor

/// The tokens of a model: their spelling, what they decode to, and which of them steer the model.
struct Vocabulary: Sendable {
  /// Each token as its file spells it; empty for a hole.
  private(set) var pieces = ByteStrings()
  /// What each token contributes to a text.
  private(set) var surfaces = ByteStrings()
  private var special: [Bool] = []
  private var table: PieceTable

  init(capacity: Int) {
    table = PieceTable(capacity: capacity, bytes: 8 * capacity)
    pieces.reserve(count: capacity, bytes: 8 * capacity)
    surfaces.reserve(count: capacity, bytes: 8 * capacity)
    special.reserveCapacity(capacity)
  }

  var count: Int { pieces.count }

  /// Adds the token of the next id.
  mutating func append(
    _ piece: some Collection<UInt8>, surface: some Collection<UInt8>, isSpecial: Bool = false
  ) {
    table.insert(piece, id: Int32(count))
    pieces.append(piece)
    surfaces.append(surface)
    special.append(isSpecial)
  }

  func contains(_ id: Int32) -> Bool { id >= 0 && Int(id) < count }
  func isSpecial(_ id: Int32) -> Bool { contains(id) && special[Int(id)] }
  func id(of piece: [UInt8]) -> Int32? { table.find(piece) }
}

/// What a tokenizer is made of, whatever file it came from.
final class TokenizerParts: Sendable {
  let kind: String
  let vocabulary: Vocabulary
  /// Tokens looked for in the text as it comes, and in the normalized text.
  let added: AddedTokens
  let addedNormalized: AddedTokens
  let normalizer: [NormalizerStep]
  let splitter: [SplitStep]
  let model: MergeModel
  let prefix: [Int32]
  let suffix: [Int32]
  let beginning: Int32?
  let end: Set<Int32>
  /// How many spaces at the start of a decoded text are not part of it.
  let leadingSpaces: Int

  init(
    kind: String, vocabulary: Vocabulary, added: AddedTokens = AddedTokens(),
    addedNormalized: AddedTokens = AddedTokens(), normalizer: [NormalizerStep] = [],
    splitter: [SplitStep] = [],
    model: MergeModel, prefix: [Int32], suffix: [Int32] = [], beginning: Int32?, end: Set<Int32>,
    leadingSpaces: Int = 0
  ) {
    (self.kind, self.vocabulary, self.added, self.addedNormalized) = (
      kind, vocabulary, added, addedNormalized
    )
    (self.normalizer, self.splitter, self.model) = (normalizer, splitter, model)
    (self.prefix, self.suffix, self.beginning, self.end) = (prefix, suffix, beginning, end)
    self.leadingSpaces = leadingSpaces
  }

  /// Appends the ids of `text`: tokens found in it, and what the model makes of the text between them.
  func encode(
    _ text: UnsafeBufferPointer<UInt8>, parsesSpecial: Bool, into ids: inout [Int32]
  ) throws(Problem) {
    var scratch = MergeModel.Scratch()
    ids.reserveCapacity(ids.count + text.count / 4 + 8)
    for part in added.parts(of: text, parsesSpecial: parsesSpecial) {
      switch part {
      case .token(let id): ids.append(id)
      case .text(let range):
        let slice = UnsafeBufferPointer(rebasing: text[range])
        let isFirst = range.lowerBound == 0
        if normalizer.isEmpty, addedNormalized.isEmpty {
          try encodeNormalized(slice, isFirst, &scratch, &ids)
        } else {
          var bytes = Array(slice)
          for step in normalizer { try step.apply(to: &bytes) }
          try bytes.withUnsafeBufferPointer { bytes throws(Problem) in
            for part in addedNormalized.parts(of: bytes, parsesSpecial: parsesSpecial) {
              switch part {
              case .token(let id): ids.append(id)
              case .text(let range):
                try encodeNormalized(
                  UnsafeBufferPointer(rebasing: bytes[range]), isFirst && range.lowerBound == 0, &scratch,
                  &ids)
              }
            }
          }
        }
      }
    }
  }

  private func encodeNormalized(
    _ text: UnsafeBufferPointer<UInt8>, _ isFirst: Bool, _ scratch: inout MergeModel.Scratch,
    _ ids: inout [Int32]
  ) throws(Problem) {
    guard !splitter.isEmpty else { return try model.encode(text, &scratch, into: &ids) }
    var split = SplitText(bytes: Array(text), words: [0..<text.count])
    try split.apply(splitter, isFirst: isFirst)
    try split.bytes.withUnsafeBufferPointer { bytes throws(Problem) in
      for word in split.words {
        try model.encode(UnsafeBufferPointer(rebasing: bytes[word]), &scratch, into: &ids)
      }
    }
  }
}
