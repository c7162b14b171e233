public import LatheTensor

/// The four-bit types of bitsandbytes: NF4, the quantiles of a Gaussian (arXiv:2305.14314, appendix E), and FP4, a
/// sign, two bits of exponent and one of mantissa.
///
/// Stored: codes along a row, the first of two in the low half of a byte; for each block of 64 its largest magnitude
/// as binary32, or, doubly quantized (section 3 of the paper), in eight bits: the magnitudes less their mean over the
/// tensor, in blocks of 256 over all rows, each divided by its own largest magnitude, name entries of the dynamic map
/// (arXiv:2110.02861, section 2.2). Value = entry · magnitude.
public struct NormalFloatGrid: Grid {
  public static let name = "normal_float"

  /// The types.
  public enum Kind: String, Codable, Sendable, CaseIterable {
    /// Quantiles of a Gaussian.
    case nf4
    /// Small floats.
    case fp4
  }

  /// The type.
  public let kind: Kind
  /// Whether magnitudes are quantized in their turn.
  public let isDouble: Bool
  /// The mean magnitude of a whole tensor, once `prepared` has seen it; no part of the description.
  private var offset: Float?

  /// Blocks of 64 of the given type.
  public init(_ kind: Kind, isDouble: Bool = true) { (self.kind, self.isDouble) = (kind, isDouble) }

  private enum CodingKeys: String, CodingKey {
    case kind
    case isDouble = "double"
  }

  private static let block = 64
  private static let span = 256

  public static var families: [String] { Kind.allCases.flatMap { [$0.rawValue, $0.rawValue + "_single"] } }

  public static func grid(for request: GridRequest) throws(Problem) -> NormalFloatGrid? {
    guard let family = request.family,
      let kind = Kind.allCases.first(where: { family.hasPrefix($0.rawValue) })
    else { return nil }
    return NormalFloatGrid(kind, isDouble: family == kind.rawValue)
  }

  public var label: String { kind.rawValue.uppercased() + (isDouble ? " dq" : "") }
  public var nominalBits: Double { 4 }
  public var groupSize: Int? { Self.block }

  // MARK: What is stored

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    let groups = groupCount(columns)
    let codes = PartLayout("codes", "U8", [rows, (columns + 1) / 2])
    guard isDouble else { return [codes, PartLayout("scales", "F32", [rows, groups])] }
    return [
      codes, PartLayout("scales", "U8", [rows, groups]),
      PartLayout("factors", "F32", [(rows * groups + Self.span - 1) / Self.span], spansRows: true),
      PartLayout("offset", "F32", [1], isShared: true),
    ]
  }

  /// Rows whose magnitudes fill whole blocks of 256.
  public func rowMultiple(columns: Int) -> Int {
    guard isDouble else { return 1 }
    var (a, b) = (Self.span, groupCount(columns))
    while b > 0 { (a, b) = (b, a % b) }
    return Self.span / a
  }

  // MARK: Executed

  private func lookup(_ matrix: EncodedMatrix, from row: Int) -> LookupRows {
    let groups = groupCount(matrix.columns)
    let codes = matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self)
    let scales: LookupScales
    if isDouble {
      scales = .coded(
        matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt8.self) + row * groups,
        table: Self.dynamicMap.pointer,
        factors: matrix.parts[2].baseAddress.assumingMemoryBound(to: Float.self), first: row * groups,
        span: Self.span, offset: matrix.parts[3].baseAddress.assumingMemoryBound(to: Float.self)[0])
    } else {
      scales = .plain(matrix.parts[1].baseAddress.assumingMemoryBound(to: Float.self) + row * groups)
    }
    return LookupRows(
      codes: codes + row * ((matrix.columns + 1) / 2), table: Self.tables[kind == .nf4 ? 0 : 1].pointer,
      scales: scales, group: Self.block, columns: matrix.columns)
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

  /// Entries as whole numbers, within a 250th of the largest; scales times their unit are rounded to binary16.
  public func tiling(of matrix: EncodedMatrix) -> Tiling? {
    Tiling(bits: 4, group: Self.block, offsets: .constant(128), table: book.wholes)
  }

  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    withExtendedLifetime(matrix) {
      lookup(matrix, from: row).read(into: codes, unit: book.unit, with: kernels)
    }
  }

  // MARK: Searched

  public func prepared(for weight: @autoclosure () -> Matrix) -> NormalFloatGrid {
    guard isDouble, offset == nil else { return self }
    let weight = weight()
    let groups = groupCount(weight.columns)
    var sum = 0.0
    weight.values.withUnsafeBufferPointer { values in
      for r in 0..<weight.rows {
        for g in 0..<groups {
          var largest: Float = 0
          for j in g * Self.block..<min((g + 1) * Self.block, weight.columns) {
            let size = abs(values[r * weight.columns + j])
            if size > largest && size < .infinity { largest = size }
          }
          sum += Double(largest)
        }
      }
    }
    var copy = self
    copy.offset = Float(sum / Double(max(weight.rows * groups, 1)))
    return copy
  }

  public func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> LookupParameters {
    var fitted = LookupParameters(rows: columns.columns)
    for (i, size) in columns.largestMagnitudes().enumerated() {
      fitted.scale[i] = size * shrink
      fitted.inverse[i] = 1 / max(size * shrink, 1e-38)
    }
    return fitted
  }

  /// Of doubly quantized types the points are those before the magnitudes are quantized, which decoding misses by the
  /// half per cent that costs: magnitudes are known only when all rows are.
  public func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: LookupParameters,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>
  ) {
    book.round(
      column, count: count, under: parameters, codes: codes, points: points)
  }

  public func pack(
    _ codes: [UInt8], parameters: [LookupParameters], groupOfColumn: [Int]?, rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    guard groupOfColumn == nil else {
      throw Problem(.usage, "blocks of \(label) cannot be scattered", cure: "set static groups")
    }
    var sizes: [Float] = []
    for r in 0..<rows { for group in parameters { sizes.append(group.scale[r]) } }
    var parts = ["codes": packCodes(codes, bits: 4, rows: rows, columns: columns)]
    if isDouble {
      let mean = sizes.reduce(0.0) { $0 + Double($1) } / Double(max(sizes.count, 1))
      let offset = offset ?? Float(mean)
      let (codes, factors) = Self.quantize(sizes.map { $0 - offset })
      parts["scales"] = Bytes(codes)
      parts["factors"] = Bytes(elements: factors)
      parts["offset"] = Bytes(elements: [offset])
    } else {
      parts["scales"] = Bytes(elements: sizes)
    }
    return try EncodedMatrix(
      encoding: NormalFloatGrid(kind, isDouble: isDouble), rows: rows, columns: columns, parts: parts)
  }

  /// Entries of the dynamic map nearest to numbers divided by the largest magnitude of their run of 256.
  private static func quantize(_ numbers: [Float]) -> (codes: [UInt8], factors: [Float]) {
    let map = dynamicMap.array
    let bounds = (0..<255).map { (map[$0] + map[$0 + 1]) / 2 }
    var codes: [UInt8] = [], factors: [Float] = []
    for start in stride(from: 0, to: numbers.count, by: span) {
      let run = numbers[start..<min(start + span, numbers.count)]
      let factor = run.reduce(Float(0)) { max($0, abs($1)) }
      factors.append(factor)
      for number in run {
        let scaled = number * (1 / max(factor, 1e-38))
        // The first bound that is not below.
        var (low, high) = (0, 255)
        while low < high {
          let middle = (low + high) / 2
          if bounds[middle] < scaled { low = middle + 1 } else { high = middle }
        }
        codes.append(UInt8(low))
      }
    }
    return (codes, factors)
  }

  // MARK: Tables

  private static let normal = Codebook([
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
  ])

  private static let small: Codebook = {
    let sizes: [Float] = [0, 0.0625 / 12, 8.0 / 12, 1, 4.0 / 12, 6.0 / 12, 2.0 / 12, 3.0 / 12]
    return Codebook(sizes + sizes.map { -$0 })
  }()

  private var book: Codebook { kind == .nf4 ? Self.normal : Self.small }

  private static let tables = [normal, small].map { book in FloatBuffer(copying: book.table) }

  /// 255 signed numbers whose fractions get finer towards one while exponents fall to 10⁻⁶, and nought.
  private static let dynamicMap: FloatBuffer = {
    var values: [Float] = [0, 1]
    for exponent in 0..<7 {
      let count = 1 << exponent, power = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1][exponent] as Float
      func boundary(_ i: Int) -> Float { Float(0.1 + 0.9 * Double(i) / Double(count)) }
      for i in 0..<count {
        let middle = (boundary(i) + boundary(i + 1)) / 2
        values += [power * middle, -power * middle]
      }
    }
    return FloatBuffer(copying: values.sorted())
  }()
}
