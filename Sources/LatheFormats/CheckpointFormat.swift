import Foundation
public import LatheTensor

/// A file format that holds named tensors.
///
/// A format is one file in `Formats/` and one line in `FormatCatalog.all`.
public protocol CheckpointFormat: Sendable {
  /// The name people use: `safetensors`, `GGUF`.
  static var name: String { get }

  /// Whether the file or folder at `path` looks like this format.
  ///
  /// - Parameter head: the file's first bytes, at most 4096; empty for a folder.
  static func recognises(path: String, head: Bytes) -> Bool

  /// Reads the file or folder at `path`; tensors' data stays in the mapped file.
  ///
  /// - Throws: `Problem` of kind `badData` for content the format does not allow, whatever it is.
  static func read(_ path: String) throws(Problem) -> Checkpoint
}

/// A format Lathe writes as well.
public protocol WritableFormat: CheckpointFormat {
  /// Writes one file, tensor after tensor, in the order given; the same input gives the same bytes.
  ///
  /// - Throws: `Problem` of kind `usage` for what the format cannot hold, `cannotCreate` or `inputOutput`.
  static func write(
    _ tensors: [TensorSource], metadata: [(key: String, value: MetadataValue)], to path: String
  ) throws(Problem)
}

/// The formats, in the order they are asked.
public enum FormatCatalog {
  /// Every format.
  public static let all: [any CheckpointFormat.Type] = [
    Safetensors.self,
    GGUF.self,
    Llama2C.self,
  ]

  /// The format of the file or folder at `path`.
  ///
  /// - Throws: `Problem` of kind `noInput` where there is nothing, `badData` where no format knows it.
  public static func format(of path: String) throws(Problem) -> any CheckpointFormat.Type {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw Problem(.noInput, "no such file or folder", at: path, cure: "check the path")
    }
    var head = Bytes([])
    if !isFolder.boolValue {
      let whole = try Bytes(mapping: path)
      head = whole[0..<min(whole.count, 4096)]
    }
    for format in all where format.recognises(path: path, head: head) { return format }
    let names = all.map { $0.name }.joined(separator: ", ")
    throw Problem(
      .badData, isFolder.boolValue ? "the folder holds no checkpoint" : "not a checkpoint of a known format",
      at: path, cure: "formats read are \(names)")
  }

  /// Whether `path` is a folder with a file whose name ends in `suffix`.
  static func folder(_ path: String, holds suffix: String) -> Bool {
    (try? FileManager.default.contentsOfDirectory(atPath: path))?.contains { $0.hasSuffix(suffix) } ?? false
  }

  /// Reads the checkpoint at `path`, whatever its format.
  ///
  /// - Throws: `Problem` of kind `noInput` or `badData`.
  public static func read(_ path: String) throws(Problem) -> Checkpoint { try format(of: path).read(path) }
}

/// A tensor on its way into a file; its bytes are asked for when their turn comes, and forgotten then.
public struct TensorSource {
  /// The name it gets.
  public let name: String
  /// How its numbers are stored.
  public let type: StorageType
  /// Its dimensions, outermost first.
  public let shape: [Int]
  /// Makes the bytes; called once, in the order of the file.
  public let load: () throws(Problem) -> Bytes

  /// A tensor whose bytes `load` makes.
  public init(
    name: String, type: StorageType, shape: [Int], load: @escaping () throws(Problem) -> Bytes
  ) {
    (self.name, self.type, self.shape, self.load) = (name, type, shape, load)
  }

  /// A tensor as it is, under its own name or another.
  public init(_ tensor: StoredTensor, name: String? = nil) {
    self.init(name: name ?? tensor.name, type: tensor.type, shape: tensor.shape) { () throws(Problem) in
      tensor.data
    }
  }

  /// The bytes it takes in a file.
  ///
  /// - Throws: `Problem` of kind `usage` where the shape cannot be stored as the type.
  public func byteCount() throws(Problem) -> Int {
    guard let bytes = type.byteCount(ofShape: shape) else { throw .unfit(name, type, shape, .usage) }
    return bytes
  }

  /// Appends the bytes to `file`.
  func write(to file: AtomicFile) throws(Problem) {
    let bytes = try load()
    let expected = try byteCount()
    guard bytes.count == expected else {
      throw Problem(
        .internal,
        "tensor \"\(name)\" of type \(type) and shape \(shape) takes \(expected) bytes; \(bytes.count) came")
    }
    try file.write(bytes)
  }
}

/// Refuses names that occur twice.
func requireDistinct(_ names: [String], _ kind: Problem.Kind = .usage) throws(Problem) {
  var seen = Set<String>(minimumCapacity: names.count)
  for name in names where !seen.insert(name).inserted {
    throw Problem(kind, "the name \"\(name.excerpt)\" occurs twice")
  }
}
