public import LatheEncoding
public import LatheTensor

/// Half-quadratic quantization: moves each group's zero point to where the error, its outliers apart, is least; no data.
///
/// Paper: H. Badri, A. Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", Mobius Labs, 2023.
/// Minimizes `‖W - Ŵ‖ₚᵖ`, p < 1, with the scale s fixed to the group's range: alternating between codes
/// `q = clamp(round(W / s + z))`, outliers `e = shrink(W - s · (q - z))` with
/// `shrink(r) = sign(r) · max(0, |r| - |r|^(p-1) / β)`, and the zero point `z = mean(q - (W - e) / s)`, β growing by κ.
///
/// As in the authors' code, rounds end when the mean error no longer falls; here each group of each row keeps its own best.
public struct HQQ: QuantizationMethod {
  public static let card = MethodCard(
    name: "hqq", title: "HQQ", paper: "Mobius Labs, 2023 (mobiusml.github.io/hqq_blog)",
    summary: "Zero points moved to where the error without outliers is least; no data.",
    options: [
      "p": "the exponent of the error's norm, below 1 (default 0.7)",
      "beta": "the weight of the quadratic part at first (default 10)",
      "kappa": "what beta grows by in each round (default 1.01)",
      "rounds": "the rounds at most (default 20)",
    ])

  /// The exponent of the norm.
  public var p: Float = 0.7
  /// The weight of the quadratic part at first.
  public var beta: Float = 10
  /// What beta grows by in each round.
  public var kappa: Float = 1.01
  /// The rounds at most.
  public var rounds = 20

  /// The authors' defaults.
  public init() {}

  public var evidence: EvidenceKinds { [] }

  public func storage(of grid: some Grid) -> any Encoding {
    (grid as? any AffineGrid).map { $0.freeingZeros } ?? grid
  }

  /// A grid whose points are not evenly spaced has no zero points to move: its weights are rounded to nearest.
  public func quantize<G: Grid>(
    _ weight: Matrix, onto grid: G, given evidence: Evidence
  ) throws(Problem) -> EncodedMatrix {
    guard let affine = grid as? any AffineGrid else {
      return try MethodDescription(name: "rtn").method.quantize(weight, onto: grid, given: evidence)
    }
    return try refine(weight, onto: affine.freeingZeros)
  }

  private func refine<G: AffineGrid>(_ weight: Matrix, onto grid: G) throws(Problem) -> EncodedMatrix {
    let columns = weight.transposed(), size = grid.groupSize ?? weight.columns
    var codes = [UInt8](repeating: 0, count: weight.values.count)
    var parameters: [AffineParameters] = []
    for start in stride(from: 0, to: weight.columns, by: size) {
      let group = columns.rows(start..<min(start + size, weight.columns))
      let fitted = refined(group, top: grid.top)
      parameters.append(fitted)
      var points = [Float](repeating: 0, count: weight.rows)
      for j in 0..<group.rows {
        codes.withUnsafeMutableBufferPointer { codes in
          group.values.withUnsafeBufferPointer { values in
            points.withUnsafeMutableBufferPointer { points in
              guard let codes = codes.baseAddress, let values = values.baseAddress,
                let points = points.baseAddress
              else { return }
              grid.round(
                values + j * weight.rows, at: j, count: weight.rows, under: fitted,
                codes: codes + (start + j) * weight.rows, points: points)
            }
          }
        }
      }
    }
    return try grid.pack(
      codes, parameters: parameters, groupOfColumn: nil, rows: weight.rows, columns: weight.columns)
  }

  /// The range of a group, for every row.
  private func range(_ group: Matrix, top: Int) -> AffineParameters {
    let (lowest, highest) = group.extremes(), n = group.columns
    var fitted = AffineParameters(
      scale: [Float](repeating: 1, count: n), zero: [Float](repeating: 0, count: n))
    for i in 0..<n {
      var low = lowest[i], high = highest[i]
      // A range far from zero would need a zero point of more digits than binary16 has.
      if low > high - low || -high > high - low { (low, high) = (min(low, 0), max(high, 0)) }
      guard high > low, (high - low).isFinite else { continue }
      fitted.scale[i] = (high - low) / Float(top)
      fitted.zero[i] = -low / fitted.scale[i]
    }
    return fitted.stored
  }

  /// The parameters of one group whose columns lie in rows of `group`.
  private func refined(_ group: Matrix, top: Int) -> AffineParameters {
    var best = range(group, top: top)
    var trial = best, least = [Float](repeating: .infinity, count: group.columns)
    // A row whose error has risen once is done, whatever rows it came with.
    var active = [Bool](repeating: true, count: group.columns)
    var beta = beta
    for _ in 0..<max(rounds, 0) {
      let (errors, zeros) = step(group, under: trial, top: top, beta: beta)
      var better = [Bool](repeating: false, count: errors.count)
      for i in errors.indices where active[i] && errors[i] < least[i] {
        better[i] = true
        least[i] = errors[i]
      }
      guard better.contains(true) else { break }
      active = better
      best.adopt(trial, where: better)
      trial = AffineParameters(scale: trial.scale, zero: zeros).stored
      beta *= kappa
    }
    return best
  }

  /// The error of each row, and the zero point that the codes and outliers of this round ask for.
  private func step(_ group: Matrix, under trial: AffineParameters, top: Int, beta: Float) -> (
    errors: [Float], zeros: [Float]
  ) {
    let n = group.columns
    var errors = [Float](repeating: 0, count: n), zeros = errors
    var codes = [UInt8](repeating: 0, count: n), points = errors
    let inverse = trial.scale.map { 1 / $0 }
    // Below this all of an error is noise.
    let quiet = Kernels.power(beta, -1 / (2 - p))
    for j in 0..<group.rows {
      group.values.withUnsafeBufferPointer { values in
        guard let base = values.baseAddress else { return }
        let w = base + j * n
        Kernels.best.roundColumn(
          w, scale: trial.scale, zero: trial.zero, top: top, codes: &codes, points: &points, n)
        for i in 0..<n {
          let residual = w[i] - points[i]
          errors[i] += abs(residual)
          var kept = w[i]
          if abs(residual) > quiet { kept -= shrunk(residual, beta) }
          zeros[i] += Float(codes[i]) - kept * inverse[i]
        }
      }
    }
    let share = 1 / Float(max(group.rows, 1))
    return (errors, zeros.map { $0 * share })
  }

  private func shrunk(_ residual: Float, _ beta: Float) -> Float {
    let size = abs(residual)
    let rest = max(0, size - Kernels.power(size, p - 1) / beta)
    return residual < 0 ? -rest : rest
  }
}
