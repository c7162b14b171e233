public import LatheModel
public import LatheTensor

/// Rotates the model into a basis without outliers.
///
/// Paper: QuaRot, arXiv:2404.00456, section 4. Norm scales move into the weights that read them; a norm then commutes with
/// a rotation. `residual` turns the hidden state (R1): weights that read it and weights that write it take the rotation
/// in; embedding and head stay as they are, the hidden state being turned after the one and back before the other.
/// `heads` turns every value head and what the output weight reads (R2). Both cost nothing at run time. `online` turns
/// what `down` reads (R4), and `attention` what the output weight reads over all heads, as the model runs.
public struct Hadamard: Transform {
  public static let card = MethodCard(
    name: "hadamard", title: "Hadamard rotation", paper: "arXiv:2404.00456",
    summary: "QuaRot: outliers are spread over all channels by rotations.",
    options: [
      "residual": "turn the hidden state, folded into the weights (default true)",
      "heads": "turn each value head, folded into the weights (default true)",
      "online": "turn the inputs of down while the model runs (default true)",
      "attention": "turn the inputs of o over all heads while the model runs (default false)",
      "seed": "what the random signs are drawn from (default 0)",
    ])

  /// Whether the hidden state is turned.
  public var residual = true
  /// Whether each value head is turned.
  public var heads = true
  /// Whether the inputs of `down` are turned at run time.
  public var online = true
  /// Whether the inputs of `o` are turned at run time.
  public var attention = false
  /// What the random signs are drawn from.
  public var seed = 0

  /// The rotations of the paper that weights need.
  public init() {}

  public var leavesSteps: Bool { residual || online || attention }

  public static var companion: (method: String, options: [(key: String, value: String)]) { ("gptq", []) }

  public func apply(to model: inout Model) throws(Problem) {
    let c = model.configuration
    if residual {
      guard model.residualRotation == nil else {
        throw Problem(.usage, "the model's hidden state is turned already", cure: "name the original model")
      }
      model.residualRotation = try rotation(c.hiddenSize)
    }
    if heads { _ = try rotation(c.headDimension) }
    for sizes in Set(c.sizes) {
      if online { _ = try rotation(sizes.feedForwardSize) }
      if attention { _ = try rotation(sizes.heads * c.headDimension) }
    }
  }

  public func apply(to block: inout Block, in context: BlockContext) throws(Problem) {
    let c = context.configuration
    if residual { try turnHiddenState(of: &block, by: rotation(c.hiddenSize)) }
    if heads {
      let turn = try rotation(c.headDimension)
      try block.turnRows(.value, by: turn)
      try block.replace(.output, by: block.dense(.output).rotatingRows(by: turn))
    }
    if online { try block.turnInput(.down, by: rotation(c.feedForwardSize)) }
    if attention { try block.turnInput(.output, by: rotation(c.queryWidth)) }
  }

  private func rotation(_ size: Int) throws(Problem) -> Rotation {
    guard Rotation.supports(.hadamard, size: size) else {
      throw Problem(
        .usage, "\(size) channels have no Hadamard rotation: their odd factor is too large",
        cure: "leave this rotation out by --set")
    }
    return Rotation(.hadamard, size: size, seed: UInt64(bitPattern: Int64(seed)))
  }

  private func turnHiddenState(of block: inout Block, by rotation: Rotation) throws(Problem) {
    for role in Role.allCases {
      switch role.input {
      case .attention:
        try block.replace(
          role, by: block.dense(role).scalingColumns(by: block.attentionNorm).rotatingRows(by: rotation))
      case .feedForward:
        try block.replace(
          role, by: block.dense(role).scalingColumns(by: block.feedForwardNorm).rotatingRows(by: rotation))
      case .attentionOutput, .feedForwardHidden: try block.turnRows(role, by: rotation)
      }
    }
    block.attentionNorm = [Float](repeating: 1, count: block.attentionNorm.count)
    block.feedForwardNorm = [Float](repeating: 1, count: block.feedForwardNorm.count)
  }
}

extension Block {
  /// Turns what a weight writes, each run of the rotation's size by itself.
  fileprivate mutating func turnRows(_ role: Role, by rotation: Rotation) throws(Problem) {
    try replace(role, by: dense(role).rotatingColumns(by: rotation))
    guard let bias = weights[role]?.bias else { return }
    weights[role]?.bias = Matrix(rows: 1, columns: bias.count, values: bias).rotatingRows(by: rotation).values
  }

  /// Turns what a weight reads as the model runs, and the weight with it.
  fileprivate mutating func turnInput(_ role: Role, by rotation: Rotation) throws(Problem) {
    try replace(role, by: dense(role).rotatingRows(by: rotation))
    weights[role]?.input.append(.rotate(rotation))
  }
}

extension Matrix {
  /// Column j multiplied by `factors[j]`.
  func scalingColumns(by factors: [Float]) -> Matrix {
    var out = self
    for i in 0..<rows { for j in 0..<columns { out[i, j] *= factors[j] } }
    return out
  }
}
