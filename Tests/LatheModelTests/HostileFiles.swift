import Foundation
import LatheEncoding
import LatheFormats
import LatheModel
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// A whole small model of one dialect, in files, to be damaged.
struct HostileSample: Sendable, CustomTestStringConvertible {
  let testDescription: String
  /// The file to open, relative to the folder; empty for the folder itself.
  let opens: String
  /// The files, by name.
  let files: [String: [UInt8]]

  static let all: [HostileSample] = {
    let makers = [
      { try huggingFace("gqa") }, { try huggingFace("openelm") }, native, { try gguf("rope-llama3") },
      { try gguf("openelm") }, { try gguf("phi3-long") }, llama2C,
    ]
    return makers.compactMap { try? $0() }
  }()

  private static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private static var tokenizer: String { TestData.packageFolder + "/Models/novella-6m/tokenizer.model" }

  private static func huggingFace(_ name: String) throws -> HostileSample {
    let folder = TestData.fixture("model/\(name)/")
    return HostileSample(
      testDescription: "Hugging Face, \(name)", opens: "",
      files: [
        "config.json": try bytes(folder + "config.json"),
        "model.safetensors": try bytes(folder + "model.safetensors"),
        "tokenizer.model": try bytes(tokenizer),
        "tokenizer_config.json": Array(#"{"add_bos_token": true}"#.utf8),
      ])
  }

  /// Every weight of a block in another encoding, with bytes of its size.
  private static func native() throws -> HostileSample {
    let model = try Model(reading: TestData.fixture("model/gqa"))
    let names = model.architecture.nativeTensorNames
    var grid = try IntegerGrid(bits: 3, groupSize: 32)
    grid.hasGroupIndex = true
    let encodings: [Role: any Encoding] = [
      .query: try IntegerGrid(bits: 4, groupSize: 32),
      .key: try IntegerGrid(bits: 1, groupSize: nil, isSymmetric: true),
      .value: grid, .output: try TernaryGrid(groupSize: 24), .gate: BlockGrid(.q4_0), .up: BlockGrid(.q8_0),
      .down: try IntegerGrid(bits: 7, groupSize: 5),
    ]
    var entries: [String: NativeDialect.Entry] = [:]
    var tensors = NativeDialect.tensors(names.embedding + ".weight", model.embedding)
    tensors += [vector(names.finalNorm + ".weight", model.finalNorm)]
    if let head = model.head { tensors += NativeDialect.tensors(names.head + ".weight", head.weight) }
    for (layer, block) in model.blocks.enumerated() {
      for norm in BlockNorm.allCases {
        guard let name = names.tensor(of: norm, in: layer), let scales = block[norm] else { continue }
        tensors.append(vector(name, scales))
      }
      for (role, linear) in block.weights {
        guard let encoding = encodings[role] else { continue }
        let matrix = try filled(encoding, linear.weight.rows, linear.weight.columns)
        let name = names.name(of: Site(layer, role)) + ".weight"
        entries[name] = NativeDialect.Entry(matrix)
        tensors += NativeDialect.tensors(name, matrix)
      }
    }
    let description = NativeDialect.Description(
      recipe: "", calibration: "none", bitsPerWeight: 4, rotation: nil, encodings: entries)
    let config = try JSONObject(reading: TestData.fixture("model/gqa/config.json"))
      .json(setting: "quantization_config", to: JSONEncoder().encode(description))
    return HostileSample(
      testDescription: "native", opens: "",
      files: [
        "config.json": Array(config.utf8), "tokenizer.model": try bytes(tokenizer),
        "model.safetensors": try written { (path) throws(Problem) in
          try Safetensors.write(tensors, metadata: [], to: path)
        },
      ])
  }

  private static func gguf(_ name: String) throws -> HostileSample {
    let model = try Model(reading: TestData.fixture("model/\(name)"))
    let vocabulary = try GGUFVocabulary.metadata(
      forModelAt: TestData.packageFolder + "/Models/novella-6m", size: 4096)
    return HostileSample(
      testDescription: "GGUF, \(name)", opens: "model.gguf",
      files: [
        "model.gguf": try written { (path) throws(Problem) in
          try GGUFDialect.write(model, vocabulary: vocabulary, name: "sample", to: path)
        }
      ])
  }

  private static func llama2C() throws -> HostileSample {
    let (dim, hidden, layers, keyWidth, vocabulary, context) = (64, 96, 2, 32, 128, 32)
    let perLayer = 2 * dim + 2 * dim * dim + 2 * dim * keyWidth + 3 * dim * hidden
    let count = vocabulary * dim + layers * perLayer + dim + context * 16
    var data = Data()
    for value in [dim, hidden, layers, 4, 2, vocabulary, context] {
      withUnsafeBytes(of: Int32(value).littleEndian) { data.append(contentsOf: $0) }
    }
    for i in 0..<count { withUnsafeBytes(of: Float(i % 17 - 8) / 64) { data.append(contentsOf: $0) } }
    return HostileSample(
      testDescription: "llama2.c", opens: "model.bin",
      files: ["model.bin": [UInt8](data), "tokenizer.model": try bytes(tokenizer)])
  }

  private static func vector(_ name: String, _ values: [Float]) -> TensorSource {
    TensorSource(name: name, type: .f32, shape: [values.count]) { () throws(Problem) in
      Bytes(elements: values)
    }
  }

  /// A matrix whose parts hold small numbers, which every encoding takes.
  private static func filled(_ encoding: some Encoding, _ rows: Int, _ columns: Int) throws -> EncodedMatrix {
    var parts: [String: Bytes] = [:]
    for layout in try encoding.parts(rows: rows, columns: columns) {
      // As binary16, 0x1801 is a small positive scale; as an index it would name no group.
      let isIndex = layout.name == "groups"
      parts[layout.name] = Bytes((0..<layout.byteCount).map { isIndex ? UInt8(0) : $0 % 2 == 0 ? 1 : 0x18 })
    }
    return try EncodedMatrix(encoding: encoding, rows: rows, columns: columns, parts: parts)
  }

  private static func written(_ write: (String) throws(Problem) -> Void) throws -> [UInt8] {
    let path = NSTemporaryDirectory() + "lathe-sample-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try write(path)
    return try bytes(path)
  }
}

/// Changes to files that a mean or broken writer could make.
struct Damage {
  var random: SeededGenerator

  private static let numbers: [UInt64] = [
    0, 1, 2, 3, 7, 255, 65535, 1 << 20, 1 << 31 - 1, 1 << 31, 1 << 32 - 1, 1 << 32, 1 << 62, 1 << 63 - 1,
    1 << 63, .max - 31,
    .max,
  ]
  private static let words = [
    "0", "-1", "1", "2", "3", "16", "1e400", "-0.0", "0.5", "2147483647", "2147483648", "4294967296",
    "9223372036854775807",
    "18446744073709551615", "1e30", "null", "true", "[]", "{}", "\"\"", "[1,2]", "\"F16\"", "\"U8\"", "{",
    "}", ",", "\"",
    "\\ud800", String(repeating: "[", count: 3000),
  ]

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// Makes one change to `bytes`.
  mutating func change(_ bytes: inout [UInt8], isText: Bool) {
    guard !bytes.isEmpty else { return }
    let at = place(in: bytes)
    switch Int.random(in: 0..<8, using: &random) {
    case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1: bytes.removeLast(Int.random(in: 0..<min(bytes.count, 5000), using: &random))
    case 2: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...12, using: &random)))
    case 3, 4, 5:
      if isText || Bool.random(using: &random), let number = number(in: bytes, from: at) {
        bytes.replaceSubrange(number, with: Array((Self.words.randomElement(using: &random) ?? "").utf8))
        return
      }
      let value = Self.numbers.randomElement(using: &random) ?? 0
      let size = [1, 2, 4, 8].randomElement(using: &random) ?? 1
      for i in 0..<size where at + i < bytes.count {
        bytes[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i))
      }
    case 6: bytes.insert(contentsOf: Array((Self.words.randomElement(using: &random) ?? "").utf8), at: at)
    default:
      let from = place(in: bytes)
      bytes.insert(contentsOf: Array(bytes[from..<min(bytes.count, from + 40)]), at: at)
    }
  }

  /// A place to change: mostly in the head, where descriptions stand.
  private mutating func place(in bytes: [UInt8]) -> Int {
    switch Int.random(in: 0..<4, using: &random) {
    case 0: Int.random(in: 0..<bytes.count, using: &random)
    case 1: Int.random(in: 0..<min(bytes.count, 8000), using: &random)
    case 2: Int.random(in: 0..<min(bytes.count, 64), using: &random)
    default: Int.random(in: 0..<min(bytes.count, 1200), using: &random)
    }
  }

  /// The next run of digits after `start`, if it is near.
  private func number(in bytes: [UInt8], from start: Int) -> Range<Int>? {
    func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
    let near = start..<min(bytes.count, start + 200)
    guard let first = near.first(where: { isDigit(bytes[$0]) }) else { return nil }
    return first..<(bytes[first...].firstIndex { !isDigit($0) } ?? bytes.count)
  }
}
