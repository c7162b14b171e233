public import LatheTensor

/// What is stored for a weight matrix, and how to compute with it.
///
/// An encoding says nothing of how its codes were chosen: that is a quantization method.
/// One conforming type per file in `Encodings/`.
public protocol Encoding: Codable, Hashable, Sendable {
  /// The name in descriptions and catalogs.
  static var name: String { get }
  /// A few characters for tables: "int4 g128", "Q4_0".
  var label: String { get }
  /// The bits of a code alone, as papers count them.
  var nominalBits: Double { get }

  /// The layout of rows that file formats know, where the only part is such rows; nil for parts of our own.
  var storedLayout: StoredLayout? { get }

  /// The parts a matrix of this shape is stored in, every byte of it.
  ///
  /// - Throws: `Problem` where the encoding cannot hold such a shape.
  func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout]

  /// Decodes `rows` of the matrix into `out`, row after row.
  func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels)

  /// The product of `rows` of the matrix and one vector, from the packed bytes.
  ///
  /// The default decodes a row at a time; an encoding with a kernel of its own overrides it.
  func multiply(
    _ matrix: EncodedMatrix, rows: Range<Int>, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>,
    with kernels: Kernels)

  /// What the codes of a matrix are, for products with inputs rounded to bytes; nil where there are none.
  func tiling(of matrix: EncodedMatrix) -> Tiling?

  /// Writes the codes and parameters of row number `row`.
  ///
  /// Called where `tiling` is not nil.
  /// - Returns: false where a parameter has no place in the tiling.
  func readCodes(of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels) -> Bool

  /// Where the codes of all rows lie as `readCodes` gives them, row after row; nil where they lie otherwise.
  func byteCodes(of matrix: EncodedMatrix) -> UnsafePointer<UInt8>?

  /// Writes the parameters of row number `row` alone; called where `byteCodes` is not nil.
  func readParameters(of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels)

  /// Throws where the parts' content, not only their size, could lead a kernel astray.
  func validate(_ matrix: EncodedMatrix) throws(Problem)
}

extension Encoding {
  public func multiply(
    _ matrix: EncodedMatrix, rows: Range<Int>, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>,
    with kernels: Kernels
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: matrix.columns) { row in
      guard let base = row.baseAddress else { return }
      for (i, r) in rows.enumerated() {
        decode(matrix, rows: r..<r + 1, into: base, with: kernels)
        out[i] = kernels.dot(base, x, matrix.columns)
      }
    }
  }

  public var storedLayout: StoredLayout? { nil }

  public func tiling(of matrix: EncodedMatrix) -> Tiling? { storedLayout.flatMap { Tiling($0) } }

  public func readCodes(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) -> Bool {
    guard let storedLayout else { return false }
    let width = matrix.parts[0].count / matrix.rows
    return withExtendedLifetime(matrix) {
      codes.read(
        matrix.parts[0].baseAddress.assumingMemoryBound(to: UInt8.self) + row * width, storedLayout,
        matrix.columns)
    }
  }

  public func byteCodes(of matrix: EncodedMatrix) -> UnsafePointer<UInt8>? { nil }
  public func readParameters(
    of matrix: EncodedMatrix, row: Int, into codes: CodeRow, with kernels: Kernels
  ) {
    preconditionFailure("an encoding whose codes lie as bytes reads their parameters")
  }

  public func validate(_ matrix: EncodedMatrix) throws(Problem) {}

  /// The description a file keeps: the encoding's name and its settings.
  public var description: EncodingDescription { EncodingDescription(self) }
}

/// One run of bytes of an encoded matrix: its name, element type and shape.
///
/// The first extent of the shape is the matrix's rows, so that rows can be chosen without knowing the encoding;
/// a part that all rows share is marked.
public struct PartLayout: Hashable, Sendable {
  /// The name, "" for an encoding's only part.
  public let name: String
  /// The element type, by its safetensors name.
  public let type: String
  /// The extents, outermost first.
  public let shape: [Int]
  /// Whether the part belongs to all rows together.
  public let isShared: Bool
  /// Whether entries belong to runs that reach over rows: rows of such a matrix cannot be chosen.
  public let spansRows: Bool

  /// Describes a part.
  public init(
    _ name: String, _ type: String, _ shape: [Int], isShared: Bool = false, spansRows: Bool = false
  ) {
    (self.name, self.type, self.shape) = (name, type, shape)
    (self.isShared, self.spansRows) = (isShared, spansRows)
  }

  /// The size in bytes.
  public var byteCount: Int { shape.reduce(Self.width(of: type)) { $0 * $1 } }

  private static func width(of type: String) -> Int {
    switch type {
    case "F64", "I64", "U64": 8
    case "F32", "I32", "U32": 4
    case "F16", "BF16", "I16", "U16": 2
    default: 1
    }
  }
}

/// An encoding by name and settings: what a file's description holds.
public struct EncodingDescription: Codable, Hashable, Sendable {
  /// The encoding itself.
  public let encoding: any Encoding

  /// Describes `encoding`.
  public init(_ encoding: any Encoding) { self.encoding = encoding }

  private enum Key: String, CodingKey { case encoding }

  public init(from decoder: any Decoder) throws {
    let name = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .encoding)
    guard let type = EncodingCatalog[name] else {
      throw Problem(
        .badData, "unknown encoding \"\(name)\"",
        cure: "known are \(EncodingCatalog.names.joined(separator: ", "))")
    }
    encoding = try type.init(from: decoder)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(type(of: encoding).name, forKey: .encoding)
    try encoding.encode(to: encoder)
  }

  public static func == (a: Self, b: Self) -> Bool { AnyHashable(a.encoding) == AnyHashable(b.encoding) }

  public func hash(into hasher: inout Hasher) { hasher.combine(AnyHashable(encoding)) }
}

/// Every encoding. A new one is one file and one line here.
public enum EncodingCatalog {
  /// The encodings' types.
  public static let all: [any Encoding.Type] = [
    StoredBlocks.self, IntegerGrid.self, TernaryGrid.self, BlockGrid.self, NormalFloatGrid.self,
    NVFP4Grid.self, PartlyBinary.self, BinaryPlanes.self,
  ]

  /// The encodings' names.
  public static var names: [String] { all.map { $0.name } }

  /// The encoding called `name`.
  public static subscript(name: String) -> (any Encoding.Type)? { all.first { $0.name == name } }
}
