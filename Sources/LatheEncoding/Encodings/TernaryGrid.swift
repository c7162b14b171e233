public import LatheTensor

/// Minus one, nought and one, times a scale; five codes a byte.
///
/// The scale is the mean magnitude of the group, as in BitNet b1.58 (arXiv:2402.17764).
public struct TernaryGrid: Grid {
  public static let name = "ternary"
  /// Neighbours that share a scale; nil for a whole row.
  public let groupSize: Int?

  /// The five codes of each byte, the first one lowest.
  private static let digits: [UInt64] = (0..<256).map { byte in
    var rest = byte, five: UInt64 = 0
    for place in 0..<5 {
      five |= UInt64(rest % 3) << (8 * place)
      rest /= 3
    }
    return five
  }

  private enum CodingKeys: String, CodingKey { case groupSize = "group_size" }

  /// A grid with one scale for each `groupSize` neighbours.
  public init(groupSize: Int?) throws(Problem) {
    guard (1...1 << 30).contains(groupSize ?? 8) else {
      throw Problem(.usage, "a group size of \(groupSize ?? 0) is out of range")
    }
    self.groupSize = groupSize
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(groupSize: container.decodeIfPresent(Int.self, forKey: .groupSize))
  }

  public static func grid(for request: GridRequest) throws(Problem) -> TernaryGrid? {
    guard !request.isForGGUF, abs(request.bits - 1.58) < 0.01 else { return nil }
    return try TernaryGrid(groupSize: request.groupSize)
  }

  public var label: String { "ternary" + (groupSize.map { " g\($0)" } ?? " row") }

  public var nominalBits: Double { 1.58 }

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    [
      PartLayout("codes", "U8", [rows, (columns + 4) / 5]),
      PartLayout("scales", "F16", [rows, groupCount(columns)]),
    ]
  }

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    let codes = matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self)
    let scales = matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt16.self)
    let width = (matrix.columns + 4) / 5, groups = groupCount(matrix.columns)
    withExtendedLifetime(matrix) {
      for (i, r) in rows.enumerated() {
        kernels.decodeTernary(
          codes + r * width, scales: scales + r * groups, group: groupSize ?? matrix.columns,
          into: out + i * matrix.columns, matrix.columns)
      }
    }
  }

  public func tiling(of matrix: EncodedMatrix) -> Tiling? {
    Tiling(
      bits: 2, group: groupSize ?? matrix.columns, offsets: .constant(1), isTernary: true, isTotal: true)
  }

  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    let width = (matrix.columns + 4) / 5, groups = groupCount(matrix.columns)
    let packed = matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self) + row * width
    let scales = matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt16.self) + row * groups
    withExtendedLifetime(matrix) {
      codes.scales.update(from: scales, count: groups)
      Self.digits.withUnsafeBufferPointer { digits in
        // The three bytes above the five digits are written over by the next ones.
        let whole = matrix.columns < 8 ? 0 : (matrix.columns - 8) / 5 + 1
        for i in 0..<whole {
          UnsafeMutableRawPointer(codes.codes + 5 * i).storeBytes(
            of: digits[Int(packed[i])].littleEndian, as: UInt64.self)
        }
        for i in whole..<width {
          var five = digits[Int(packed[i])]
          for j in 5 * i..<min(5 * i + 5, matrix.columns) {
            codes.codes[j] = UInt8(truncatingIfNeeded: five)
            five >>= 8
          }
        }
      }
    }
    return true
  }

  public func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> AffineParameters {
    let scales = columns.meanMagnitudes().map { storableScale($0 > 0 ? $0 * shrink : 1) }
    return AffineParameters(scale: scales, zero: [Float](repeating: 1, count: scales.count))
  }

  public func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: AffineParameters,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>
  ) {
    Kernels.best.roundColumn(
      column, scale: parameters.scale, zero: parameters.zero, top: 2, codes: codes, points: points, count)
  }

  public func pack(
    _ codes: [UInt8], parameters: [AffineParameters], groupOfColumn: [Int]?, rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    guard groupOfColumn == nil else {
      throw Problem(.usage, "ternary groups cannot be scattered", cure: "set static groups")
    }
    let width = (columns + 4) / 5
    let packed = Bytes(count: rows * width) { target in
      for r in 0..<rows {
        for byte in 0..<width {
          var value: UInt8 = 0
          for k in (0..<5).reversed() where byte * 5 + k < columns {
            value = value * 3 + codes[(byte * 5 + k) * rows + r]
          }
          target[r * width + byte] = value
        }
      }
    }
    return try EncodedMatrix(
      encoding: self, rows: rows, columns: columns,
      parts: ["codes": packed, "scales": packScales(parameters.map(\.scale), rows: rows)])
  }
}
