public import LatheTensor

/// A named run of numbers in a file.
public struct StoredTensor: Sendable {
  /// The name the file gives it.
  public let name: String
  /// How its numbers are stored.
  public let type: StorageType
  /// Its dimensions, outermost first: `[out, in]` for a weight. Rows run along the last and are contiguous.
  public let shape: [Int]
  /// Its bytes, usually mapped from the file, and aligned as the file has them: safetensors promises nothing.
  public let data: Bytes

  /// A tensor of `shape` whose numbers are `data`.
  ///
  /// - Throws: `Problem` of kind `badData` where `data` is not what the type and shape need.
  public init(name: String, type: StorageType, shape: [Int], data: Bytes) throws(Problem) {
    guard let needed = type.byteCount(ofShape: shape) else { throw .unfit(name, type, shape) }
    guard needed == data.count else {
      throw Problem(
        .badData,
        "tensor \"\(name)\" of type \(type) and shape \(shape) needs \(needed) bytes and has \(data.count)")
    }
    (self.name, self.type, self.shape, self.data) = (name, type, shape, data)
  }

  /// The number of elements.
  public var elementCount: Int { shape.reduce(1, *) }
}

/// What a file, or a set of shards, holds: metadata and named tensors.
public struct Checkpoint: Sendable {
  /// The name of the format it was read from.
  public let format: String
  /// The files it was read from.
  public let files: [String]
  /// What the file says beside its tensors.
  public let metadata: [String: MetadataValue]
  /// The metadata's keys in the order of the file.
  public let metadataKeys: [String]
  /// The tensors in the order of the file.
  public let tensors: [StoredTensor]
  private let index: [String: Int]

  /// A checkpoint of `tensors`.
  ///
  /// - Throws: `Problem` of kind `badData` where a key or a tensor's name occurs twice.
  public init(
    format: String, files: [String] = [], metadata: [(key: String, value: MetadataValue)] = [],
    tensors: [StoredTensor]
  ) throws(Problem) {
    (self.format, self.files, self.tensors) = (format, files, tensors)
    var values: [String: MetadataValue] = [:]
    for (key, value) in metadata where values.updateValue(value, forKey: key) != nil {
      throw Problem(.badData, "the key \"\(key.excerpt)\" occurs twice")
    }
    (self.metadata, metadataKeys) = (values, metadata.map(\.key))
    var index: [String: Int] = Dictionary(minimumCapacity: tensors.count)
    for (i, tensor) in tensors.enumerated() where index.updateValue(i, forKey: tensor.name) != nil {
      throw Problem(.badData, "the tensor \"\(tensor.name.excerpt)\" occurs twice")
    }
    self.index = index
  }

  /// Reads the checkpoint at `path`, a file or a folder of any format in `FormatCatalog`.
  ///
  /// Data is mapped: opening costs the header alone.
  /// - Throws: `Problem` of kind `noInput` or `badData`.
  public init(reading path: String) throws(Problem) { self = try FormatCatalog.read(path) }

  /// The tensor called `name`, where there is one.
  public subscript(name: String) -> StoredTensor? { index[name].map { tensors[$0] } }

  /// The tensor called `name`.
  ///
  /// - Throws: `Problem` of kind `badData` where there is none.
  public func tensor(_ name: String) throws(Problem) -> StoredTensor {
    guard let tensor = self[name] else {
      throw Problem(.badData, "there is no tensor \"\(name)\"", at: files.first)
    }
    return tensor
  }

  /// The metadata in the order of the file, as writers take it.
  public var orderedMetadata: [(key: String, value: MetadataValue)] {
    metadataKeys.compactMap { key in metadata[key].map { (key, $0) } }
  }

  /// The bytes of all tensors.
  public var totalBytes: Int { tensors.reduce(0) { $0 + $1.data.count } }
}

extension Problem {
  /// A shape whose size cannot be stored as `type`, or not be counted.
  static func unfit(_ name: String, _ type: StorageType, _ shape: [Int], _ kind: Kind = .badData) -> Problem {
    if StorageType.elementCount(shape) != nil, let row = shape.last, row % type.elementsPerBlock != 0 {
      return Problem(
        kind,
        "tensor \"\(name.excerpt)\" has rows of \(row) elements, and \(type) stores blocks of \(type.elementsPerBlock)"
      )
    }
    return Problem(kind, "tensor \"\(name.excerpt)\" of type \(type) has the impossible shape \(shape)")
  }
}

extension String {
  /// At most 80 characters of a text from a file, without control characters, fit for a message.
  var excerpt: String {
    let clean = String(prefix(80).map { $0.isNewline || $0.asciiValue.map { $0 < 32 } == true ? "?" : $0 })
    return clean.count < count ? clean + "…" : clean
  }
}
