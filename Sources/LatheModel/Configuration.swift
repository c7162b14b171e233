public import LatheTensor

/// The sizes and settings of one model.
public struct Configuration: Sendable, Hashable {
  /// The width of the hidden state.
  public var hiddenSize: Int
  /// The number of blocks.
  public var layers: Int
  /// The number of query heads; the largest of any block where they differ.
  public var heads: Int
  /// The number of key and value heads; divides that of query heads. The largest of any block where they differ.
  public var keyValueHeads: Int
  /// The width of a head.
  public var headDimension: Int
  /// The width inside the feed-forward part; the largest of any block where they differ.
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
  /// Whether each head's queries and keys pass an RMS norm of their own before they are turned.
  public var normalizesHeads = false
  /// The positions that one looks back at, itself among them, where the model was trained so; here it looks at all.
  public var attentionWindow: Int?
  /// What differs from block to block; empty where all blocks are alike.
  public private(set) var layerSizes: [LayerSizes] = []

  /// The width of all queries together.
  public var queryWidth: Int { heads * headDimension }
  /// The width of all keys together.
  public var keyValueWidth: Int { keyValueHeads * headDimension }

  /// Rows (outputs) and columns (inputs) of the weight at `site`.
  public func shape(of site: Site) -> (rows: Int, columns: Int) {
    let c = self[layer: site.layer]
    return switch site.role {
    case .query: (c.queryWidth, hiddenSize)
    case .key, .value: (c.keyValueWidth, hiddenSize)
    case .output: (hiddenSize, c.queryWidth)
    case .gate, .up: (c.feedForwardSize, hiddenSize)
    case .down: (hiddenSize, c.feedForwardSize)
    }
  }

  /// The width of the values at `input` of block `layer`.
  public func width(of input: BlockInput, in layer: Int) -> Int {
    let c = self[layer: layer]
    return switch input {
    case .attention, .feedForward: hiddenSize
    case .attentionOutput: c.queryWidth
    case .feedForwardHidden: c.feedForwardSize
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
    guard layerSizes.isEmpty || layerSizes.count == layers else {
      throw Problem(.badData, "there are sizes of \(layerSizes.count) layers where the model has \(layers)")
    }
    let own = LayerSizes(heads: heads, keyValueHeads: keyValueHeads, feedForwardSize: feedForwardSize)
    for sizes in layerSizes.isEmpty ? [own] : layerSizes { try sizes.validate() }
    guard headDimension % 2 == 0 else {
      throw Problem(.badData, "an odd head dimension of \(headDimension) cannot be rotated")
    }
    guard normEpsilon >= 0, normEpsilon.isFinite else {
      throw Problem(.badData, "a norm epsilon of \(normEpsilon) is out of range")
    }
    guard attentionWindow.map({ $0 > 0 }) ?? true else {
      throw Problem(.badData, "an attention window of \(attentionWindow ?? 0) is out of range")
    }
    try rotary.validate()
  }
}

/// What may differ from block to block.
public struct LayerSizes: Sendable, Hashable {
  /// The number of query heads, and of key and value heads, which divides it.
  public var heads, keyValueHeads: Int
  /// The width inside the feed-forward part.
  public var feedForwardSize: Int

  /// A block of the given sizes.
  public init(heads: Int, keyValueHeads: Int, feedForwardSize: Int) {
    (self.heads, self.keyValueHeads, self.feedForwardSize) = (heads, keyValueHeads, feedForwardSize)
  }

  fileprivate func validate() throws(Problem) {
    guard heads > 0, keyValueHeads > 0, feedForwardSize > 0 else {
      throw Problem(
        .badData,
        "a layer of \(heads) heads, \(keyValueHeads) key/value heads and \(feedForwardSize) channels is none")
    }
    guard heads % keyValueHeads == 0 else {
      throw Problem(.badData, "\(heads) heads cannot share \(keyValueHeads) key/value heads evenly")
    }
  }
}

extension Configuration {
  /// The configuration as block `layer` has it: its heads and widths in place of the largest.
  public subscript(layer layer: Int) -> Configuration {
    guard layerSizes.indices.contains(layer) else { return self }
    var copy = self
    let own = layerSizes[layer]
    (copy.heads, copy.keyValueHeads, copy.feedForwardSize) = (
      own.heads, own.keyValueHeads, own.feedForwardSize
    )
    copy.layerSizes = []
    return copy
  }

  /// The configuration with blocks of the given sizes, one for each.
  public func with(_ sizes: [LayerSizes]) -> Configuration {
    var copy = self
    copy.heads = sizes.map(\.heads).max() ?? heads
    copy.keyValueHeads = sizes.map(\.keyValueHeads).max() ?? keyValueHeads
    copy.feedForwardSize = sizes.map(\.feedForwardSize).max() ?? feedForwardSize
    copy.layerSizes = Set(sizes).count > 1 ? sizes : []
    return copy
  }

  /// The sizes of each block, whether they differ or not.
  public var sizes: [LayerSizes] {
    let own = LayerSizes(heads: heads, keyValueHeads: keyValueHeads, feedForwardSize: feedForwardSize)
    return layerSizes.isEmpty ? [LayerSizes](repeating: own, count: layers) : layerSizes
  }

  /// The numbers a token leaves in the caches of all blocks: keys and values.
  public var cacheWidth: Int { 2 * headDimension * sizes.reduce(0) { $0 + $1.keyValueHeads } }

  /// The width of the queries of all blocks together.
  public var totalQueryWidth: Int { headDimension * sizes.reduce(0) { $0 + $1.heads } }

  /// The block that has most weights; the first where all are alike.
  public var largestLayer: Int {
    layerSizes.indices.max { weightCount(in: $0) < weightCount(in: $1) } ?? 0
  }

  private func weightCount(in layer: Int) -> Int {
    Role.allCases.reduce(0) { sum, role in
      let (rows, columns) = shape(of: Site(layer, role))
      return sum + rows * columns
    }
  }

  /// The positions up to which a text is read just as the model was trained to.
  public var exactContext: Int { min(contextLength, attentionWindow ?? .max) }

  /// What is to be said of a text of `count` tokens; nil where it is read just as the model was trained to.
  package func note(onContext count: Int) -> String? {
    if count > contextLength { return "\(count) tokens pass the \(contextLength) the model was trained for" }
    guard let attentionWindow, count > attentionWindow else { return nil }
    return
      "\(count) tokens pass the \(attentionWindow) that the model was trained to look back at; all are looked at"
  }
}
