public import LatheTensor

/// The sizes and settings of one model.
public struct Configuration: Sendable, Hashable {
  /// The width of the hidden state.
  public var hiddenSize: Int
  /// The number of blocks.
  public var layers: Int
  /// The number of query heads.
  public var heads: Int
  /// The number of key and value heads; divides `heads`.
  public var keyValueHeads: Int
  /// The width of a head.
  public var headDimension: Int
  /// The width inside the feed-forward part.
  public var feedForwardSize: Int
  /// The number of tokens the model knows.
  public var vocabularySize: Int
  /// The number of positions it was trained for.
  public var contextLength: Int
  /// Added to the mean square in RMS norms.
  public var normEpsilon: Float
  /// How positions turn queries and keys.
  public var rotary: RotaryConfiguration
  /// Whether the embedding is also the head.
  public var tiesEmbeddings: Bool

  /// The width of all queries together.
  public var queryWidth: Int { heads * headDimension }
  /// The width of all keys together.
  public var keyValueWidth: Int { keyValueHeads * headDimension }

  /// Rows (outputs) and columns (inputs) of the weight of `role`.
  public func shape(of role: Role) -> (rows: Int, columns: Int) {
    switch role {
    case .query: (queryWidth, hiddenSize)
    case .key, .value: (keyValueWidth, hiddenSize)
    case .output: (hiddenSize, queryWidth)
    case .gate, .up: (feedForwardSize, hiddenSize)
    case .down: (hiddenSize, feedForwardSize)
    }
  }

  /// The width of the values at `input`.
  public func width(of input: BlockInput) -> Int {
    switch input {
    case .attention, .feedForward: hiddenSize
    case .attentionOutput: queryWidth
    case .feedForwardHidden: feedForwardSize
    }
  }

  /// Refuses sizes no decoder can have, before anything is allocated from them.
  ///
  /// - Throws: `Problem` of kind `badData` naming the value.
  public func validate() throws(Problem) {
    let limits: [(String, Int, ClosedRange<Int>)] = [
      ("hidden size", hiddenSize, 1...1 << 20), ("number of layers", layers, 1...4096),
      ("number of heads", heads, 1...65536),
      ("number of key/value heads", keyValueHeads, 1...65536), ("head dimension", headDimension, 2...65536),
      ("feed-forward size", feedForwardSize, 1...1 << 24), ("vocabulary size", vocabularySize, 1...1 << 24),
      ("context length", contextLength, 1...1 << 24),
    ]
    for (what, value, allowed) in limits where !allowed.contains(value) {
      throw Problem(
        .badData, "a \(what) of \(value) is out of range (\(allowed.lowerBound) to \(allowed.upperBound))")
    }
    guard heads % keyValueHeads == 0 else {
      throw Problem(.badData, "\(heads) heads cannot share \(keyValueHeads) key/value heads evenly")
    }
    guard headDimension % 2 == 0 else {
      throw Problem(.badData, "an odd head dimension of \(headDimension) cannot be rotated")
    }
    guard normEpsilon >= 0, normEpsilon.isFinite else {
      throw Problem(.badData, "a norm epsilon of \(normEpsilon) is out of range")
    }
    try rotary.validate()
  }
}
