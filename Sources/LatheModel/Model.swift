public import LatheEncoding
public import LatheTensor

/// A model: its description, its sizes and its weights, which usually lie in mapped files.
public struct Model: Sendable {
  /// What kind of decoder it is.
  public var architecture: Architecture
  /// Its sizes.
  public var configuration: Configuration
  /// One row for each token.
  public var embedding: EncodedMatrix
  /// The blocks.
  public var blocks: [Block]
  /// The scales of the last norm.
  public var finalNorm: [Float]
  /// The head; nil where the embedding serves as one.
  public var head: Linear?
  /// The basis the hidden states are in between the blocks: they are turned into it after the embedding, and back
  /// before the last norm. Embedding and head stay as they are.
  public var residualRotation: Rotation?

  /// The embedding as a head, laid out in tiles; nil where there is a head of its own, or inputs are not rounded.
  package var tiledEmbedding: Tiles?

  /// What multiplies the last hidden state.
  public var effectiveHead: Linear {
    if let head { return head }
    var linear = Linear(weight: embedding)
    linear.tiles = tiledEmbedding
    return linear
  }

  /// The number of parameters, a tied head counted once.
  public var parameterCount: Int {
    var count = embedding.count + finalNorm.count + (head?.weight.count ?? 0)
    for block in blocks {
      count += block.normCount
      for linear in block.weights.values { count += linear.weight.count + (linear.bias?.count ?? 0) }
    }
    return count
  }

  /// The bits a weight of the blocks costs, everything stored for them counted.
  public var bitsPerQuantizedWeight: Double {
    var bytes = 0, weights = 0
    for block in blocks {
      for linear in block.weights.values {
        bytes += linear.byteCount
        weights += linear.weight.count
      }
    }
    return Double(8 * bytes) / Double(max(weights, 1))
  }

  /// The bits a parameter costs over the whole model: embeddings, norms and biases too.
  public var bitsPerWeight: Double { Double(8 * byteCount) / Double(parameterCount) }

  /// The bytes of all weights as stored; norms and biases counted at 4 bytes.
  public var byteCount: Int {
    var bytes = embedding.byteCount + 4 * finalNorm.count + (head?.weight.byteCount ?? 0)
    for block in blocks {
      bytes += 4 * block.normCount
      for linear in block.weights.values { bytes += linear.byteCount + 4 * (linear.bias?.count ?? 0) }
    }
    return bytes
  }

  /// Throws where a weight's shape is not what the configuration demands.
  ///
  /// - Throws: `Problem` of kind `badData` naming the weight.
  public func validate() throws(Problem) {
    try configuration.validate()
    func check(_ name: String, _ shape: (Int, Int), _ expected: (Int, Int)) throws(Problem) {
      guard shape == expected else {
        throw Problem(
          .badData,
          "\(name) is \(shape.0) × \(shape.1) where the configuration demands \(expected.0) × \(expected.1)",
          cure: "the checkpoint and its configuration do not belong together")
      }
    }
    let c = configuration
    try check("the embedding", (embedding.rows, embedding.columns), (c.vocabularySize, c.hiddenSize))
    if let head {
      try check("the head", (head.weight.rows, head.weight.columns), (c.vocabularySize, c.hiddenSize))
    }
    try check("the last norm", (1, finalNorm.count), (1, c.hiddenSize))
    if let residualRotation {
      try check("the rotation of the hidden states", (1, residualRotation.size), (1, c.hiddenSize))
    }
    for (layer, block) in blocks.enumerated() { try validate(block, layer, check) }
    var factors: [[Float]] = []
    if case .factors(let all) = c.rotary.scaling { factors = [all] }
    if case .long(let long) = c.rotary.scaling { factors = [long.short, long.long] }
    for factors in factors where factors.count != c.headDimension / 2 {
      throw Problem(
        .badData, "\(factors.count) rotary factors do not fit a head dimension of \(c.headDimension)")
    }
  }

  private func validate(
    _ block: Block, _ layer: Int, _ check: (String, (Int, Int), (Int, Int)) throws(Problem) -> Void
  ) throws(Problem) {
    let c = configuration
    try check("the attention norm of layer \(layer)", (1, block.attentionNorm.count), (1, c.hiddenSize))
    try check(
      "the feed-forward norm of layer \(layer)", (1, block.feedForwardNorm.count), (1, c.hiddenSize))
    for norm in c.normalizesHeads ? [block.queryNorm, block.keyNorm] : [] {
      try check("the norm of heads of layer \(layer)", (1, norm?.count ?? 0), (1, c.headDimension))
    }
    for role in Role.allCases {
      guard let linear = block.weights[role] else {
        throw Problem(.badData, "layer \(layer) has no \(role.rawValue) weight")
      }
      let site = Site(layer, role), shape = c.shape(of: site)
      try check("weight \(site)", (linear.weight.rows, linear.weight.columns), shape)
      if let bias = linear.bias { try check("bias \(site)", (1, bias.count), (1, shape.rows)) }
      for step in linear.input {
        switch step {
        case .scale(let factors):
          try check("the input scale of \(site)", (1, factors.count), (1, shape.columns))
        case .rotate(let rotation):
          try check("the rotation of \(site)", (1, rotation.size), (1, shape.columns))
        case .quantize: break
        }
      }
      if let output = linear.output {
        try check("the output rotation of \(site)", (1, output.size), (1, shape.rows))
      }
    }
  }
}
