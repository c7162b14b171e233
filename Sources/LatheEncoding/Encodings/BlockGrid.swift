public import LatheTensor

/// The GGUF blocks of 32 weights that a method can write: Q4_0, Q5_0 and Q8_0 (a scale), Q4_1 and Q5_1 (a scale and
/// a minimum).
///
/// Rounding follows llama.cpp's `quantize_row_*_ref`, so that rounding to nearest gives its bytes.
public struct BlockGrid: Grid {
  public static let name = "block"

  /// The block types.
  public enum Kind: String, Codable, Sendable, CaseIterable {
    /// 4 bits and a scale.
    case q4_0 = "Q4_0"
    /// 4 bits, a scale and a minimum.
    case q4_1 = "Q4_1"
    /// 5 bits and a scale.
    case q5_0 = "Q5_0"
    /// 5 bits, a scale and a minimum.
    case q5_1 = "Q5_1"
    /// 8 bits and a scale.
    case q8_0 = "Q8_0"

    var bits: Int { self == .q8_0 ? 8 : self == .q4_0 || self == .q4_1 ? 4 : 5 }
    var hasMinimum: Bool { self == .q4_1 || self == .q5_1 }
  }

  /// The block type.
  public let kind: Kind

  /// Blocks of the given type.
  public init(_ kind: Kind) { self.kind = kind }

  public static func grid(for request: GridRequest) throws(Problem) -> BlockGrid? {
    guard request.isForGGUF, let bits = Int(exactly: request.bits) else { return nil }
    return Kind.allCases.first { $0.bits == bits && (bits == 8 || $0.hasMinimum != request.isSymmetric) }
      .map { BlockGrid($0) }
  }

  public var label: String { kind.rawValue }

  public var nominalBits: Double { Double(kind.bits) }
  public var groupSize: Int? { 32 }

  public var storedLayout: StoredLayout? { stored.layout }

  private var stored: StoredBlocks { StoredBlocks(named: kind.rawValue) ?? .float32 }

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    try stored.parts(rows: rows, columns: columns)
  }

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    stored.decode(matrix, rows: rows, into: out, with: kernels)
  }

  public func multiply(
    _ matrix: EncodedMatrix, rows: Range<Int>, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>,
    with kernels: Kernels
  ) {
    stored.multiply(matrix, rows: rows, by: x, into: out, with: kernels)
  }

  /// A block's scale and minimum, as stored and as the rounding uses them.
  public struct Parameters: GroupParameters {
    var scale: [Float]
    var minimum: [Float]
    var inverse: [Float]
    var exactMinimum: [Float]

    public mutating func adopt(_ other: Parameters, where better: [Bool]) {
      for i in better.indices where better[i] {
        scale[i] = other.scale[i]
        minimum[i] = other.minimum[i]
        inverse[i] = other.inverse[i]
        exactMinimum[i] = other.exactMinimum[i]
      }
    }
  }

  public func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> Parameters {
    let n = columns.columns
    let (lowest, highest) = columns.extremes()
    let zeros = [Float](repeating: 0, count: n)
    var fitted = Parameters(scale: zeros, minimum: zeros, inverse: zeros, exactMinimum: zeros)
    for i in 0..<n {
      let low = lowest[i] * shrink, high = highest[i] * shrink
      var scale: Float
      switch kind {
      case .q8_0: scale = max(-low, high) / 127
      case .q4_1, .q5_1: scale = (high - low) / Float((1 << kind.bits) - 1)
      case .q4_0, .q5_0:
        // The element of largest magnitude, sign and all, gets the outermost code.
        scale =
          (earliestExtreme(columns, i, low: lowest[i], high: highest[i]) * shrink)
          / Float(-(1 << (kind.bits - 1)))
      }
      if !scale.isFinite { scale = 0 }
      fitted.inverse[i] = scale == 0 ? 0 : 1 / scale
      fitted.scale[i] = HalfPrecision.value(HalfPrecision.bits(scale))
      fitted.exactMinimum[i] = kind.hasMinimum ? low : 0
      fitted.minimum[i] = HalfPrecision.value(HalfPrecision.bits(fitted.exactMinimum[i]))
    }
    return fitted
  }

  /// The first of the two extremes where their magnitudes tie, as a scan from the left finds it.
  private func earliestExtreme(_ columns: Matrix, _ row: Int, low: Float, high: Float) -> Float {
    if -low != high { return -low > high ? low : high }
    for c in 0..<columns.rows {
      let value = columns[c, row]
      if value == low || value == high { return value }
    }
    return high
  }

  public func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: Parameters,
    codes: UnsafeMutablePointer<UInt8>,
    points: UnsafeMutablePointer<Float>
  ) {
    let top = Float((1 << kind.bits) - 1)
    for i in 0..<count {
      let scaled = (column[i] - parameters.exactMinimum[i]) * parameters.inverse[i]
      switch kind {
      case .q8_0:
        let q = min(max(scaled.rounded(.toNearestOrAwayFromZero), -128), 127)
        codes[i] = UInt8(bitPattern: Int8(q))
        points[i] = q * parameters.scale[i]
      case .q4_0, .q5_0:
        let offset = Float(1 << (kind.bits - 1))
        let q = min(max((scaled + offset + 0.5).rounded(.towardZero), 0), top)
        codes[i] = UInt8(q)
        points[i] = (q - offset) * parameters.scale[i]
      case .q4_1, .q5_1:
        let q = min(max((scaled + 0.5).rounded(.towardZero), 0), top)
        codes[i] = UInt8(q)
        points[i] = q * parameters.scale[i] + parameters.minimum[i]
      }
    }
  }

  public func pack(
    _ codes: [UInt8], parameters: [Parameters], groupOfColumn: [Int]?, rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    guard groupOfColumn == nil else {
      throw Problem(.usage, "blocks of \(kind.rawValue) cannot be scattered", cure: "set static groups")
    }
    let layout = try parts(rows: rows, columns: columns)[0]
    let width = layout.shape[1] / parameters.count
    let blocks = Bytes(count: layout.byteCount) { target in
      var block = [UInt8](repeating: 0, count: 32)
      for r in 0..<rows {
        for (g, group) in parameters.enumerated() {
          for j in 0..<32 { block[j] = codes[(32 * g + j) * rows + r] }
          let place = (r * parameters.count + g) * width
          write(block, scale: group.scale[r], minimum: group.minimum[r], to: target, at: place)
        }
      }
    }
    return try EncodedMatrix(encoding: self, rows: rows, columns: columns, parts: [layout.name: blocks])
  }

  private func write(
    _ block: [UInt8], scale: Float, minimum: Float, to target: UnsafeMutableRawBufferPointer, at place: Int
  ) {
    target.storeBytes(of: HalfPrecision.bits(scale), toByteOffset: place, as: UInt16.self)
    var at = place + 2
    if kind.hasMinimum {
      target.storeBytes(of: HalfPrecision.bits(minimum), toByteOffset: at, as: UInt16.self)
      at += 2
    }
    if kind == .q8_0 {
      for j in 0..<32 { target[at + j] = block[j] }
      return
    }
    if kind.bits == 5 {
      var high: UInt32 = 0
      for j in 0..<32 { high |= UInt32(block[j] >> 4) << UInt32(j) }
      target.storeBytes(of: high, toByteOffset: at, as: UInt32.self)
      at += 4
    }
    for j in 0..<16 { target[at + j] = (block[j] & 15) | (block[j + 16] & 15) << 4 }
  }
}
