import Foundation
public import LatheTensor

/// safetensors: a JSON header and raw numbers; one file, or shards with an index.
///
/// Layout, little-endian: u64 length of the header, the header, data without holes. Source: the `safetensors`
/// repository's format section.
public enum Safetensors: WritableFormat {
  /// The name people use.
  public static let name = "safetensors"

  /// Larger headers are refused, as the reference implementation does.
  static let maximumHeaderBytes = 100_000_000
  /// Tensors of more dimensions are refused.
  static let maximumRank = 32
  static let indexSuffix = ".safetensors.index.json"
  static let suffix = ".safetensors"
  static let metadataKey = "__metadata__"

  /// Whether the name says so, or a header of plausible length follows the length, or a folder holds such files.
  public static func recognises(path: String, head: Bytes) -> Bool {
    if path.hasSuffix(suffix) || path.hasSuffix(indexSuffix) { return true }
    guard head.count >= 9 else { return FormatCatalog.folder(path, holds: suffix) }
    return head.load(at: 0, as: UInt64.self) <= UInt64(maximumHeaderBytes) && head[8] == UInt8(ascii: "{")
  }

  /// Reads a file, an index with its shards, or a folder that holds either.
  ///
  /// - Throws: `Problem` of kind `noInput` where a shard is missing, `badData` for content the format does not allow.
  public static func read(_ path: String) throws(Problem) -> Checkpoint {
    let path = try entry(ofFolder: path) ?? path
    return path.hasSuffix(".json") ? try readIndex(path) : try readFile(path)
  }

  /// The file to open for a folder: its index, else its only model file; nil where `path` is no folder.
  ///
  /// - Throws: `Problem` where the folder holds none, or several.
  private static func entry(ofFolder path: String) throws(Problem) -> String? {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
      return nil
    }
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path).sorted() else {
      throw Problem(.inputOutput, "cannot list the folder", at: path)
    }
    for usual in ["model" + indexSuffix, "model" + suffix] where names.contains(usual) {
      return path + "/" + usual
    }
    for ending in [indexSuffix, suffix] {
      let files = names.filter { $0.hasSuffix(ending) }
      if files.count == 1 { return path + "/" + files[0] }
      if files.count > 1 {
        throw Problem(
          .badData, "the folder holds \(files.count) files *\(ending) and no index", at: path,
          cure: "name one of them")
      }
    }
    throw Problem(.noInput, "the folder holds no safetensors file", at: path)
  }

  private static func readFile(_ path: String) throws(Problem) -> Checkpoint {
    let bytes = try Bytes(mapping: path)
    do throws(Problem) {
      let header = try SafetensorsHeader(reading: bytes)
      return try Checkpoint(
        format: name, files: [path], metadata: header.metadata.map { ($0.key, .string($0.value)) },
        tensors: try header.tensors(in: bytes))
    } catch {
      throw error.located(at: path)
    }
  }

  private static func readIndex(_ path: String) throws(Problem) -> Checkpoint {
    let map: [(tensor: String, file: String)]
    do throws(Problem) { map = try weightMap(Bytes(mapping: path)) } catch { throw error.located(at: path) }
    var seen = Set<String>()
    let files = map.map(\.file).filter { seen.insert($0).inserted }
    let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
      separator: "/")
    var shards: [String: Checkpoint] = [:]
    for file in files { shards[file] = try readFile(path.contains("/") ? folder + "/" + file : file) }
    do throws(Problem) {
      for (tensor, file) in map where shards[file]?[tensor] == nil {
        throw Problem(
          .badData, "the index places tensor \"\(tensor.excerpt)\" in \(file.excerpt), which lacks it")
      }
      let parts = files.compactMap { shards[$0] }
      return try Checkpoint(
        format: name, files: parts.flatMap(\.files), metadata: parts.first?.orderedMetadata ?? [],
        tensors: parts.flatMap(\.tensors))
    } catch {
      throw error.located(at: path)
    }
  }

  /// The pairs of tensor and shard an index lists.
  static func weightMap(_ bytes: Bytes) throws(Problem) -> [(tensor: String, file: String)] {
    guard bytes.count <= maximumHeaderBytes else {
      throw Problem(
        .badData, "the index takes \(bytes.count) bytes", cure: "at most \(maximumHeaderBytes) are read")
    }
    var map: [(tensor: String, file: String)] = []
    var scanner = JSONScanner(bytes)
    var found = false
    try scanner.object { (key, scanner) throws(Problem) in
      guard key == "weight_map" else { return try scanner.skip() }
      found = true
      try scanner.object { (tensor, scanner) throws(Problem) in
        let file = try scanner.string()
        // A shard lies beside its index: a path that leads elsewhere is an attack or a mistake.
        guard !file.contains("/"), !file.contains("\\"), !file.contains("\0"), file.hasSuffix(suffix) else {
          throw scanner.problem("\"\(file.excerpt)\" is not the name of a safetensors file beside the index")
        }
        map.append((tensor, file))
      }
    }
    try scanner.end()
    guard found else { throw Problem(.badData, "the index has no weight_map") }
    return map
  }
}

/// The header of one safetensors file, checked.
struct SafetensorsHeader {
  struct Entry {
    let name: String
    let type: StorageType
    let shape: [Int]
    let begin: Int
    let end: Int
  }

  private(set) var metadata: [(key: String, value: String)] = []
  private var entries: [Entry] = []
  private let dataStart: Int

  /// Reads and checks the header of the file `bytes`.
  init(reading bytes: Bytes) throws(Problem) {
    guard bytes.count >= 8 else {
      throw Problem(.badData, "the file has \(bytes.count) bytes, fewer than the length of a header takes")
    }
    let length = bytes.load(at: 0, as: UInt64.self)
    guard length <= UInt64(Safetensors.maximumHeaderBytes) else {
      throw Problem(
        .badData, "the header claims \(length) bytes",
        cure: "at most \(Safetensors.maximumHeaderBytes) are read")
    }
    guard length <= UInt64(bytes.count - 8) else {
      throw Problem(
        .badData, "the header claims \(length) bytes and the file has \(bytes.count)",
        cure: "the file is cut short; copy it again")
    }
    dataStart = 8 + Int(length)
    guard length > 0, bytes[8] == UInt8(ascii: "{") else {
      throw Problem(.badData, "the header does not start with {")
    }
    var scanner = JSONScanner(bytes[8..<dataStart])
    var metadata: [(key: String, value: String)] = []
    var entries: [Entry] = []
    try scanner.object { (name, scanner) throws(Problem) in
      if name == Safetensors.metadataKey {
        try scanner.object { (key, scanner) throws(Problem) in metadata.append((key, try scanner.string())) }
      } else {
        entries.append(try Self.entry(name, &scanner))
      }
    }
    try scanner.end()
    (self.metadata, self.entries) = (metadata, entries)
    try checkExtents(bytes.count - dataStart)
  }

  /// The tensors, by place in the file.
  func tensors(in bytes: Bytes) throws(Problem) -> [StoredTensor] {
    var tensors: [StoredTensor] = []
    tensors.reserveCapacity(entries.count)
    for entry in entries {
      let data = bytes[dataStart + entry.begin..<dataStart + entry.end]
      tensors.append(try StoredTensor(name: entry.name, type: entry.type, shape: entry.shape, data: data))
    }
    return tensors
  }

  private static func entry(_ name: String, _ scanner: inout JSONScanner) throws(Problem) -> Entry {
    var typeName: String?
    var shape: [Int]?
    var offsets: [Int] = []
    try scanner.object { (key, scanner) throws(Problem) in
      switch key {
      case "dtype": typeName = try scanner.string()
      case "shape":
        var dimensions: [Int] = []
        try scanner.array { (scanner) throws(Problem) in
          guard dimensions.count < Safetensors.maximumRank else {
            throw scanner.problem("a shape has more than \(Safetensors.maximumRank) dimensions")
          }
          dimensions.append(try scanner.count())
        }
        shape = dimensions
      case "data_offsets":
        try scanner.array { (scanner) throws(Problem) in
          guard offsets.count < 2 else { throw scanner.problem("data_offsets has more than two numbers") }
          offsets.append(try scanner.count())
        }
      default: try scanner.skip()
      }
    }
    guard let typeName, let shape, offsets.count == 2 else {
      throw Problem(.badData, "tensor \"\(name.excerpt)\" lacks a dtype, a shape or two data_offsets")
    }
    guard let type = StorageType.safetensors(name: typeName) else {
      throw Problem(
        .badData, "tensor \"\(name.excerpt)\" has the unknown dtype \"\(typeName.excerpt)\"",
        cure: "the file may be newer than this program")
    }
    return Entry(name: name, type: type, shape: shape, begin: offsets[0], end: offsets[1])
  }

  /// Demands that the tensors fill the data of `room` bytes exactly, each with the bytes its shape needs.
  private mutating func checkExtents(_ room: Int) throws(Problem) {
    entries.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
    var reached = 0
    for entry in entries {
      let name = entry.name.excerpt
      guard entry.begin <= entry.end else {
        throw Problem(.badData, "tensor \"\(name)\" ends at \(entry.end), before its start at \(entry.begin)")
      }
      guard entry.end <= room else {
        throw Problem(
          .badData, "tensor \"\(name)\" ends at \(entry.end), and the file has \(room) bytes of data",
          cure: "the file is cut short; copy it again")
      }
      guard let size = Self.size(entry) else { throw .unfit(entry.name, entry.type, entry.shape) }
      guard size == entry.end - entry.begin else {
        throw Problem(
          .badData,
          "tensor \"\(name)\" of type \(entry.type) and shape \(entry.shape) needs \(size) bytes, "
            + "its data_offsets span \(entry.end - entry.begin)")
      }
      guard entry.begin >= reached else {
        throw Problem(.badData, "tensor \"\(name)\" overlaps the one before it")
      }
      guard entry.begin == reached else {
        throw Problem(
          .badData, "\(entry.begin - reached) bytes before tensor \"\(name)\" belong to no tensor")
      }
      reached = entry.end
    }
    guard reached == room else {
      throw Problem(.badData, "\(room - reached) bytes at the end of the file belong to no tensor")
    }
  }

  private static func size(_ entry: Entry) -> Int? { entry.type.byteCount(ofShape: entry.shape) }
}
