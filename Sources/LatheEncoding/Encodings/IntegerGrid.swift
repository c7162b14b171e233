public import LatheTensor

/// Evenly spaced levels of 1 to 8 bits with a scale, and perhaps a zero point, for each group of a row.
///
/// Stored: codes densely packed along a row, least significant bit first, each row starting on a byte; a binary16
/// scale a group; if asymmetric, a zero point of as many bits as a code, packed alike; under act-order without
/// static groups the group of each column. Value = scale · (code - zero).
/// Free zero points are binary16 numbers, one a group, in place of codes.
/// A centred grid's points lie evenly around zero and leave zero itself out, for very few bits.
public struct IntegerGrid: AffineGrid {
  public static let name = "integer"
  /// The width of a code, 1 to 8.
  public let bits: Int
  /// Neighbours that share a scale; nil for a whole row.
  public let groupSize: Int?
  /// Whether all groups have the same zero point, the middle of the range.
  public let isSymmetric: Bool
  /// Whether the points lie evenly around zero, none of them zero: the zero point is (2^bits - 1) / 2.
  public let isCentred: Bool
  /// Whether zero points are any numbers, not codes.
  public private(set) var hasFreeZeros = false
  /// Whether each column names its group.
  public var hasGroupIndex = false

  private enum CodingKeys: String, CodingKey {
    case bits
    case groupSize = "group_size"
    case isSymmetric = "symmetric"
    case isCentred = "centred"
    case hasGroupIndex = "group_index"
    case zeros
  }

  /// A grid of `bits` bits; a centred one is symmetric.
  ///
  /// - Throws: `Problem` of kind `usage` where a setting is out of range.
  public init(bits: Int, groupSize: Int?, isSymmetric: Bool = false, isCentred: Bool = false) throws(Problem)
  {
    guard (1...8).contains(bits) else {
      throw Problem(.usage, "\(bits) bits are out of range", cure: "choose 1 to 8")
    }
    guard (1...1 << 30).contains(groupSize ?? 8) else {
      throw Problem(
        .usage, "a group size of \(groupSize ?? 0) is out of range",
        cure: "choose 0 for whole rows, or 32, 64, 128, 256")
    }
    (self.bits, self.groupSize) = (bits, groupSize)
    (self.isSymmetric, self.isCentred) = (isSymmetric || isCentred, isCentred)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      bits: container.decode(Int.self, forKey: .bits),
      groupSize: container.decodeIfPresent(Int.self, forKey: .groupSize),
      isSymmetric: container.decodeIfPresent(Bool.self, forKey: .isSymmetric) ?? false,
      isCentred: container.decodeIfPresent(Bool.self, forKey: .isCentred) ?? false)
    hasGroupIndex = try container.decodeIfPresent(Bool.self, forKey: .hasGroupIndex) ?? false
    let zeros = try container.decodeIfPresent(String.self, forKey: .zeros) ?? "integer"
    guard zeros == "integer" || zeros == "float" && !isSymmetric else {
      throw Problem(.badData, "zero points cannot be \"\(zeros.prefix(40))\"", cure: "say integer, or float")
    }
    hasFreeZeros = zeros == "float"
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(bits, forKey: .bits)
    try container.encodeIfPresent(groupSize, forKey: .groupSize)
    try container.encode(isSymmetric, forKey: .isSymmetric)
    try container.encode(hasGroupIndex, forKey: .hasGroupIndex)
    // Left out where false: descriptions of other grids stay as they have always been.
    if isCentred { try container.encode(true, forKey: .isCentred) }
    if hasFreeZeros { try container.encode("float", forKey: .zeros) }
  }

  public static func grid(for request: GridRequest) throws(Problem) -> IntegerGrid? {
    guard !request.isForGGUF, let bits = Int(exactly: request.bits) else { return nil }
    return try IntegerGrid(
      bits: bits, groupSize: request.groupSize, isSymmetric: request.isSymmetric, isCentred: request.isCentred
    )
  }

  public var label: String {
    "int\(bits)" + (isCentred ? "c" : isSymmetric ? "s" : hasFreeZeros ? "f" : "")
      + (groupSize.map { " g\($0)" } ?? " row")
  }

  public var nominalBits: Double { Double(bits) }
  public var allowsScatteredGroups: Bool { true }
  public var scattered: IntegerGrid {
    var grid = self
    grid.hasGroupIndex = true
    return grid
  }

  public var freeingZeros: IntegerGrid {
    guard var grid = try? IntegerGrid(bits: bits, groupSize: groupSize) else { return self }
    (grid.hasFreeZeros, grid.hasGroupIndex) = (true, hasGroupIndex)
    return grid
  }

  public var top: Int { (1 << bits) - 1 }
  /// The zero point of a symmetric grid; at one bit the two points lie on either side of zero.
  private var middle: Float { isCentred || bits == 1 ? Float(top) / 2 : Float(1 << (bits - 1)) }

  // MARK: What is stored

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    let groups = groupCount(columns)
    var parts = [
      PartLayout("codes", "U8", [rows, (columns * bits + 7) / 8]),
      PartLayout("scales", "F16", [rows, groups]),
    ]
    if hasFreeZeros {
      parts.append(PartLayout("zeros", "F16", [rows, groups]))
    } else if !isSymmetric {
      parts.append(PartLayout("zeros", "U8", [rows, (groups * bits + 7) / 8]))
    }
    if hasGroupIndex { parts.append(PartLayout("groups", "U16", [columns], isShared: true)) }
    return parts
  }

  public func validate(_ matrix: EncodedMatrix) throws(Problem) {
    guard let index = matrix[part: "groups"] else { return }
    let groups = groupCount(matrix.columns)
    guard index.elements(as: UInt16.self).allSatisfy({ $0 < groups }) else {
      throw Problem(.badData, "a column names a group beyond the \(groups) there are")
    }
  }

  // MARK: Executed

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    withExtendedLifetime(matrix) {
      kernels.decode(integerRows(of: matrix, from: rows.lowerBound), count: rows.count, into: out)
    }
  }

  public func multiply(
    _ matrix: EncodedMatrix, rows: Range<Int>, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>,
    with kernels: Kernels
  ) {
    withExtendedLifetime(matrix) {
      kernels.multiply(integerRows(of: matrix, from: rows.lowerBound), count: rows.count, by: x, into: out)
    }
  }

  /// Columns that name their groups are put in the groups' order.
  public func tiling(of matrix: EncodedMatrix) -> Tiling? {
    let group = groupSize ?? matrix.columns
    var tiling = Tiling(
      bits: bits, group: group,
      offsets: hasFreeZeros ? .halfZeros : isSymmetric ? .constant(middle) : .zeros)
    tiling.isTotal = true
    if let index = matrix[part: "groups"]?.elements(as: UInt16.self) {
      // Stable, so that equal indices of several weights give equal orders.
      let order = index.indices.sorted { (index[$0], $0) < (index[$1], $1) }
      guard order.indices.allSatisfy({ Int(index[order[$0]]) == $0 / group }) else { return nil }
      tiling.order = order.map { Int32($0) }
    }
    return tiling
  }

  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    let width = (matrix.columns * bits + 7) / 8
    withExtendedLifetime(matrix) {
      kernels.unpack(
        matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self) + row * width, width: bits,
        into: codes.codes, matrix.columns)
    }
    readParameters(of: matrix, row: row, into: codes, with: kernels)
    return true
  }

  public func byteCodes(of matrix: EncodedMatrix) -> UnsafePointer<UInt8>? {
    bits == 8 ? UnsafePointer(matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self)) : nil
  }

  public func readParameters(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) {
    let groups = groupCount(matrix.columns)
    withExtendedLifetime(matrix) {
      func part<T>(_ index: Int, _ type: T.Type, _ stride: Int) -> UnsafePointer<T> {
        matrix.parts[index].baseAddress.assumingMemoryBound(to: type) + row * stride
      }
      codes.scales.update(from: part(1, UInt16.self, groups), count: groups)
      codes.halfZeros?.update(from: part(2, UInt16.self, groups), count: groups)
      if let zeros = codes.zeros {
        kernels.unpack(
          part(2, UInt8.self, (groups * bits + 7) / 8), width: bits, into: zeros, groups)
      }
    }
  }

  private func integerRows(of matrix: EncodedMatrix, from row: Int) -> IntegerRows {
    let groups = groupCount(matrix.columns)
    let codeStride = (matrix.columns * bits + 7) / 8, zeroStride = (groups * bits + 7) / 8
    let index = hasGroupIndex ? matrix.parts.last?.baseAddress.assumingMemoryBound(to: UInt16.self) : nil
    return IntegerRows(
      codes: matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self) + row * codeStride,
      codeStride: codeStride,
      scales: matrix.parts[1].baseAddress.assumingMemoryBound(to: UInt16.self) + row * groups,
      scaleStride: groups,
      zeros: isSymmetric || hasFreeZeros
        ? nil : matrix.parts[2].baseAddress.assumingMemoryBound(to: UInt8.self) + row * zeroStride,
      zeroStride: zeroStride,
      halfZeros: hasFreeZeros
        ? matrix.parts[2].baseAddress.assumingMemoryBound(to: UInt16.self) + row * groups : nil,
      groupOfColumn: index, zero: middle, bits: bits,
      group: groupSize ?? matrix.columns,
      columns: matrix.columns)
  }

  // MARK: Searched

  /// The spacing of 2^b evenly spaced points around zero that errs least on a Gaussian of variance 1, for b = 1 … 8
  /// (Max, "Quantizing for minimum distortion", 1960).
  private static let gaussianSpacing: [Float] = [
    1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308,
  ]

  /// A group with heavier tails than a Gaussian may want a wider centred grid than the Gaussian's.
  public var widestShrink: Float { isCentred ? 1.35 : 1 }

  /// Asymmetric: the range, widened to hold zero, is spread over all codes. Symmetric: the largest magnitude reaches
  /// half a step beyond the outermost code (GPTQ's convention). One symmetric bit: ± the mean magnitude. Centred: the
  /// spacing that is best for a Gaussian of the group's root mean square.
  public func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> AffineParameters {
    let n = columns.columns
    var fitted = AffineParameters(
      scale: [Float](repeating: 1, count: n), zero: [Float](repeating: middle, count: n))
    if bits == 1 && isSymmetric && !isCentred {
      let means = columns.meanMagnitudes()
      for i in 0..<n { fitted.scale[i] = storableScale(2 * shrink * means[i]) }
      return fitted
    }
    if isCentred {
      let sizes = columns.rootMeanSquares(importance: importance)
      for i in 0..<n where sizes[i] > 0 {
        fitted.scale[i] = storableScale(Self.gaussianSpacing[bits - 1] * shrink * sizes[i])
      }
      return fitted
    }
    let (lowest, highest) = columns.extremes()
    for i in 0..<n {
      var low = min(lowest[i], 0) * shrink, high = max(highest[i], 0) * shrink
      if isSymmetric {
        high = max(-low, high)
        low = -high
      }
      if low == high { (low, high) = (-1, 1) }
      fitted.scale[i] = storableScale((high - low) / Float(top))
      if hasFreeZeros {
        fitted.zero[i] = storableZero(-low / fitted.scale[i])
      } else if !isSymmetric {
        fitted.zero[i] = min(max((-low / fitted.scale[i]).rounded(), 0), Float(top))
      }
    }
    return fitted
  }

  public func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: AffineParameters,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>
  ) {
    Kernels.best.roundColumn(
      column, scale: parameters.scale, zero: parameters.zero, top: top, codes: codes, points: points, count)
  }

  public func pack(
    _ codes: [UInt8], parameters: [AffineParameters], groupOfColumn: [Int]?, rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    let stored = groupOfColumn == nil ? self : scattered
    var parts = [
      "codes": packCodes(codes, bits: bits, rows: rows, columns: columns),
      "scales": packScales(parameters.map(\.scale), rows: rows),
    ]
    if hasFreeZeros {
      parts["zeros"] = packScales(parameters.map(\.zero), rows: rows)
    } else if !isSymmetric {
      let zeros = parameters.flatMap { $0.zero.map { UInt8($0) } }
      parts["zeros"] = packCodes(zeros, bits: bits, rows: rows, columns: parameters.count)
    }
    if let groupOfColumn {
      guard parameters.count <= 1 << 16 else { throw Problem(.usage, "more than 65,536 groups in a row") }
      parts["groups"] = Bytes(elements: groupOfColumn.map { UInt16($0) })
    }
    return try EncodedMatrix(encoding: stored, rows: rows, columns: columns, parts: parts)
  }
}

extension Matrix {
  /// The root of the mean square of each row's group, from a matrix with one column of the weight in each row.
  package func rootMeanSquares(importance: [Float]?) -> [Float] {
    var sums = [Float](repeating: 0, count: columns)
    var total: Float = 0
    for i in 0..<rows {
      let weight = importance?[i] ?? 1
      total += weight
      for j in 0..<columns { sums[j] += weight * values[i * columns + j] * values[i * columns + j] }
    }
    return sums.map { total > 0 ? ($0 / total).squareRoot() : 0 }
  }

  /// The mean magnitude of each row's group, from a matrix with one column of the weight in each row.
  package func meanMagnitudes() -> [Float] {
    var sums = [Float](repeating: 0, count: columns)
    for i in 0..<rows { for j in 0..<columns { sums[j] += abs(values[i * columns + j]) } }
    return sums.map { $0 / Float(max(rows, 1)) }
  }
}
