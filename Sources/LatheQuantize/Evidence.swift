internal import LatheModel
public import LatheTensor
internal import Synchronization

/// What a method asks calibration to gather about the inputs of a weight.
public struct EvidenceKinds: OptionSet, Hashable, Sendable {
  /// The bits of the set.
  public let rawValue: Int

  /// A set of the given bits.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// The mean of `x · xᵀ`: the Hessian of the output error, up to a factor.
  public static let secondMoment = EvidenceKinds(rawValue: 1)
  /// The mean of `x²` of each input channel: the diagonal of the second moment, without the rest.
  public static let channelEnergy = EvidenceKinds(rawValue: 2)
  /// The mean and the largest magnitude of each channel.
  public static let magnitudes = EvidenceKinds(rawValue: 4)
  /// The mean of `(x̃ - x) · xᵀ`, x̃ being what the original model would have fed the weight.
  public static let mismatch = EvidenceKinds(rawValue: 8)
  /// The mean of `(r̃ - r) · xᵀ`, r the hidden state that the weight's outputs are added to, r̃ the original model's.
  public static let residual = EvidenceKinds(rawValue: 16)
}

/// What calibration gathered about the input that some weights share.
public final class Evidence: Sendable {
  /// The number of input vectors seen.
  public let count: Int
  /// The mean of `x · xᵀ`, inputs × inputs; nil where it was not gathered.
  public let secondMoment: Matrix?
  /// The mean of `x²`, one value for each input; nil where it was not gathered.
  public let channelEnergy: [Float]?
  /// The mean magnitude of each channel; nil where it was not gathered.
  public let meanMagnitude: [Float]?
  /// The largest magnitude of each channel; nil where it was not gathered.
  public let maximum: [Float]?
  /// The mean of `(x̃ - x) · xᵀ`, inputs × inputs; nil where it was not gathered.
  public let mismatch: Matrix?
  /// The mean of `(r̃ - r) · xᵀ`, outputs × inputs; nil where it was not gathered or the outputs are added to nothing.
  public let residual: Matrix?
  private let factors = Mutex<[FactorKey: Result<InverseFactor, Problem>]>([:])

  /// Evidence of `count` vectors.
  public init(
    count: Int = 0, secondMoment: Matrix? = nil, channelEnergy: [Float]? = nil, meanMagnitude: [Float]? = nil,
    maximum: [Float]? = nil,
    mismatch: Matrix? = nil, residual: Matrix? = nil
  ) {
    (self.count, self.secondMoment) = (count, secondMoment)
    self.channelEnergy = channelEnergy ?? secondMoment.map { h in (0..<h.rows).map { h[$0, $0] } }
    (self.meanMagnitude, self.maximum) = (meanMagnitude, maximum)
    (self.mismatch, self.residual) = (mismatch, residual)
  }

  /// What each of `count` input channels counts for: its energy.
  ///
  /// - Throws: `Problem` where nothing, or nothing finite, was gathered.
  func importance(of count: Int) throws(Problem) -> [Float] {
    guard let channelEnergy, channelEnergy.count == count else {
      throw Problem(.usage, "the method needs calibration text", cure: "give --calibration")
    }
    guard channelEnergy.allSatisfy(\.isFinite) else {
      throw Problem(.badData, "the model's activations are not finite on the calibration text")
    }
    return channelEnergy
  }

  /// The evidence as a weight sees it behind its input steps, in the basis of its outputs.
  ///
  /// Magnitudes of channels do not survive a change of basis and are left out.
  func seen(by linear: Linear) -> Evidence {
    let input = linear.withoutActivationGrid.input
    if input.isEmpty && linear.output == nil { return self }
    var residual = residual?.steppingRows(input)
    if let output = linear.output { residual = residual?.rotatingColumns(by: output) }
    return Evidence(
      count: count, secondMoment: secondMoment?.steppingBoth(input), mismatch: mismatch?.steppingBoth(input),
      residual: residual)
  }

  /// The upper Cholesky factor of the inverse of the damped second moment, made once and shared by all who ask.
  ///
  /// Where the matrix is not positive definite the damping grows tenfold, up to the mean of the diagonal.
  /// - Parameters:
  ///   - damping: the share of the diagonal's mean that is added to it.
  ///   - descending: whether columns are first put in order of falling second moment (act-order).
  ///   - threads: the threads the factorization may use.
  /// - Throws: `Problem` where nothing was gathered or no damping suffices.
  public func inverseFactor(damping: Float, descending: Bool, threads: Int = 1) throws(Problem)
    -> InverseFactor
  {
    let key = FactorKey(damping: damping, descending: descending)
    return try factors.withLock { cache in
      if let known = cache[key] { return known }
      let made = Result { () throws(Problem) in try makeFactor(key, threads: threads) }
      cache[key] = made
      return made
    }.get()
  }

  private struct FactorKey: Hashable {
    let damping: Float
    let descending: Bool
  }

  private func makeFactor(_ key: FactorKey, threads: Int) throws(Problem) -> InverseFactor {
    guard let secondMoment, count > 0 else {
      throw Problem(.usage, "the method needs calibration text", cure: "give --calibration")
    }
    let n = secondMoment.rows
    let diagonal = (0..<n).map { secondMoment[$0, $0] }
    guard diagonal.allSatisfy(\.isFinite) else {
      throw Problem(.badData, "the model's activations are not finite on the calibration text")
    }
    let order =
      key.descending
      ? diagonal.indices.sorted { diagonal[$0] != diagonal[$1] ? diagonal[$0] > diagonal[$1] : $0 < $1 }
      : Array(diagonal.indices)
    var damping = key.damping
    while true {
      let h = secondMoment.damped(by: damping, order: key.descending ? order : nil)
      if let upper = h.inverseCholesky(threads: threads) {
        return InverseFactor(
          upper: upper, order: order, dead: Set(diagonal.indices.filter { diagonal[$0] == 0 }),
          damping: damping)
      }
      guard damping < 1 else {
        throw Problem(
          .badData, "the second moment of \(count) inputs cannot be factorized at any damping",
          cure: "calibrate on more text")
      }
      damping = max(damping * 10, 1e-4)
    }
  }
}

extension Evidence {
  /// The second moment with the damping and in the order of `factor`.
  package func dampedMoment(like factor: InverseFactor) -> Matrix? {
    secondMoment?.damped(by: factor.damping, order: factor.order)
  }
}

extension Matrix {
  /// A second moment with `damping` of its mean diagonal added, columns in `order`.
  fileprivate func damped(by damping: Float, order: [Int]?) -> Matrix {
    let mean = (0..<rows).reduce(Float(0)) { $0 + self[$1, $1] } / Float(max(rows, 1))
    var h = order.map { permuted(by: $0) } ?? self
    for j in 0..<rows {
      // A channel that is always zero may hold any weight: it must only not spoil the factorization.
      if h[j, j] == 0 { h[j, j] = max(mean, 1) }
      h[j, j] += max(damping * mean, 1e-10)
    }
    return h
  }
}

/// The factorization that second-order methods share: `H⁻¹ = Uᵀ · U`, with columns in `order`.
public struct InverseFactor: Sendable {
  /// `U`, upper triangular, in the order below.
  public let upper: Matrix
  /// The column of the weight that stands at each place.
  public let order: [Int]
  /// Columns whose input is always zero.
  public let dead: Set<Int>
  /// The damping that sufficed.
  public let damping: Float
}

extension Matrix {
  /// Every row taken through `steps`.
  fileprivate func steppingRows(_ steps: [InputStep]) -> Matrix {
    var out = self
    for step in steps {
      switch step {
      case .scale(let factors):
        for i in 0..<rows { for j in 0..<columns { out[i, j] *= factors[j] } }
      case .rotate(let rotation): out = out.rotatingRows(by: rotation)
      case .quantize: break
      }
    }
    return out
  }

  /// Rows and columns taken through `steps`.
  fileprivate func steppingBoth(_ steps: [InputStep]) -> Matrix {
    steppingRows(steps).transposed().steppingRows(steps).transposed()
  }
}
