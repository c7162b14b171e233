import Foundation
import LatheFormats
import LatheTensor
import Testing

/// A folder that goes away with its owner.
final class Scratch {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "lathe-formats-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }

  func write(_ bytes: [UInt8], to name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }
}

/// A valid small file of each format, to be read, damaged and read again.
struct Sample: CustomTestStringConvertible, Sendable {
  let format: any CheckpointFormat.Type
  let fileName: String
  let bytes: [UInt8]

  var testDescription: String { format.name }

  /// One for each format of the catalog.
  static let all: [Sample] = FormatCatalog.all.compactMap { try? make($0) }

  private static func make(_ format: any CheckpointFormat.Type) throws -> Sample {
    let scratch = try Scratch()
    guard let writable = format as? any WritableFormat.Type else {
      return Sample(format: format, fileName: "sample.bin", bytes: LlamaBytes.legacy(tied: true))
    }
    let isText = format.name == "safetensors"
    let fileName = "sample." + format.name.lowercased()
    try writable.write(
      tensors(for: format).map { TensorSource($0) }, metadata: isText ? texts : values,
      to: scratch.file(fileName))
    return Sample(
      format: format, fileName: fileName,
      bytes: [UInt8](try Data(contentsOf: URL(fileURLWithPath: scratch.file(fileName)))))
  }

  /// One tensor of each type the format has.
  static func tensors(for format: any CheckpointFormat.Type) throws -> [StoredTensor] {
    let types = StorageType.all.filter {
      format.name == "GGUF" ? $0.ggufID != nil : $0.safetensorsName != nil
    }
    return try types.enumerated().map { i, type in
      let shape = [2, type.elementsPerBlock * 4]
      let count = type.byteCount(ofShape: shape) ?? 0
      return try StoredTensor(
        name: "blk.\(i).\(type).weight", type: type, shape: shape,
        data: Bytes((0..<count).map { UInt8(truncatingIfNeeded: 7 * $0 + i) }))
    }
  }

  static let texts: [(key: String, value: MetadataValue)] = [
    ("format", .string("pt")), ("note", .string("quote \" and \\ and \u{1} and é and 🦙")),
  ]

  static let values: [(key: String, value: MetadataValue)] = [
    ("general.architecture", .string("llama")), ("a.u8", .uint8(255)), ("a.i8", .int8(-128)),
    ("a.u16", .uint16(65535)), ("a.i16", .int16(-3)), ("a.u32", .uint32(.max)), ("a.i32", .int32(.min)),
    ("a.f32", .float32(1.5)), ("a.bool", .bool(true)), ("a.u64", .uint64(.max)), ("a.i64", .int64(.min)),
    ("a.f64", .float64(.pi)), ("z.tokens", .array(MetadataArray(["<s>", "", "▁a", "🦙"]))),
    ("z.scores", .array(MetadataArray([0, -1.5, 2] as [Float]))),
    ("z.types", .array(MetadataArray([3, 6, 1] as [Int32]))),
    ("z.empty", .array(MetadataArray([String]()))),
  ]
}

/// llama2.c files made by hand: width 8, hidden 12, 2 layers, 2 heads, 1 key-value head, 10 tokens, context 6.
enum LlamaBytes {
  static let fields: [Int32] = [8, 12, 2, 2, 1, 10, 6]
  /// Elements of each tensor in the legacy order, without the head.
  static let sizes = [80, 16, 128, 64, 64, 128, 16, 192, 192, 192, 8, 12, 12]

  static func legacy(tied: Bool) -> [UInt8] {
    var header = fields
    if !tied { header[5] = -10 }
    return header.flatMap { $0.bytes } + numbers(sizes.reduce(0, +) + (tied ? 0 : 80))
  }

  static func versioned(tied: Bool) -> [UInt8] {
    var header = UInt32(0x616b_3432).bytes + Int32(1).bytes + fields.flatMap { $0.bytes } + [tied ? 1 : 0]
    header += [UInt8](repeating: 0, count: 256 - header.count)
    return header + numbers(sizes.dropLast(2).reduce(0, +) + (tied ? 0 : 80))
  }

  /// Element k of the data is the number k.
  private static func numbers(_ count: Int) -> [UInt8] { (0..<count).flatMap { Float($0).bitPattern.bytes } }
}

extension FixedWidthInteger {
  /// The number's bytes, little-endian.
  var bytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}

extension String {
  /// The string as GGUF has it.
  var gguf: [UInt8] { UInt64(utf8.count).bytes + Array(utf8) }

  /// The string as the header of a safetensors file, with `data` zero bytes.
  func safetensors(data: Int = 0) -> [UInt8] {
    UInt64(utf8.count).bytes + Array(utf8) + [UInt8](repeating: 0, count: data)
  }
}
