/// A value beside the tensors, in one of GGUF's kinds; a safetensors file has strings only.
public enum MetadataValue: Hashable, Sendable {
  /// An unsigned byte.
  case uint8(UInt8)
  /// A signed byte.
  case int8(Int8)
  /// An unsigned 16-bit integer.
  case uint16(UInt16)
  /// A signed 16-bit integer.
  case int16(Int16)
  /// An unsigned 32-bit integer.
  case uint32(UInt32)
  /// A signed 32-bit integer.
  case int32(Int32)
  /// A 32-bit float.
  case float32(Float)
  /// A truth value.
  case bool(Bool)
  /// A text.
  case string(String)
  /// Values of one kind.
  case array(MetadataArray)
  /// An unsigned 64-bit integer.
  case uint64(UInt64)
  /// A signed 64-bit integer.
  case int64(Int64)
  /// A 64-bit float.
  case float64(Double)

  /// The kind.
  public var kind: MetadataKind {
    switch self {
    case .uint8: .uint8
    case .int8: .int8
    case .uint16: .uint16
    case .int16: .int16
    case .uint32: .uint32
    case .int32: .int32
    case .float32: .float32
    case .bool: .bool
    case .string: .string
    case .array: .array
    case .uint64: .uint64
    case .int64: .int64
    case .float64: .float64
    }
  }

  /// The value as an integer; files give the same key as u32, i32 or u64. A float is none.
  public var integer: Int? {
    switch self {
    case .uint8(let v): Int(v)
    case .int8(let v): Int(v)
    case .uint16(let v): Int(v)
    case .int16(let v): Int(v)
    case .uint32(let v): Int(v)
    case .int32(let v): Int(v)
    case .uint64(let v): Int(exactly: v)
    case .int64(let v): Int(v)
    default: nil
    }
  }

  /// The value as a number; integers are numbers too.
  public var number: Double? {
    switch self {
    case .float32(let v): Double(v)
    case .float64(let v): v
    case .uint64(let v): Double(v)
    default: integer.map(Double.init)
    }
  }

  /// The value as a text.
  public var text: String? { if case .string(let v) = self { v } else { nil } }

  /// The value as a truth; an integer 0 or 1 serves.
  public var flag: Bool? {
    if case .bool(let v) = self { return v }
    return integer.flatMap { $0 == 0 ? false : $0 == 1 ? true : nil }
  }

  /// The value as an array.
  public var array: MetadataArray? { if case .array(let v) = self { v } else { nil } }

  /// The value as texts, where it is an array of strings.
  public var texts: [String]? { array?.texts }

  /// The value as integers: an array of them, or a single one (a key may be given for all layers or for each).
  public var integers: [Int]? { array?.integers ?? integer.map { [$0] } }
}

/// The kinds of metadata values; the raw value is GGUF's number.
public enum MetadataKind: UInt32, Sendable, CaseIterable {
  /// An unsigned byte.
  case uint8 = 0
  /// A signed byte.
  case int8
  /// An unsigned 16-bit integer.
  case uint16
  /// A signed 16-bit integer.
  case int16
  /// An unsigned 32-bit integer.
  case uint32
  /// A signed 32-bit integer.
  case int32
  /// A 32-bit float.
  case float32
  /// A truth value in a byte.
  case bool
  /// A text.
  case string
  /// Values of one kind.
  case array
  /// An unsigned 64-bit integer.
  case uint64
  /// A signed 64-bit integer.
  case int64
  /// A 64-bit float.
  case float64

  /// The bytes of one value, where all values have as many.
  var size: Int? {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64: 8
    case .string, .array: nil
    }
  }
}
