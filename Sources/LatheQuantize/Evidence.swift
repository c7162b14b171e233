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
}

/// What calibration gathered about the input that some weights share.
public final class Evidence: Sendable {
  /// The number of input vectors seen.
  public let count: Int
  /// The mean of `x · xᵀ`, inputs × inputs; nil where it was not gathered.
  public let secondMoment: Matrix?
  /// The mean of `x²`, one value for each input; nil where it was not gathered.
  public let channelEnergy: [Float]?
  private let factors = Mutex<[FactorKey: Result<InverseFactor, Problem>]>([:])

  /// Evidence of `count` vectors.
  public init(count: Int = 0, secondMoment: Matrix? = nil, channelEnergy: [Float]? = nil) {
    (self.count, self.secondMoment) = (count, secondMoment)
    self.channelEnergy = channelEnergy ?? secondMoment.map { h in (0..<h.rows).map { h[$0, $0] } }
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
    let mean = diagonal.reduce(0, +) / Float(n)
    var damping = key.damping
    while true {
      var h = key.descending ? secondMoment.permuted(by: order) : secondMoment
      for j in 0..<n {
        // A channel that is always zero may hold any weight: it must only not spoil the factorization.
        if h[j, j] == 0 { h[j, j] = max(mean, 1) }
        h[j, j] += max(damping * mean, 1e-10)
      }
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

/// Sums what evidence consists of over the vectors it is shown.
protocol EvidenceSum {
  func add(_ x: UnsafePointer<Float>, _ rows: Int)
  func evidence() -> Evidence
}

/// Sums `x²` over the vectors it is shown.
final class ChannelEnergySum: EvidenceSum {
  private var count = 0
  private var sums: [Double]

  init(width: Int) { sums = [Double](repeating: 0, count: width) }

  func add(_ x: UnsafePointer<Float>, _ rows: Int) {
    count += rows
    let width = sums.count
    sums.withUnsafeMutableBufferPointer { sums in
      for r in 0..<rows { for j in 0..<width { sums[j] += Double(x[r * width + j] * x[r * width + j]) } }
    }
  }

  func evidence() -> Evidence {
    Evidence(count: count, channelEnergy: sums.map { Float($0 / Double(max(count, 1))) })
  }
}

/// Sums `x · xᵀ` over the vectors it is shown.
final class SecondMomentSum: EvidenceSum {
  private(set) var count = 0
  private let width: Int
  private let sum: FloatBuffer
  private let team: ThreadTeam

  init(width: Int, team: ThreadTeam) {
    (self.width, self.team) = (width, team)
    sum = FloatBuffer(width * width)
  }

  func add(_ x: UnsafePointer<Float>, _ rows: Int) {
    count += rows
    // The lower triangle, a panel of rows at a time: panel r reaches to column r's end only.
    let panel = max(16, min(256, (width / team.count + 15) / 16 * 16))
    let panels = (width + panel - 1) / panel
    team.run(panels) { piece in
      let first = (panels - 1 - piece) * panel, end = min(first + panel, width)
      BLAS.multiplyTransposing(
        x + first, stride: width, x, stride: width, into: sum.pointer + first * width, stride: width,
        m: end - first,
        n: end, k: rows, beta: 1)
    }
  }

  func evidence() -> Evidence {
    var mean = Matrix(zeros: width, width)
    let scale = 1 / Float(max(count, 1))
    for i in 0..<width {
      for j in 0...i {
        let value = sum.pointer[i * width + j] * scale
        mean[i, j] = value
        mean[j, i] = value
      }
    }
    return Evidence(count: count, secondMoment: mean)
  }
}
