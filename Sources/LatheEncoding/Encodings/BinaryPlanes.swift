public import LatheTensor

/// Two bits a weight: its sign, and either a second sign or which of two groups it belongs to.
///
/// The storage of BiLLM (arXiv:2402.04291). In salient columns, value = mean ± first scale ± second scale of the row's
/// block; elsewhere value = mean ± scale of the group that the second bit names.
public struct BinaryPlanes: Encoding {
  public static let name = "binary-planes"
  /// Columns that share parameters in a row.
  public let blockSize: Int

  private enum CodingKeys: String, CodingKey { case blockSize = "block_size" }

  /// An encoding with parameters for each `blockSize` columns of a row.
  ///
  /// - Throws: `Problem` of kind `usage` where the size is out of range.
  public init(blockSize: Int) throws(Problem) {
    guard (1...1 << 30).contains(blockSize) else {
      throw Problem(.usage, "a block size of \(blockSize) is out of range")
    }
    self.blockSize = blockSize
  }

  public init(from decoder: any Decoder) throws {
    try self.init(blockSize: decoder.container(keyedBy: CodingKeys.self).decode(Int.self, forKey: .blockSize))
  }

  public var label: String { "planes g\(blockSize)" }

  /// The paper counts signs alone: one for each weight, and a second in the few salient columns.
  public var nominalBits: Double { 1.1 }

  /// What a row's block shares.
  public static let levelCount = 7

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    let plane = (columns + 7) / 8, blocks = (columns - 1) / blockSize + 1
    return [
      PartLayout("columns", "U8", [plane], isShared: true),
      PartLayout("signs", "U8", [rows, plane]),
      PartLayout("second", "U8", [rows, plane]),
      PartLayout("levels", "F16", [rows, blocks, Self.levelCount]),
    ]
  }

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    let n = matrix.columns, plane = (n + 7) / 8, blocks = (n - 1) / blockSize + 1
    let columns = matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self)
    let signs = matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt8.self)
    let second = matrix.parts[2].baseAddress.assumingMemoryBound(to: UInt8.self)
    let levels = matrix.parts[3].baseAddress.assumingMemoryBound(to: UInt16.self)
    withExtendedLifetime(matrix) {
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 8) { table in
        guard let table = table.baseAddress else { return }
        for (i, r) in rows.enumerated() {
          for b in 0..<blocks {
            Self.fill(table, levels + (r * blocks + b) * Self.levelCount)
            for j in b * blockSize..<min((b + 1) * blockSize, n) {
              let byte = j / 8, shift = UInt8(j % 8)
              let code =
                (columns[byte] >> shift & 1) << 2 | (second[r * plane + byte] >> shift & 1) << 1
                | signs[r * plane + byte] >> shift & 1
              out[i * n + j] = table[Int(code)]
            }
          }
        }
      }
    }
  }

  /// The eight values of a row's block, by salient column, second bit and sign.
  private static func fill(_ table: UnsafeMutablePointer<Float>, _ levels: UnsafePointer<UInt16>) {
    func level(_ k: Int) -> Float { HalfPrecision.value(levels[k]) }
    for second in 0..<2 {
      let mean = level(2 * second), scale = level(2 * second + 1)
      table[2 * second] = mean - scale
      table[2 * second + 1] = mean + scale
    }
    for code in 0..<4 {
      table[4 + code] =
        level(4) + (code & 1 == 1 ? level(5) : -level(5)) + (code & 2 == 2 ? level(6) : -level(6))
    }
  }

  // MARK: In tiles

  /// Two bits a weight name a row's four values in a block, two tables of them: the second in salient columns.
  public func tiling(of matrix: EncodedMatrix) -> Tiling? {
    let marks = matrix.parts[0].elements(as: UInt8.self)
    return Tiling(
      bits: 2, group: blockSize, offsets: .constant(128),
      rowTables: Tiling.RowTables(
        columns: blockSize, .marked((0..<matrix.columns).map { marks[$0 / 8] >> UInt8($0 % 8) & 1 == 1 })),
      isTotal: true)
  }

  /// Values are rounded to whole numbers of a 127th of the block's largest.
  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    let n = matrix.columns, plane = (n + 7) / 8, blocks = (n - 1) / blockSize + 1
    let signs = matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt8.self) + row * plane
    let second = matrix.parts[2].baseAddress.assumingMemoryBound(to: UInt8.self) + row * plane
    let levels =
      matrix.parts[3].baseAddress.assumingMemoryBound(to: UInt16.self) + row * blocks * Self.levelCount
    guard let tables = codes.tables else { return false }
    withExtendedLifetime(matrix) {
      for j in 0..<n {
        let shift = UInt8(j % 8)
        codes.codes[j] = (second[j / 8] >> shift & 1) << 1 | signs[j / 8] >> shift & 1
      }
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 8) { table in
        guard let table = table.baseAddress else { return }
        for b in 0..<blocks {
          Self.fill(table, levels + b * Self.levelCount)
          codes.scales[b] = Self.round(table, 8, into: tables + 8 * b)
        }
      }
    }
    return true
  }

  /// Values as whole numbers, 128 above, of a unit that is returned as binary16.
  static func round(
    _ values: UnsafePointer<Float>, _ count: Int, into bytes: UnsafeMutablePointer<UInt8>
  ) -> UInt16 {
    var largest: Float = 0
    for k in 0..<count where abs(values[k]) > largest && values[k].isFinite { largest = abs(values[k]) }
    // The smallest unit that reaches the largest value.
    var unit = HalfPrecision.bits(largest / 127)
    if HalfPrecision.value(unit) * 127.5 < largest { unit += 1 }
    for k in 0..<count {
      let whole = (values[k] / HalfPrecision.value(unit)).rounded()
      bytes[k] = UInt8(128 + (whole.isFinite ? min(max(whole, -127), 127) : 0))
    }
    return unit
  }

  /// Packs a matrix, all row after row.
  ///
  /// - Parameters:
  ///   - isSalient: one for each column.
  ///   - signs: 1 for a positive sign.
  ///   - second: the second sign, or the group.
  ///   - levels: for each block of a row two means with their scales, then the mean and two scales of salient columns.
  public func pack(
    isSalient: [Bool], signs: [UInt8], second: [UInt8], levels: [Float], rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    try EncodedMatrix(
      encoding: self, rows: rows, columns: columns,
      parts: [
        "columns": packPlane(isSalient.map { $0 ? 1 : 0 }, rows: 1, columns: columns),
        "signs": packPlane(signs, rows: rows, columns: columns),
        "second": packPlane(second, rows: rows, columns: columns),
        "levels": Bytes(elements: levels.map(HalfPrecision.bits)),
      ])
  }
}
