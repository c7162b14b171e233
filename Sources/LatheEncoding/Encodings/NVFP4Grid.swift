public import LatheTensor

/// NVIDIA's four-bit floats: E2M1 numbers, a scale in E4M3 for each 16, and one binary32 scale for the tensor.
///
/// Source: NVIDIA, "Pretraining large language models with NVFP4" (arXiv:2509.25149), appendix C. The tensor's scale
/// takes its largest magnitude to 6 · 448, the largest number times the largest scale; a block's scale takes its own
/// largest magnitude to 6. Value = number · block scale · tensor scale. Halves go to the even code.
public struct NVFP4Grid: Grid {
  public static let name = "nvfp4"
  /// The tensor's scale, once `prepared` has seen it; no part of the description.
  private var tensorScale: Float?

  private enum CodingKeys: CodingKey {}

  /// The grid, whose tensor scale is 1 until a tensor is seen.
  public init() {}

  public static var families: [String] { [name] }

  public static func grid(for request: GridRequest) throws(Problem) -> NVFP4Grid? {
    request.family == name ? NVFP4Grid() : nil
  }

  public var label: String { "NVFP4" }
  public var nominalBits: Double { 4 }
  public var groupSize: Int? { 16 }

  // MARK: What is stored

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    [
      PartLayout("codes", "U8", [rows, (columns + 1) / 2]),
      PartLayout("scales", "U8", [rows, groupCount(columns)]),
      PartLayout("tensor_scale", "F32", [1], isShared: true),
    ]
  }

  // MARK: Executed

  private func lookup(_ matrix: EncodedMatrix, from row: Int) -> LookupRows {
    let groups = groupCount(matrix.columns)
    let codes = matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self)
    return LookupRows(
      codes: codes + row * ((matrix.columns + 1) / 2), table: Self.table.pointer,
      scales: .coded(
        matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt8.self) + row * groups,
        table: Self.scaleTable.pointer,
        factors: matrix.parts[2].baseAddress.assumingMemoryBound(to: Float.self), first: 0, span: .max,
        offset: 0), group: 16, columns: matrix.columns)
  }

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    withExtendedLifetime(matrix) {
      kernels.decode(lookup(matrix, from: rows.lowerBound), count: rows.count, into: out)
    }
  }

  public func multiply(
    _ matrix: EncodedMatrix, rows: Range<Int>, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>,
    with kernels: Kernels
  ) {
    withExtendedLifetime(matrix) {
      kernels.multiply(lookup(matrix, from: rows.lowerBound), count: rows.count, by: x, into: out)
    }
  }

  // MARK: In tiles

  /// Entries as whole numbers, which those of E2M1 are, halves doubled; scales times their unit are rounded to binary16.
  public func tiling(of matrix: EncodedMatrix) -> Tiling? {
    Tiling(bits: 4, group: 16, offsets: .constant(128), table: Self.book.wholes)
  }

  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    withExtendedLifetime(matrix) {
      lookup(matrix, from: row).read(into: codes, unit: Self.book.unit, with: kernels)
    }
  }

  // MARK: Searched

  public func prepared(for weight: @autoclosure () -> Matrix) -> NVFP4Grid {
    if tensorScale != nil { return self }
    let weight = weight()
    let largest = Matrix(rows: weight.values.count, columns: 1, values: weight.values).largestMagnitudes()
    var copy = self
    copy.tensorScale = largest[0] > 0 ? max(largest[0] / (6 * 448), .leastNormalMagnitude) : 1
    return copy
  }

  public func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> LookupParameters {
    var fitted = LookupParameters(rows: columns.columns)
    let tensorScale = tensorScale ?? 1
    for (i, size) in columns.largestMagnitudes().enumerated() {
      fitted.code[i] = Self.scaleCode(size * shrink / 6 / tensorScale)
      fitted.scale[i] = Self.scaleTable.pointer[Int(fitted.code[i])] * tensorScale
      fitted.inverse[i] = fitted.scale[i] > 0 ? 1 / fitted.scale[i] : 0
    }
    return fitted
  }

  public func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: LookupParameters,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>
  ) {
    Self.book.round(column, count: count, under: parameters, codes: codes, points: points)
  }

  public func pack(
    _ codes: [UInt8], parameters: [LookupParameters], groupOfColumn: [Int]?, rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    guard groupOfColumn == nil else {
      throw Problem(.usage, "blocks of NVFP4 cannot be scattered", cure: "set static groups")
    }
    var scales: [UInt8] = []
    for r in 0..<rows { for group in parameters { scales.append(group.code[r]) } }
    return try EncodedMatrix(
      encoding: NVFP4Grid(), rows: rows, columns: columns,
      parts: [
        "codes": packCodes(codes, bits: 4, rows: rows, columns: columns), "scales": Bytes(scales),
        "tensor_scale": Bytes(elements: [tensorScale ?? 1]),
      ])
  }

  // MARK: Tables

  private static let book: Codebook = {
    let sizes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    return Codebook(sizes + sizes.map { -$0 }, tiesToEven: true)
  }()
  private static let table = FloatBuffer(copying: book.table)

  /// The values of E4M3: a sign, four bits of exponent, three of mantissa, no infinities. The code that is no number
  /// counts as zero.
  private static let scaleTable = FloatBuffer(
    copying: (0..<256).map { (code: Int) -> Float in
      let exponent = code >> 3 & 15, mantissa = Float(code & 7)
      if code & 127 == 127 { return 0 }
      let size =
        exponent == 0
        ? mantissa * 0x1p-9 : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 7, significand: 1)
      return code < 128 ? size : -size
    })

  /// The code of the E4M3 number nearest to `value`, halves to the even code, at most 448.
  private static func scaleCode(_ value: Float) -> UInt8 {
    var (low, high) = (0, 126)
    // The last code whose value is not above.
    while low < high {
      let middle = (low + high + 1) / 2
      if scaleTable.pointer[middle] <= value { low = middle } else { high = middle - 1 }
    }
    guard low < 126 else { return 126 }
    let below = value - scaleTable.pointer[low], above = scaleTable.pointer[low + 1] - value
    return UInt8(below < above || (below == above && low % 2 == 0) ? low : low + 1)
  }
}
