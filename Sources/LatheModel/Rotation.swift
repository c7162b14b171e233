package import LatheTensor

/// An orthogonal change of basis that a few numbers describe: nothing of it is stored but its kind and its seed.
///
/// The same seed gives the same basis on every machine: only additions, products, quotients and square roots of
/// IEEE doubles go into it.
public struct Rotation: Hashable, Sendable {
  /// How the basis is built.
  public enum Kind: String, Codable, Sendable {
    /// Random signs, then a Hadamard matrix; what is odd in the size gets a small random orthogonal factor.
    case hadamard
    /// A random permutation, then the Kronecker product of two random orthogonal factors of about √n (QuIP,
    /// arXiv:2307.13304, section 4.1).
    case kronecker
  }

  /// How the basis is built.
  public let kind: Kind
  /// The number of dimensions.
  public let size: Int
  /// What its signs, permutation and factors are drawn from.
  public let seed: UInt64
  private let tables: RotationTables

  /// Whether a basis of `size` dimensions can be made in reasonable time and memory: its dense factors are small.
  public static func supports(_ kind: Kind, size: Int) -> Bool {
    (1...1 << 20).contains(size) && RotationTables.factors(kind, size: size).allSatisfy { $0 <= 2048 }
  }

  /// A basis of `size` dimensions.
  ///
  /// - Precondition: the size is one that `supports` accepts.
  public init(_ kind: Kind, size: Int, seed: UInt64) {
    (self.kind, self.size, self.seed) = (kind, size, seed)
    tables = RotationTables(kind, size: size, seed: seed)
  }

  public static func == (a: Rotation, b: Rotation) -> Bool {
    (a.kind, a.size, a.seed) == (b.kind, b.size, b.seed)
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(kind)
    hasher.combine(size)
    hasher.combine(seed)
  }

  /// Turns `count` vectors, one after another, in place: `x = R · x`.
  package func apply(to x: UnsafeMutablePointer<Float>, count: Int) {
    tables.withScratch { scratch in
      for i in 0..<count { tables.apply(to: x + i * size, scratch) }
    }
  }

  /// Turns `count` vectors back: `x = Rᵀ · x`.
  package func invert(_ x: UnsafeMutablePointer<Float>, count: Int) {
    tables.withScratch { scratch in
      for i in 0..<count { tables.invert(x + i * size, scratch) }
    }
  }
}

extension Rotation: Codable {
  private enum CodingKeys: String, CodingKey { case kind, size, seed }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let size = try container.decode(Int.self, forKey: .size)
    let kind = try container.decode(Kind.self, forKey: .kind)
    // Factors are dense: a damaged size must not ask for all memory.
    guard Self.supports(kind, size: size) else {
      throw Problem(.badData, "a rotation of \(size) dimensions is out of range")
    }
    self.init(kind, size: size, seed: try container.decode(UInt64.self, forKey: .seed))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(kind, forKey: .kind)
    try container.encode(size, forKey: .size)
    try container.encode(seed, forKey: .seed)
  }
}

extension Matrix {
  /// The matrix with every row turned: `A · Rᵀ`.
  package func rotatingRows(by rotation: Rotation) -> Matrix {
    var out = self
    out.values.withUnsafeMutableBufferPointer { values in
      if let x = values.baseAddress { rotation.apply(to: x, count: rows * columns / rotation.size) }
    }
    return out
  }

  /// The matrix with every column turned: `R · A`.
  package func rotatingColumns(by rotation: Rotation) -> Matrix {
    transposed().rotatingRows(by: rotation).transposed()
  }
}

/// What a rotation is computed with: `(left ⊗ right) · signs · permutation`.
private final class RotationTables: Sendable {
  private let size: Int
  /// Dimensions of the fast transform over the first axis; 1 where `left` takes its place.
  private let power: Int
  private let permutation: [Int32]
  private let signs: [Float]
  private let left: Matrix
  private let right: Matrix

  /// The sizes of the dense factors, left and right.
  static func factors(_ kind: Rotation.Kind, size: Int) -> [Int] {
    switch kind {
    case .hadamard: return [1, size >> size.trailingZeroBitCount]
    case .kronecker:
      var factor = Int(Double(size).squareRoot())
      while size % factor != 0 { factor -= 1 }
      return [factor, size / factor]
    }
  }

  init(_ kind: Rotation.Kind, size: Int, seed: UInt64) {
    let factors = Self.factors(kind, size: size)
    var random = SeededGenerator(seed: seed)
    self.size = size
    switch kind {
    case .hadamard:
      power = size / factors[1]
      permutation = []
      let scale = 1 / Float(power).squareRoot()
      signs = (0..<size).map { _ in random.next() & 1 == 0 ? scale : -scale }
      left = Matrix(zeros: 0, 0)
      right = .orthogonal(factors[1], drawnFrom: &random)
    case .kronecker:
      power = 1
      var order = (0..<Int32(size)).map { $0 }
      for i in stride(from: size - 1, to: 0, by: -1) {
        order.swapAt(i, Int(random.next() % UInt64(i + 1)))
      }
      permutation = order
      signs = []
      left = .orthogonal(factors[0], drawnFrom: &random)
      right = .orthogonal(factors[1], drawnFrom: &random)
    }
  }

  func withScratch(_ body: (UnsafeMutablePointer<Float>) -> Void) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { scratch in
      if let base = scratch.baseAddress { body(base) }
    }
  }

  func apply(to x: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>) {
    for i in signs.indices { x[i] *= signs[i] }
    if !permutation.isEmpty {
      for i in 0..<size { scratch[i] = x[Int(permutation[i])] }
      x.update(from: scratch, count: size)
    }
    multiply(x, scratch, transposed: false)
  }

  func invert(_ x: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>) {
    multiply(x, scratch, transposed: true)
    if !permutation.isEmpty {
      for i in 0..<size { scratch[Int(permutation[i])] = x[i] }
      x.update(from: scratch, count: size)
    }
    for i in signs.indices { x[i] *= signs[i] }
  }

  /// The two factors, over x as a table of `size / right.rows` rows.
  private func multiply(
    _ x: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>, transposed: Bool
  ) {
    let width = right.rows, height = size / width
    if width > 1 {
      right.values.withUnsafeBufferPointer { factor in
        guard let factor = factor.baseAddress else { return }
        let product = transposed ? BLAS.multiply : BLAS.multiplyTransposed
        product(x, width, factor, width, scratch, width, height, width, width, 1, 0)
      }
      x.update(from: scratch, count: size)
    }
    if power > 1 { transform(x, width: width) }
    guard left.rows > 1 else { return }
    left.values.withUnsafeBufferPointer { factor in
      guard let factor = factor.baseAddress else { return }
      let product = transposed ? BLAS.multiplyTransposing : BLAS.multiply
      product(factor, height, x, width, scratch, width, height, width, height, 1, 0)
    }
    x.update(from: scratch, count: size)
  }

  /// The fast Walsh-Hadamard transform over rows of `width`, not normalized.
  private func transform(_ x: UnsafeMutablePointer<Float>, width: Int) {
    var half = width
    while half < size {
      for start in stride(from: 0, to: size, by: 2 * half) {
        let a = x + start, b = x + start + half
        for i in 0..<half {
          let sum = a[i] + b[i]
          b[i] = a[i] - b[i]
          a[i] = sum
        }
      }
      half *= 2
    }
  }
}

extension Matrix {
  /// A random orthogonal matrix: Gaussian rows, made orthonormal one after another in double precision.
  fileprivate static func orthogonal(_ n: Int, drawnFrom random: inout SeededGenerator) -> Matrix {
    var rows: [[Double]] = []
    while rows.count < n {
      // The sum of twelve uniform numbers stands in for a Gaussian one: no library's logarithm is asked.
      var row = (0..<n).map { _ in
        (0..<12).reduce(-6.0) { sum, _ in sum + Double(random.next() >> 11) * 0x1p-53 }
      }
      // Twice: once is not orthogonal to the last digit.
      for _ in 0..<2 {
        for other in rows {
          var product = 0.0
          for i in 0..<n { product += row[i] * other[i] }
          for i in 0..<n { row[i] -= product * other[i] }
        }
      }
      let norm = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      // A row that hardly differs from those before it is drawn again.
      if norm > 1e-3 { rows.append(row.map { $0 / norm }) }
    }
    return Matrix(rows: n, columns: n, values: rows.flatMap { $0.map(Float.init) })
  }
}
