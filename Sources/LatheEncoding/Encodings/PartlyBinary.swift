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

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    let n = matrix.columns, plane = (n + 7) / 8, groups = groups(n)
    func bytes(_ part: Int) -> UnsafePointer<UInt8> {
      matrix.parts[part].baseAddress.assumingMemoryBound(to: UInt8.self)
    }
    func halves(_ part: Int) -> UnsafePointer<UInt16> {
      matrix.parts[part].baseAddress.assumingMemoryBound(to: UInt16.self)
    }
    let mask = bytes(0), signs = bytes(1), codes = bytes(2), zeros = bytes(7)
    let offsets = matrix.parts[3].baseAddress.assumingMemoryBound(to: UInt32.self)
    let means = halves(4), scales = halves(5), salientScales = halves(6)
    withExtendedLifetime(matrix) {
      for (i, r) in rows.enumerated() {
        let to = out + i * n
        var next = Int(offsets[r]) * 7
        let salientScale = HalfPrecision.value(salientScales[r]), zero = Float(zeros[r])
        for g in 0..<groups {
          let mean = HalfPrecision.value(means[r * groups + g]),
            scale = HalfPrecision.value(scales[r * groups + g])
          for j in g * groupSize..<min((g + 1) * groupSize, n) {
            let byte = r * plane + j / 8, shift = UInt8(j % 8)
            let bit = signs[byte] >> shift & 1
            if mask[byte] >> shift & 1 == 0 {
              to[j] = bit == 1 ? mean + scale : mean - scale
            } else {
              var upper = UInt32(codes[next / 8])
              if next % 8 > 1 { upper |= UInt32(codes[next / 8 + 1]) << 8 }
              let code = (upper >> UInt32(next % 8) & 127) << 1 | UInt32(bit)
              to[j] = (Float(code) - zero) * salientScale
              next += 7
            }
          }
        }
      }
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
