import LatheTensor

/// Reads one GGUF file, trusting nothing it says.
struct GGUFReader {
  private var reader: ByteReader
  private var metadata: [(key: String, value: MetadataValue)] = []
  private var alignment = GGUF.defaultAlignment

  private struct Info {
    let name: String
    let type: StorageType
    let shape: [Int]
    let offset: Int
    let size: Int
  }

  static func read(_ path: String) throws(Problem) -> Checkpoint {
    let bytes = try Bytes(mapping: path)
    do throws(Problem) {
      var reader = GGUFReader(reader: ByteReader(bytes))
      return try reader.checkpoint(path)
    } catch {
      throw error.located(at: path)
    }
  }

  private init(reader: ByteReader) { self.reader = reader }

  private mutating func checkpoint(_ path: String) throws(Problem) -> Checkpoint {
    guard try reader.slice(4).elements(as: UInt8.self) == GGUF.magic else {
      throw Problem(.badData, "the file does not start with GGUF")
    }
    let version: UInt32 = try reader.number()
    guard version == 2 || version == 3 else {
      if version.byteSwapped == 2 || version.byteSwapped == 3 {
        throw Problem(.badData, "the file is big-endian GGUF", cure: "convert it to little-endian")
      }
      throw Problem(.badData, "GGUF version \(version) is unknown", cure: "versions 2 and 3 are read")
    }
    // The smallest tensor info: an empty name, no dimensions, type and offset; the smallest pair: an empty key,
    // a type and a byte.
    let tensorCount = try reader.count(of: "tensors", ofAtLeast: 24)
    let pairCount = try reader.count(of: "key-value pairs", ofAtLeast: 13)
    for number in 0..<pairCount { try readPair(number) }
    if let value = metadata.first(where: { $0.key == GGUF.alignmentKey })?.value {
      guard let n = value.integer, n > 0, n & (n - 1) == 0, n <= GGUF.maximumAlignment else {
        throw Problem(
          .badData, "\(GGUF.alignmentKey) is \(value.integer.map(String.init) ?? "no integer")",
          cure: "it must be a power of two up to \(GGUF.maximumAlignment)")
      }
      alignment = n
    }
    var infos: [Info] = []
    for number in 0..<tensorCount { infos.append(try readInfo(number)) }
    return try Checkpoint(
      format: GGUF.name, files: [path], metadata: metadata, tensors: try tensors(of: infos))
  }

  private mutating func readPair(_ number: Int) throws(Problem) {
    reader.subject = "metadata pair \(number + 1)"
    let key = try text(limit: GGUF.maximumKeyBytes)
    reader.subject = "the value of \"\(key.excerpt)\""
    let kind = try readKind()
    metadata.append((key, try readValue(kind)))
  }

  private mutating func readKind() throws(Problem) -> MetadataKind {
    let id: UInt32 = try reader.number()
    guard let kind = MetadataKind(rawValue: id) else {
      throw Problem(.badData, "\(reader.subject) has the unknown type \(id)", cure: "types are 0 to 12")
    }
    return kind
  }

  private mutating func readValue(_ kind: MetadataKind) throws(Problem) -> MetadataValue {
    switch kind {
    case .uint8: .uint8(try reader.number())
    case .int8: .int8(try reader.number())
    case .uint16: .uint16(try reader.number())
    case .int16: .int16(try reader.number())
    case .uint32: .uint32(try reader.number())
    case .int32: .int32(try reader.number())
    case .float32: .float32(Float(bitPattern: try reader.number()))
    case .bool: .bool(try reader.number(UInt8.self) != 0)
    case .string: .string(try value(limit: GGUF.maximumValueBytes).text)
    case .array: .array(try readArray())
    case .uint64: .uint64(try reader.number())
    case .int64: .int64(try reader.number())
    case .float64: .float64(Double(bitPattern: try reader.number()))
    }
  }

  private mutating func readArray() throws(Problem) -> MetadataArray {
    let kind = try readKind()
    guard kind != .array else {
      throw Problem(.badData, "\(reader.subject) is an array of arrays", cure: "GGUF has flat arrays only")
    }
    let count = try reader.count(of: "elements", ofAtLeast: kind.size ?? 8)
    let start = reader.offset
    if let size = kind.size {
      _ = try reader.slice(count * size)
    } else {
      for _ in 0..<count { _ = try value(limit: GGUF.maximumValueBytes) }
    }
    let bytes = reader.bytes[start..<reader.offset]
    guard bytes.count <= GGUF.maximumValueBytes else {
      throw Problem(.badData, "\(reader.subject) takes \(bytes.count) bytes", cure: "at most 64 MiB are read")
    }
    return MetadataArray(kind: kind, count: count, bytes: bytes)
  }

  /// A string's bytes.
  private mutating func value(limit: Int) throws(Problem) -> Bytes {
    let length: UInt64 = try reader.number()
    guard length <= UInt64(limit) else {
      throw Problem(
        .badData, "\(reader.subject) holds a string of \(length) bytes", cure: "at most \(limit) are read")
    }
    return try reader.slice(Int(length))
  }

  /// A string that serves as a name.
  private mutating func text(limit: Int) throws(Problem) -> String {
    let bytes = try value(limit: limit)
    guard let text = bytes.withUnsafeBytes({ String(validating: $0, as: UTF8.self) }) else {
      throw Problem(.badData, "the name of \(reader.subject) is not UTF-8")
    }
    return text
  }

  private mutating func readInfo(_ number: Int) throws(Problem) -> Info {
    reader.subject = "tensor info \(number + 1)"
    let name = try text(limit: GGUF.maximumKeyBytes)
    reader.subject = "tensor \"\(name.excerpt)\""
    let rank: UInt32 = try reader.number()
    guard rank <= 4 else {
      throw Problem(.badData, "\(reader.subject) has \(rank) dimensions", cure: "GGUF has at most 4")
    }
    var shape: [Int] = []
    for _ in 0..<rank {
      let dimension: Int64 = try reader.number()
      guard dimension >= 0 else {
        throw Problem(.badData, "\(reader.subject) has the dimension \(dimension)")
      }
      shape.insert(Int(dimension), at: 0)
    }
    let id: UInt32 = try reader.number()
    guard let type = StorageType.gguf(id: id) else { throw unknownType(id) }
    let offset: UInt64 = try reader.number()
    guard offset % UInt64(alignment) == 0 else {
      throw Problem(.badData, "\(reader.subject) starts at \(offset), not a multiple of \(alignment)")
    }
    guard let size = type.byteCount(ofShape: shape) else { throw .unfit(name, type, shape) }
    guard let start = Int(exactly: offset) else { throw outside(name, "at \(offset)") }
    return Info(name: name, type: type, shape: shape, offset: start, size: size)
  }

  private func unknownType(_ id: UInt32) -> Problem {
    let removed = [4, 5, 31, 32, 33, 36, 37, 38].contains(id)
    return Problem(
      .badData,
      "\(reader.subject) has type \(id), " + (removed ? "which GGUF has removed" : "which is unknown"),
      cure: removed
        ? "quantize the model again with a current tool" : "the file may be newer than this program")
  }

  private func outside(_ name: String, _ extent: String) -> Problem {
    Problem(
      .badData, "tensor \"\(name.excerpt)\" lies \(extent), outside the file's \(reader.bytes.count) bytes",
      cure: "the file is damaged or cut short")
  }

  /// The tensors of `infos`, after checking that their extents lie in the file and apart from each other.
  private func tensors(of infos: [Info]) throws(Problem) -> [StoredTensor] {
    let start = (reader.offset + alignment - 1) & ~(alignment - 1)
    let room = max(reader.bytes.count - start, 0)
    var tensors: [StoredTensor] = []
    tensors.reserveCapacity(infos.count)
    for info in infos {
      guard info.offset <= room, info.size <= room - info.offset else {
        throw outside(info.name, "at \(info.offset) of the data with \(info.size) bytes")
      }
      let data =
        info.size == 0 ? Bytes([]) : reader.bytes[start + info.offset..<start + info.offset + info.size]
      tensors.append(try StoredTensor(name: info.name, type: info.type, shape: info.shape, data: data))
    }
    let sorted = infos.filter { $0.size > 0 }.sorted { $0.offset < $1.offset }
    for (a, b) in zip(sorted, sorted.dropFirst()) {
      guard a.offset + a.size <= b.offset else {
        throw Problem(.badData, "the tensors \"\(a.name.excerpt)\" and \"\(b.name.excerpt)\" overlap")
      }
      // Other programs gave the numbers 40 and 41 to types of their own: their sizes betray them.
      if a.type == .nvfp4 || a.type == .q1_0, b.offset - a.offset - a.size >= alignment {
        throw Problem(
          .badData,
          "tensor \"\(a.name.excerpt)\" takes \(b.offset - a.offset) bytes, \(a.type) needs \(a.size)",
          cure: "the file uses type \(a.type.ggufID ?? 0) in another sense; convert it with a current tool")
      }
    }
    return tensors
  }
}
