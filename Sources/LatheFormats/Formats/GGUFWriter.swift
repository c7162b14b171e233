public import LatheTensor

extension GGUF {
  /// Writes a GGUF version 3 file: metadata and tensors in the order given, data aligned to 32 bytes or to the
  /// `general.alignment` of the metadata.
  ///
  /// - Throws: `Problem` of kind `usage` for a type GGUF lacks, a name of 64 bytes or more, more than 4 dimensions
  ///   or a name that occurs twice; `cannotCreate` or `inputOutput`.
  public static func write(
    _ tensors: [TensorSource], metadata: [(key: String, value: MetadataValue)], to path: String
  ) throws(Problem) {
    do throws(Problem) {
      try requireDistinct(tensors.map(\.name))
      try requireDistinct(metadata.map(\.key))
      let alignment = try alignment(of: metadata)
      let header = try header(tensors, metadata, alignment)
      let file = try AtomicFile(creating: path)
      try file.write(header)
      try file.pad(to: alignment)
      for tensor in tensors {
        try tensor.write(to: file)
        try file.pad(to: alignment)
      }
      try file.commit()
    } catch {
      throw error.located(at: path)
    }
  }

  private static func alignment(of metadata: [(key: String, value: MetadataValue)]) throws(Problem) -> Int {
    guard let value = metadata.first(where: { $0.key == alignmentKey })?.value else {
      return defaultAlignment
    }
    guard case .uint32(let n) = value, n > 0, n & (n - 1) == 0, n <= maximumAlignment else {
      throw Problem(.usage, "\(alignmentKey) must be a u32 that is a power of two up to \(maximumAlignment)")
    }
    return Int(n)
  }

  private static func header(
    _ tensors: [TensorSource], _ metadata: [(key: String, value: MetadataValue)], _ alignment: Int
  ) throws(Problem) -> [UInt8] {
    var out = magic
    out.put(UInt32(3))
    out.put(UInt64(tensors.count))
    out.put(UInt64(metadata.count))
    for (key, value) in metadata {
      guard key.utf8.count <= maximumKeyBytes else {
        throw Problem(.usage, "the key \"\(key.excerpt)\" is too long")
      }
      out.put(key)
      out.put(value.kind.rawValue)
      try out.put(value, key)
    }
    var offset = 0
    for tensor in tensors {
      guard let id = tensor.type.ggufID else {
        throw Problem(
          .usage, "GGUF has no type \(tensor.type), which tensor \"\(tensor.name.excerpt)\" has",
          cure: "convert it to F32 or write safetensors")
      }
      guard tensor.name.utf8.count < 64 else {
        throw Problem(.usage, "the tensor name \"\(tensor.name.excerpt)\" is longer than GGUF's 63 bytes")
      }
      guard tensor.shape.count <= 4 else {
        throw Problem(
          .usage, "tensor \"\(tensor.name)\" has \(tensor.shape.count) dimensions; GGUF has at most 4")
      }
      out.put(tensor.name)
      out.put(UInt32(tensor.shape.count))
      for dimension in tensor.shape.reversed() { out.put(UInt64(dimension)) }
      out.put(id)
      out.put(UInt64(offset))
      let (end, overflow) = offset.addingReportingOverflow(try tensor.byteCount())
      guard !overflow, end <= Int.max - alignment else {
        throw Problem(.usage, "the tensors are larger than a file can be")
      }
      offset = (end + alignment - 1) & ~(alignment - 1)
    }
    return out
  }
}

extension [UInt8] {
  /// Appends a number, little-endian.
  mutating func put<T: FixedWidthInteger>(_ value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  /// Appends a string as GGUF has it.
  mutating func put(_ text: String) {
    put(UInt64(text.utf8.count))
    append(contentsOf: text.utf8)
  }

  fileprivate mutating func put(_ value: MetadataValue, _ key: String) throws(Problem) {
    switch value {
    case .uint8(let v): put(v)
    case .int8(let v): put(v)
    case .uint16(let v): put(v)
    case .int16(let v): put(v)
    case .uint32(let v): put(v)
    case .int32(let v): put(v)
    case .float32(let v): put(v.bitPattern)
    case .bool(let v): put(UInt8(v ? 1 : 0))
    case .string(let v):
      guard v.utf8.count <= GGUF.maximumValueBytes else { throw tooLong(key) }
      put(v)
    case .array(let v):
      guard v.bytes.count <= GGUF.maximumValueBytes else { throw tooLong(key) }
      put(v.kind.rawValue)
      put(UInt64(v.count))
      v.bytes.withUnsafeBytes { append(contentsOf: $0) }
    case .uint64(let v): put(v)
    case .int64(let v): put(v)
    case .float64(let v): put(v.bitPattern)
    }
  }

  private func tooLong(_ key: String) -> Problem {
    Problem(.usage, "the value of \"\(key.excerpt)\" takes more than 64 MiB")
  }
}
