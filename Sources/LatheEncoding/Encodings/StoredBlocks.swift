public import LatheTensor

/// Floats, or blocks of a file format, as they lie in the file: read and executed, not written by methods.
public struct StoredBlocks: Encoding {
  public static let name = "stored"
  /// How the elements lie.
  public let layout: StoredLayout

  /// Rows laid out as `layout`.
  public init(_ layout: StoredLayout) { self.layout = layout }

  /// The encoding for the layout called `name`, if there are kernels for it.
  public init?(named name: String) {
    guard let layout = StoredLayout.named(name) else { return nil }
    self.layout = layout
  }

  /// Plain single precision.
  public static let float32 = StoredBlocks(StoredLayout.all[0])

  private enum Key: String, CodingKey { case layout }

  public init(from decoder: any Decoder) throws {
    let name = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .layout)
    guard let layout = StoredLayout.named(name) else {
      throw Problem(.badData, "unknown layout \"\(name)\"")
    }
    self.layout = layout
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(layout.name, forKey: .layout)
  }

  public var label: String { layout.name }

  public var storedLayout: StoredLayout? { layout }

  public var nominalBits: Double {
    (Double(layout.bytesPerBlock) * 8 / Double(layout.elementsPerBlock)).rounded(.down)
  }

  /// Whether every element is a number of its own.
  public var isDense: Bool { layout.elementsPerBlock == 1 }

  public func parts(rows: Int, columns: Int) throws(Problem) -> [PartLayout] {
    guard let width = layout.bytes(perRow: columns) else {
      throw Problem(
        .badData,
        "\(columns) columns are not a whole number of \(layout.name) blocks of \(layout.elementsPerBlock)")
    }
    return [
      isDense ? PartLayout("", layout.name, [rows, columns]) : PartLayout("blocks", "U8", [rows, width])
    ]
  }

  public func decode(
    _ matrix: EncodedMatrix, rows: Range<Int>, into out: UnsafeMutablePointer<Float>, with kernels: Kernels
  ) {
    matrix.parts[0].withUnsafeBytes { raw in
      guard let base = raw.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
      // Blocks never straddle rows, so a run of rows is one long row.
      let width = raw.count / matrix.rows
      kernels.decode(layout, base + rows.lowerBound * width, into: out, rows.count * matrix.columns)
    }
  }

  public func multiply(
    _ matrix: EncodedMatrix, rows: Range<Int>, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>,
    with kernels: Kernels
  ) {
    matrix.parts[0].withUnsafeBytes { raw in
      guard let base = raw.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
      let width = raw.count / matrix.rows
      kernels.multiply(
        layout, base + rows.lowerBound * width, stride: width, rows: rows.count, by: x, into: out,
        matrix.columns)
    }
  }
}
