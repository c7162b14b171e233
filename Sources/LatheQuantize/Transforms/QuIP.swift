public import LatheEncoding
public import LatheModel
public import LatheTensor

/// Makes weights incoherent: turned by random bases on both sides, no entry of a weight or of its second moment stands
/// out, and evenly spaced levels suffice without groups.
///
/// Paper: arXiv:2307.13304. Each weight is first balanced, `s_j = (H_jj / (WᵀW)_jj)^¼`, its columns multiplied by s and its
/// inputs divided (algorithm 1), then turned: `U · W · Vᵀ`, both made of two small random orthogonal factors and a
/// permutation (section 4.1). Codes are chosen by the second-order sweep, which is the paper's LDLQ, in order of falling
/// diagonal, followed by greedy passes. At run time inputs are turned by V, outputs back by U. Only s is stored: the bases
/// follow from a seed.
public struct QuIP: Transform {
  public static let card = MethodCard(
    name: "quip", title: "QuIP", paper: "arXiv:2307.13304",
    summary: "Random rotations on both sides of each weight, then second-order rounding without groups.",
    options: [
      "rescale": "balance each weight against its inputs first (default true)",
      "seed": "what the bases are drawn from (default 0)",
    ])

  /// Whether each weight is balanced against its inputs.
  public var rescale = true
  /// What the bases are drawn from.
  public var seed = 0

  /// The authors' incoherence processing.
  public init() {}

  public static var companion: (method: String, options: [(key: String, value: String)]) {
    ("gptq", [("passes", "10"), ("clip", "true")])
  }

  public static var grid: GridRequest? {
    GridRequest(bits: 2, groupSize: nil, isSymmetric: true, isCentred: true)
  }

  public var evidence: EvidenceKinds { rescale ? [.channelEnergy] : [] }

  public func storedBytes(rows: Int, columns: Int) -> Int { rescale ? 2 * columns : 0 }

  public func apply(to block: inout Block, in context: BlockContext) throws(Problem) {
    for (index, role) in Role.allCases.enumerated() where context.rule(for: role) != nil {
      var weight = block.dense(role)
      if rescale {
        let seen = try context.evidence(.channelEnergy, at: role.input, of: block).channelEnergy ?? []
        let factors = balance(weight, seen)
        weight = weight.scalingColumns(by: factors.map { 1 / $0 })
        block.weights[role]?.input.append(.scale(factors))
      }
      let site = UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9 &+ UInt64(context.layer * 16 + index) << 1
      let input = try rotation(weight.columns, site), output = try rotation(weight.rows, site + 1)
      try block.replace(role, by: weight.rotatingRows(by: input).rotatingColumns(by: output))
      block.weights[role]?.input.append(.rotate(input))
      block.weights[role]?.output = output
    }
  }

  /// What inputs are multiplied by: 1 / s, as binary16 holds it.
  private func balance(_ weight: Matrix, _ moment: [Float]) -> [Float] {
    var energy = [Float](repeating: 0, count: weight.columns)
    for i in 0..<weight.rows { for j in 0..<weight.columns { energy[j] += weight[i, j] * weight[i, j] } }
    let s = zip(moment, energy).map { h, w in (h / max(w, 1e-20)).squareRoot().squareRoot() }
    let mean = max(s.reduce(0, +) / Float(max(s.count, 1)), 1e-20)
    return s.map { HalfPrecision.value(HalfPrecision.bits(1 / min(max($0 / mean, 1e-3), 1e3))) }
  }

  private func rotation(_ size: Int, _ seed: UInt64) throws(Problem) -> Rotation {
    guard Rotation.supports(.kronecker, size: size) else {
      throw Problem(
        .usage, "\(size) channels do not split into two factors of at most 2048",
        cure: "choose another method")
    }
    return Rotation(.kronecker, size: size, seed: seed)
  }
}
