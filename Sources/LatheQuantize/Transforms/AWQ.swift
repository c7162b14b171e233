internal import LatheEncoding
public import LatheModel
public import LatheTensor

/// Scales up the channels whose inputs are large, so that their weights lose less in rounding.
///
/// Paper: arXiv:2306.00978. At each fold point every channel j gets a factor `s_j = mean|x_j|^r`, normalized by
/// `√(max s · min s)`; the consumers' weights are multiplied by it, what writes the channel is divided by it. The ratio r
/// is searched over `steps` values from 0 to 1 (section 3.2): that with which the block, its consumers rounded to nearest,
/// differs least from the original one. Where heads share a value head, its channels share a factor.
public struct AWQ: Transform {
  public static let card = MethodCard(
    name: "awq", title: "AWQ", paper: "arXiv:2306.00978",
    summary: "Channels with large inputs are scaled up before rounding.",
    options: [
      "steps": "ratios tried at each fold point (default 20)",
      "tokens": "calibration tokens on which ratios are compared (default 2048)",
    ])

  /// The ratios tried at each fold point.
  public var steps = 20
  /// The calibration tokens on which ratios are compared, in whole sequences.
  public var tokens = 2048

  /// The authors' grid of ratios.
  public init() {}

  public var evidence: EvidenceKinds { [.magnitudes] }

  // Factors move from weight to weight: nothing is left to do.
  public var leavesSteps: Bool { false }

  public static var companion: (method: String, options: [(key: String, value: String)]) {
    ("rtn", [("clip", "true"), ("importance", "true")])
  }

  public func apply(to block: inout Block, in context: BlockContext) throws(Problem) {
    let sequences = max(1, tokens / max(context.sequenceLength, 1))
    guard let exact = context.outputs(of: block, sequences: sequences) else {
      throw Problem(.usage, "awq needs calibration text", cure: "give --calibration FILE")
    }
    for point in context.foldPoints {
      let consumers = point.consumers.filter { context.rule(for: $0) != nil }
      guard let first = point.consumers.first, !consumers.isEmpty else { continue }
      let seen = try context.evidence(.magnitudes, at: first.input, of: block)
      let mean = point.sharing(seen.meanMagnitude ?? [], context.configuration) {
        $0.reduce(0, +) / Float($0.count)
      }
      var best: (error: Double, factors: [Float])?
      for step in 0..<max(steps, 1) {
        let factors = Self.factors(mean, ratio: Float(step) / Float(max(steps, 1)))
        var candidate = block
        for role in consumers {
          try candidate.replace(role, by: context.nearest(block.dense(role), scaledBy: factors, for: role))
        }
        guard let outputs = context.outputs(of: candidate, sequences: sequences) else { continue }
        let error = exact.squaredDistance(to: outputs)
        if error.isFinite, error < best?.error ?? .infinity { best = (error, factors) }
      }
      guard let best else { continue }
      try block.fold(best.factors, at: point, context.configuration)
    }
  }

  private static func factors(_ mean: [Float], ratio: Float) -> [Float] {
    var factors = mean.map { max(Kernels.power($0, ratio), 1e-4) }
    let norm = ((factors.max() ?? 1) * (factors.min() ?? 1)).squareRoot()
    for j in factors.indices { factors[j] /= norm }
    return factors
  }
}

extension BlockContext {
  /// The tokens of a calibration sequence.
  var sequenceLength: Int { stream?.calibration.length ?? 0 }

  /// `Q(W · s) / s`: what rounding to nearest makes of a weight whose channels are scaled.
  func nearest(_ weight: Matrix, scaledBy factors: [Float], for role: Role) throws(Problem) -> Matrix {
    guard let grid = rule(for: role)?.encoding.encoding as? any Grid else { return weight }
    var out = weight
    for i in 0..<weight.rows { for j in 0..<weight.columns { out[i, j] *= factors[j] } }
    out = out.nearest(on: grid, team: team)
    for i in 0..<weight.rows { for j in 0..<weight.columns { out[i, j] /= factors[j] } }
    return out
  }
}

extension FloatBuffer {
  /// The sum of squared differences.
  func squaredDistance(to other: FloatBuffer) -> Double {
    var sum = 0.0
    for i in 0..<count {
      let difference = Double(pointer[i]) - Double(other.pointer[i])
      sum += difference * difference
    }
    return sum
  }
}
