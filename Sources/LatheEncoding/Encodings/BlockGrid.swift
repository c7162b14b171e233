public import LatheTensor

/// The GGUF blocks that a method can write.
///
/// Of 32 weights: Q4_0, Q5_0 and Q8_0 (a scale), Q4_1 and Q5_1 (a scale and a minimum), IQ4_NL (a scale of a
/// table), MXFP4 (a power of two).
/// Of 256, in parts of 16 or 32 with scales of their own in 4 to 8 bits: Q2_K, Q4_K and Q5_K (scales and minimums),
/// Q3_K and Q6_K (scales), IQ4_XS (scales of the table).
///
/// Scales are searched and codes rounded as llama.cpp does (`ggml-quants.c`), with and without importances, so that
/// rounding to nearest gives its bytes. A method that goes column by column searches the scales of a group on the
/// group's columns, and rounds under them.
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
    /// 2 bits, a scale and a minimum for each 16 weights.
    case q2_k = "Q2_K"
    /// 3 bits, a scale for each 16 weights.
    case q3_k = "Q3_K"
    /// 4 bits, a scale and a minimum for each 32 weights.
    case q4_k = "Q4_K"
    /// 5 bits, a scale and a minimum for each 32 weights.
    case q5_k = "Q5_K"
    /// 6 bits, a scale for each 16 weights.
    case q6_k = "Q6_K"
    /// 4 bits that name an entry of a table, and a scale.
    case iq4_nl = "IQ4_NL"
    /// 4 bits that name an entry of a table, and a scale for each 32 weights.
    case iq4_xs = "IQ4_XS"
    /// Floats of 4 bits, and a power of two as scale (OCP Microscaling Formats 1.0).
    case mxfp4 = "MXFP4"

    var bits: Int {
      switch self {
      case .q2_k: 2
      case .q3_k: 3
      case .q4_0, .q4_1, .q4_k, .iq4_nl, .iq4_xs, .mxfp4: 4
      case .q5_0, .q5_1, .q5_k: 5
      case .q6_k: 6
      case .q8_0: 8
      }
    }

    /// Whether importances enter the search for scales by the variance of the block alone, not of the whole row.
    var isWeighedByBlock: Bool {
      switch self {
      case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .mxfp4: false
      case .q2_k, .q3_k, .q4_k, .q5_k, .q6_k, .iq4_nl, .iq4_xs: true
      }
    }

    /// The type that takes its place where a width is no whole number of blocks, as `llama-quantize` chooses it.
    var fallback: Kind? {
      switch self {
      case .q2_k, .q3_k: .q4_0
      case .q4_k: .q5_0
      case .q5_k: .q5_1
      case .q6_k: .q8_0
      case .iq4_xs: .iq4_nl
      case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_nl, .mxfp4: nil
      }
    }
  }

  /// The block type.
  public let kind: Kind

  /// Blocks of the given type.
  public init(_ kind: Kind) { self.kind = kind }

  public static var families: [String] { Kind.allCases.map { $0.rawValue.lowercased() } }

  public static func grid(for request: GridRequest) throws(Problem) -> BlockGrid? {
    if let family = request.family {
      return Kind.allCases.first { $0.rawValue.lowercased() == family }.map { BlockGrid($0) }
    }
    guard request.isForGGUF, let bits = Int(exactly: request.bits) else { return nil }
    switch bits {
    case 2: return BlockGrid(.q2_k)
    case 3: return BlockGrid(.q3_k)
    case 4: return BlockGrid(request.isSymmetric ? .q4_0 : .q4_1)
    case 5: return BlockGrid(request.isSymmetric ? .q5_0 : .q5_1)
    case 6: return BlockGrid(.q6_k)
    case 8: return BlockGrid(.q8_0)
    default: return nil
    }
  }

  public var label: String { kind.rawValue }

  public var nominalBits: Double { Double(kind.bits) }
  public var groupSize: Int? { layout.elementsPerBlock }

  public var storedLayout: StoredLayout? { layout }

  private var stored: StoredBlocks { StoredBlocks(named: kind.rawValue) ?? .float32 }
  private var layout: StoredLayout { stored.layout }

  /// The grid of this kind, or the nearest to it, whose blocks fill rows of `columns`.
  public func fitting(columns: Int) -> (any Grid)? {
    if columns % layout.elementsPerBlock == 0 { return self }
    return kind.fallback.flatMap { BlockGrid($0).fitting(columns: columns) }
  }

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

  /// The scales and minimums of a group's blocks, as stored and as rounding uses them.
  public struct Parameters: GroupParameters {
    var blocks: StoredBlockParameters

    public mutating func adopt(_ other: Parameters, where better: [Bool]) {
      blocks.adopt(other.blocks, where: better)
    }
  }

  public func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> Parameters {
    let width = layout.elementsPerBlock
    // A group's columns do not tell the variance of the whole row: such types keep to the range here.
    var block = columns, weights = kind.isWeighedByBlock ? importance : nil
    if shrink != 1 { block.clamp(to: shrink) }
    if columns.rows != width {
      // No row of such a width can be packed: `parts` says so. Until then zeros fill the block.
      let values = block.values.prefix(width * columns.columns)
      let missing = width * columns.columns - values.count
      block = Matrix(
        rows: width, columns: columns.columns, values: values + [Float](repeating: 0, count: missing))
      weights = weights.map { Array(($0 + [Float](repeating: 0, count: width)).prefix(width)) }
    }
    return Parameters(blocks: Kernels.best.fitBlocks(block, importance: weights, as: layout))
  }

  public func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: Parameters,
    codes: UnsafeMutablePointer<UInt8>,
    points: UnsafeMutablePointer<Float>
  ) {
    Kernels.best.roundBlocks(
      column, at: place, under: parameters.blocks, as: layout, codes: codes, points: points)
  }

  public func pack(
    _ codes: [UInt8], parameters: [Parameters], groupOfColumn: [Int]?, rows: Int, columns: Int
  ) throws(Problem) -> EncodedMatrix {
    guard groupOfColumn == nil else {
      throw Problem(.usage, "blocks of \(kind.rawValue) cannot be scattered", cure: "set static groups")
    }
    let part = try parts(rows: rows, columns: columns)[0]
    let blocks = Bytes(count: part.byteCount) { target in
      codes.withUnsafeBufferPointer { codes in
        guard let codes = codes.baseAddress,
          let out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return }
        for (g, group) in parameters.enumerated() {
          Kernels.best.packBlocks(
            codes + g * layout.elementsPerBlock * rows, under: group.blocks, as: layout,
            into: out + g * layout.bytesPerBlock, stride: part.shape[1])
        }
      }
    }
    return try EncodedMatrix(encoding: self, rows: rows, columns: columns, parts: [part.name: blocks])
  }

  public func nearest(to weight: Matrix, importance: [Float]?) throws(Problem) -> EncodedMatrix? {
    let part = try parts(rows: weight.rows, columns: weight.columns)[0]
    let blocks = Bytes(count: part.byteCount) { target in
      weight.values.withUnsafeBufferPointer { values in
        guard let values = values.baseAddress,
          let out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return }
        _ = Kernels.best.encode(
          values, count: weight.rows, weight.columns, importance: importance, as: layout, into: out)
      }
    }
    return try EncodedMatrix(
      encoding: self, rows: weight.rows, columns: weight.columns, parts: [part.name: blocks])
  }
}

extension Matrix {
  /// Clamps each row's group, given with one column of the weight in each row, to `shrink` of its range.
  package mutating func clamp(to shrink: Float) {
    let (lowest, highest) = extremes()
    for i in 0..<rows {
      for j in 0..<columns {
        values[i * columns + j] = min(max(values[i * columns + j], lowest[j] * shrink), highest[j] * shrink)
      }
    }
  }
}
