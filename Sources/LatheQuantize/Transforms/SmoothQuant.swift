public import LatheEncoding
public import LatheModel
public import LatheTensor

/// Moves the outliers of activations into the weights, so that both can be rounded to whole numbers.
///
/// Paper: arXiv:2211.10438. At each norm, channel j is divided by `s_j = max|x_j|^α / max|w_j|^(1-α)`, the largest weight
/// taken over all that read the norm, and their weights are multiplied by it (equation 4). Inputs of all weights of the
/// block are then rounded: one step for each token, or with `static` one for all, found on the calibration text.
public struct SmoothQuant: Transform {
  public static let card = MethodCard(
    name: "smoothquant", title: "SmoothQuant", paper: "arXiv:2211.10438",
    summary: "Outliers of activations move into the weights; both become whole numbers.",
    options: [
      "alpha":
        "share of the outliers that moves (default 0.5; for LLaMA-3 0.85)",
      "activationBits": "the width of rounded inputs, 2 to 8 (default 8)",
      "static": "one step for all tokens, found on the calibration text (default false)",
    ])

  private enum CodingKeys: String, CodingKey {
    case alpha, activationBits
    case isStatic = "static"
  }

  /// How much of the outliers moves into the weights.
  public var alpha: Float = 0.5
  /// The width of rounded inputs.
  public var activationBits = 8
  /// Whether one step serves all tokens.
  public var isStatic = false

  /// The authors' defaults: α of one half, a step for each token.
  public init() {}

  public static var grid: GridRequest? { GridRequest(bits: 8, groupSize: nil, isSymmetric: true) }

  public var evidence: EvidenceKinds { [.magnitudes] }

  public func apply(to block: inout Block, in context: BlockContext) throws(Problem) {
    for point in context.foldPoints {
      if case .weight = point.producer { continue }
      guard let first = point.consumers.first,
        point.consumers.contains(where: { context.rule(for: $0) != nil })
      else { continue }
      let largestInput = try context.evidence(.magnitudes, at: first.input, of: block).maximum ?? []
      var largestWeight = [Float](repeating: 0, count: largestInput.count)
      for role in point.consumers {
        let weight = block.dense(role)
        for i in 0..<weight.rows {
          for j in 0..<weight.columns { largestWeight[j] = max(largestWeight[j], abs(weight[i, j])) }
        }
      }
      let factors = zip(largestInput, largestWeight).map { input, weight in
        max(Kernels.power(max(input, 1e-5), alpha) / Kernels.power(max(weight, 1e-5), 1 - alpha), 1e-5)
      }
      // Consumers are multiplied, the norm divided: what the weights gain, the inputs lose.
      try block.fold(factors, at: point, context.configuration)
    }
    try context.roundInputs(of: &block, bits: activationBits, isStatic: isStatic)
  }
}

extension BlockContext {
  /// Lets the inputs of all weights that a rule quantizes be rounded to whole numbers.
  func roundInputs(of block: inout Block, bits: Int, isStatic: Bool) throws(Problem) {
    for role in Role.allCases {
      guard rule(for: role) != nil, let linear = block.weights[role] else { continue }
      var grid = try ActivationGrid(bits: bits)
      if isStatic {
        let seen = try evidence(.magnitudes, at: role.input, of: block)
        guard linear.withoutActivationGrid.input.isEmpty else {
          throw Problem(
            .usage, "rotated inputs have no static step", cure: "set static=false")
        }
        let largest = seen.maximum?.max() ?? 0
        grid = try ActivationGrid(bits: bits, scale: max(largest, 1e-8) / grid.outermostCode)
      }
      block.weights[role]?.input.append(.quantize(grid))
    }
  }
}
