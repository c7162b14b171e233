public import LatheTensor

/// A few weights at eight bits wherever they lie, all others as one of two values of their group.
///
/// The storage of PB-LLM (arXiv:2310.00034). A bitmap says which weights are salient; a second bit of every weight is the
/// sign of the others and the lowest bit of a salient one's code, whose upper seven bits follow one another row by row.
/// Value = mean ± scale of the group, or salient scale · (code - zero) of the row.
public struct PartlyBinary: Encoding {
  public static let name = "partly-binary"
  /// Neighbours that share a mean and a scale.
  public let groupSize: Int
  /// The share of salient weights in each group of columns.
  public let salientShare: Double

  private enum CodingKeys: String, CodingKey {
    case groupSize = "group_size"
    case salientShare = "salient_share"
  }

  /// An encoding that keeps `salientShare` of the weights at eight bits.
  ///
  /// - Throws: `Problem` of kind `usage` where a setting is out of range.
  public init(groupSize: Int, salientShare: Double) throws(Problem) {
    guard (1...1 << 30).contains(groupSize) else {
      throw Problem(.usage, "a group size of \(groupSize) is out of range")
    }
    guard (0...1).contains(salientShare) else {
      throw Problem(.usage, "a salient share of \(salientShare) is out of range", cure: "choose 0 to 1")
    }
    (self.groupSize, self.salientShare) = (groupSize, salientShare)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      groupSize: container.decode(Int.self, forKey: .groupSize),
      salientShare: container.decode(Double.self, forKey: .salientShare))
  }

  public var label: String { "binary+\(Int((salientShare * 100).rounded()))% int8" }

  public var nominalBits: Double { 1 + 7 * salientShare }

  /// The salient weights in a group of `columns` of a matrix.
  public func salientCount(rows: Int, columns: Int) -> Int {
    Int((Double(rows * columns) * salientShare).rounded())
  }

  private func groups(_ columns: Int) -> Int { (columns - 1) / groupSize + 1 }

  private func salientCount(ofMatrix rows: Int, _ columns: Int) -> Int {
    stride(from: 0, to: columns, by: groupSize).reduce(0) {
      $0 + salientCount(rows: rows, columns: min(groupSize, columns - $1))
    }
  }

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    let plane = (columns + 7) / 8, groups = groups(columns)
    return [
      PartLayout("salient", "U8", [rows, plane]),
      PartLayout("signs", "U8", [rows, plane]),
      PartLayout("codes", "U8", [(7 * salientCount(ofMatrix: rows, columns) + 7) / 8], isShared: true),
      PartLayout("offsets", "U32", [rows]),
      PartLayout("means", "F16", [rows, groups]),
      PartLayout("scales", "F16", [rows, groups]),
      PartLayout("salient_scales", "F16", [rows]),
      PartLayout("salient_zeros", "U8", [rows]),
    ]
  }

  public func validate(_ matrix: EncodedMatrix) throws(Problem) {
    let plane = (matrix.columns + 7) / 8
    let offsets = matrix.parts[3].elements(as: UInt32.self)
    var count = 0
    var fits = true
    matrix.parts[0].withUnsafeBytes { mask in
      for r in 0..<matrix.rows {
        if Int(offsets[r]) != count { fits = false }
        for i in 0..<plane { count += mask[r * plane + i].nonzeroBitCount }
        if matrix.columns % 8 != 0, mask[r * plane + plane - 1] >> UInt8(matrix.columns % 8) != 0 {
          fits = false
        }
      }
    }
    guard fits, count == salientCount(ofMatrix: matrix.rows, matrix.columns) else {
      throw Problem(.badData, "the bitmap of salient weights and the codes do not belong together")
    }
  }

  /// One row of a matrix.
  private struct Row {
    let mask, signs, codes: UnsafePointer<UInt8>
    let means, scales: UnsafePointer<UInt16>
    let salientScale: UInt16, zero: UInt8
    /// The first bit of the row's salient codes.
    let first: Int

    init(_ matrix: EncodedMatrix, _ r: Int, groups: Int) {
      func part<T>(_ index: Int, _ type: T.Type) -> UnsafePointer<T> {
        UnsafePointer(matrix.parts[index].baseAddress.assumingMemoryBound(to: type))
      }
      let plane = (matrix.columns + 7) / 8
      (mask, signs) = (part(0, UInt8.self) + r * plane, part(1, UInt8.self) + r * plane)
      codes = part(2, UInt8.self)
      first = 7 * Int(part(3, UInt32.self)[r])
      (means, scales) = (part(4, UInt16.self) + r * groups, part(5, UInt16.self) + r * groups)
      (salientScale, zero) = (part(6, UInt16.self)[r], part(7, UInt8.self)[r])
    }

    /// The values of a group's other weights: for a negative sign, for a positive one.
    func levels(_ group: Int) -> (Float, Float) {
      let mean = HalfPrecision.value(means[group]), scale = HalfPrecision.value(scales[group])
      return (mean - scale, mean + scale)
    }

    /// Visits columns from the left: the sign, and the code of a salient one.
    func visit(_ columns: Int, _ body: (_ column: Int, _ isPositive: Bool, _ code: UInt8?) -> Void) {
      var next = first
      for j in 0..<columns {
        let shift = UInt8(j % 8), bit = signs[j / 8] >> shift & 1
        guard mask[j / 8] >> shift & 1 == 1 else {
          body(j, bit == 1, nil)
          continue
        }
        var upper = UInt32(codes[next / 8])
        if next % 8 > 1 { upper |= UInt32(codes[next / 8 + 1]) << 8 }
        body(j, bit == 1, UInt8(truncatingIfNeeded: upper >> UInt32(next % 8) & 127) << 1 | bit)
        next += 7
      }
    }
  }

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    let n = matrix.columns, groups = groups(n)
    withExtendedLifetime(matrix) {
      for (i, r) in rows.enumerated() {
        let row = Row(matrix, r, groups: groups), to = out + i * n
        let salientScale = HalfPrecision.value(row.salientScale), zero = Float(row.zero)
        var levels: (Float, Float) = (0, 0), next = 0
        row.visit(n) { j, isPositive, code in
          if j == next { (levels, next) = (row.levels(j / groupSize), j + groupSize) }
          to[j] = code.map { (Float($0) - zero) * salientScale } ?? (isPositive ? levels.1 : levels.0)
        }
      }
    }
  }

  // MARK: In tiles

  /// The second bit of a code says that the weight is salient, and its byte comes next; the first is the sign of another.
  public func tiling(of matrix: EncodedMatrix) -> Tiling? {
    let before = matrix.parts[3].elements(as: UInt32.self).map { Int($0) }
    return Tiling(
      bits: 2, group: matrix.columns, offsets: .zeros,
      rowTables: Tiling.RowTables(
        columns: groupSize,
        .patches(before: before + [salientCount(ofMatrix: matrix.rows, matrix.columns)])))
  }

  /// The values of other weights are rounded to the salient ones' steps; where their range does not hold these, salient
  /// values are rounded too, to a step that holds all.
  ///
  /// - Returns: false where the step is more than half of the other weights' values.
  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    let n = matrix.columns, groups = groups(n)
    guard let tables = codes.tables, let patches = codes.patches, let zeros = codes.zeros else {
      return false
    }
    return withExtendedLifetime(matrix) {
      let row = Row(matrix, row, groups: groups)
      var steps = Steps(bits: row.salientScale, zero: Float(row.zero))
      let salient = steps
      var levels: ClosedRange<Float> = 0...0, salientLevels: ClosedRange<Float>?
      for g in 0..<groups {
        let (low, high) = row.levels(g)
        guard low.isFinite, high.isFinite else { return false }
        levels = g == 0 ? min(low, high)...max(low, high) : levels.joined(low).joined(high)
      }
      row.visit(n) { j, isPositive, code in
        codes.codes[j] = code == nil ? (isPositive ? 1 : 0) : 2
        guard let code else { return }
        patches[j] = code
        let value = salient.value(code)
        salientLevels = salientLevels?.joined(value) ?? value...value
      }
      if salientLevels == nil || !steps.holds(levels) {
        let all = levels.joined(salientLevels?.lowerBound ?? 0).joined(salientLevels?.upperBound ?? 0)
        steps = Steps(reaching: max(-all.lowerBound, all.upperBound))
        if salientLevels != nil {
          for j in 0..<n where codes.codes[j] == 2 { patches[j] = steps.code(salient.value(patches[j])) }
        }
      }
      let largest = max(abs(levels.lowerBound), abs(levels.upperBound))
      guard steps.holds(levels), largest == 0 || largest >= 2 * steps.step else { return false }
      (codes.scales[0], zeros[0]) = (steps.bits, UInt8(steps.zero))
      for g in 0..<groups {
        (tables[4 * g], tables[4 * g + 1]) = (steps.code(row.levels(g).0), steps.code(row.levels(g).1))
      }
      return true
    }
  }

  /// What is stored for a matrix, all row after row.
  public struct Content {
    /// Whether each weight is salient.
    public var isSalient: [Bool]
    /// A salient weight's code, or 1 for a positive sign and 0 for a negative one.
    public var codes: [UInt8]
    /// Each group's mean and scale, as binary16 holds them.
    public var means, scales: [Float]
    /// Each row's scale and zero point for salient weights.
    public var salientScales: [Float], salientZeros: [UInt8]

    /// Room for a matrix.
    public init(rows: Int, columns: Int, groups: Int) {
      isSalient = [Bool](repeating: false, count: rows * columns)
      codes = [UInt8](repeating: 0, count: rows * columns)
      means = [Float](repeating: 0, count: rows * groups)
      scales = means
      salientScales = [Float](repeating: 1, count: rows)
      salientZeros = [UInt8](repeating: 0, count: rows)
    }
  }

  /// Packs a matrix.
  public func pack(_ content: Content, rows: Int, columns: Int) throws(Problem) -> EncodedMatrix {
    var offsets: [UInt32] = [], upper: [UInt8] = []
    for r in 0..<rows {
      offsets.append(UInt32(upper.count))
      for j in 0..<columns where content.isSalient[r * columns + j] {
        upper.append(content.codes[r * columns + j] >> 1)
      }
    }
    let half = { (values: [Float]) in Bytes(elements: values.map(HalfPrecision.bits)) }
    return try EncodedMatrix(
      encoding: self, rows: rows, columns: columns,
      parts: [
        "salient": packPlane(content.isSalient.map { $0 ? 1 : 0 }, rows: rows, columns: columns),
        "signs": packPlane(content.codes, rows: rows, columns: columns),
        "codes": packRun(upper, bits: 7), "offsets": Bytes(elements: offsets), "means": half(content.means),
        "scales": half(content.scales), "salient_scales": half(content.salientScales),
        "salient_zeros": Bytes(content.salientZeros),
      ])
  }
}

/// Evenly spaced values with codes of a byte.
private struct Steps {
  /// The step, as binary16.
  let bits: UInt16
  let step, zero: Float

  init(bits: UInt16, zero: Float) {
    (self.bits, self.zero) = (bits, zero)
    step = HalfPrecision.value(bits)
  }

  /// Steps around zero that reach `largest`.
  init(reaching largest: Float) { self.init(bits: HalfPrecision.bits(largest / 126), zero: 128) }

  func value(_ code: UInt8) -> Float { (Float(code) - zero) * step }

  /// The code nearest to a value.
  func code(_ value: Float) -> UInt8 {
    let whole = (value / step + zero).rounded()
    return whole >= 0 && whole <= 255 ? UInt8(whole) : UInt8(zero)
  }

  func holds(_ values: ClosedRange<Float>) -> Bool {
    step >= 0 && step.isFinite && values.lowerBound >= -(zero + 0.5) * step
      && values.upperBound <= (255.5 - zero) * step
  }
}

extension ClosedRange<Float> {
  fileprivate func joined(_ value: Float) -> ClosedRange<Float> {
    Swift.min(lowerBound, value)...Swift.max(upperBound, value)
  }
}
