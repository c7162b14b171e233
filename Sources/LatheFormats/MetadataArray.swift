public import LatheTensor

/// An array of values of one kind, kept as the bytes of the file and decoded when asked.
///
/// A vocabulary of 150 000 strings costs nothing until it is read, and then one pass.
public struct MetadataArray: Sendable {
  /// The kind of its elements, never `array`.
  public let kind: MetadataKind
  /// The number of elements.
  public let count: Int
  // Little-endian numbers; a string is its length as u64 and its bytes. Checked before this value is made.
  let bytes: Bytes

  init(kind: MetadataKind, count: Int, bytes: Bytes) {
    (self.kind, self.count, self.bytes) = (kind, count, bytes)
  }

  /// An array of strings.
  public init(_ texts: [String]) {
    var encoded: [UInt8] = []
    encoded.reserveCapacity(texts.reduce(0) { $0 + 8 + $1.utf8.count })
    for text in texts {
      withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { encoded.append(contentsOf: $0) }
      encoded.append(contentsOf: text.utf8)
    }
    self.init(kind: .string, count: texts.count, bytes: Bytes(encoded))
  }

  /// An array of 32-bit floats.
  public init(_ values: [Float]) {
    self.init(kind: .float32, count: values.count, bytes: Bytes(elements: values))
  }

  /// An array of 32-bit integers.
  public init(_ values: [Int32]) {
    self.init(kind: .int32, count: values.count, bytes: Bytes(elements: values))
  }

  /// An array of unsigned 32-bit integers.
  public init(_ values: [UInt32]) {
    self.init(kind: .uint32, count: values.count, bytes: Bytes(elements: values))
  }

  /// The elements of a string array as bytes, without a copy; nil for other kinds.
  public var slices: [Bytes]? {
    guard kind == .string else { return nil }
    var result: [Bytes] = []
    result.reserveCapacity(count)
    var offset = 0
    for _ in 0..<count {
      let length = Int(bytes.load(at: offset, as: UInt64.self))
      result.append(bytes[offset + 8..<offset + 8 + length])
      offset += 8 + length
    }
    return result
  }

  /// The elements of a string array, read as UTF-8; nil for other kinds.
  public var texts: [String]? { slices?.map(\.text) }

  /// The elements as 32-bit floats, where they are numbers.
  public var floats: [Float]? {
    switch kind {
    case .float32: bytes.elements(as: Float.self)
    case .float64: bytes.elements(as: Double.self).map(Float.init)
    default: integers?.map(Float.init)
    }
  }

  /// The elements as integers, where they are integers (or truths, as 0 and 1) in the range of `Int`.
  public var integers: [Int]? {
    switch kind {
    case .uint8, .bool: return bytes.elements(as: UInt8.self).map(Int.init)
    case .int8: return bytes.elements(as: Int8.self).map(Int.init)
    case .uint16: return bytes.elements(as: UInt16.self).map(Int.init)
    case .int16: return bytes.elements(as: Int16.self).map(Int.init)
    case .uint32: return bytes.elements(as: UInt32.self).map(Int.init)
    case .int32: return bytes.elements(as: Int32.self).map(Int.init)
    case .int64: return bytes.elements(as: Int64.self).map(Int.init)
    case .uint64:
      let values = bytes.elements(as: UInt64.self)
      return values.allSatisfy { $0 <= UInt64(Int.max) } ? values.map(Int.init) : nil
    case .float32, .float64, .string, .array: return nil
    }
  }

  /// The elements as 32-bit integers, where they all fit.
  public var int32s: [Int32]? {
    if kind == .int32 { return bytes.elements(as: Int32.self) }
    guard let integers, integers.allSatisfy({ Int32(exactly: $0) != nil }) else { return nil }
    return integers.map(Int32.init)
  }
}

extension MetadataArray: Hashable {
  /// Whether kind and elements are the same.
  public static func == (a: MetadataArray, b: MetadataArray) -> Bool {
    a.kind == b.kind && a.count == b.count && a.bytes == b.bytes
  }

  /// Hashes kind, count and the first elements.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(kind)
    hasher.combine(count)
    bytes[0..<min(bytes.count, 1024)].withUnsafeBytes { hasher.combine(bytes: $0) }
  }
}
