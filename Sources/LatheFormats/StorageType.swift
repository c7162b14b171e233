/// How the numbers of a tensor lie in a file: blocks of so many elements in so many bytes.
///
/// A file format stores blocks without knowing what they mean; an encoding gives them their values.
public struct StorageType: Hashable, Sendable, CustomStringConvertible {
  /// The field's name: `F32`, `BF16`, `Q4_0`.
  public let name: String
  /// The number of elements that are stored together; 1 for plain numbers.
  public let elementsPerBlock: Int
  /// The number of bytes one block takes.
  public let bytesPerBlock: Int
  /// The number GGUF gives the type, where it has one.
  public let ggufID: UInt32?
  /// The name safetensors gives the type, where it has one.
  public let safetensorsName: String?

  /// The name.
  public var description: String { name }

  /// Bits for one element: 32 for `F32`, 4.5 for `Q4_0`.
  public var bitsPerElement: Double { Double(8 * bytesPerBlock) / Double(elementsPerBlock) }

  /// The bytes `elements` elements take; nil where they do not fill whole blocks, or the number overflows.
  public func byteCount(of elements: Int) -> Int? {
    guard elements >= 0, elements % elementsPerBlock == 0 else { return nil }
    let (bytes, overflow) = (elements / elementsPerBlock).multipliedReportingOverflow(by: bytesPerBlock)
    return overflow ? nil : bytes
  }

  /// The bytes a tensor of `shape` takes; nil where its rows do not fill whole blocks, or the number overflows.
  ///
  /// - Parameter shape: dimensions, outermost first; rows run along the last.
  public func byteCount(ofShape shape: [Int]) -> Int? {
    guard let elements = Self.elementCount(shape) else { return nil }
    if let row = shape.last, row % elementsPerBlock != 0 { return nil }
    return byteCount(of: elements)
  }

  /// The product of `shape`; nil where it overflows or a dimension is negative.
  public static func elementCount(_ shape: [Int]) -> Int? {
    var product = 1
    for dimension in shape {
      let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else { return nil }
      product = next
    }
    return product
  }

  /// The type with GGUF's number `id`.
  public static func gguf(id: UInt32) -> StorageType? { byGGUF[id] }

  /// The type safetensors calls `name`.
  public static func safetensors(name: String) -> StorageType? { bySafetensors[name] }

  private static let byGGUF = Dictionary(
    uniqueKeysWithValues: all.compactMap { type in type.ggufID.map { ($0, type) } })
  private static let bySafetensors = Dictionary(
    uniqueKeysWithValues: all.compactMap { type in type.safetensorsName.map { ($0, type) } })

  /// A number type that is stored element by element.
  private init(plain name: String, _ bytes: Int, gguf: UInt32? = nil) {
    self.init(name, 1, bytes, gguf: gguf, safetensors: name)
  }

  private init(_ name: String, _ elements: Int, _ bytes: Int, gguf: UInt32? = nil, safetensors: String? = nil)
  {
    (self.name, elementsPerBlock, bytesPerBlock) = (name, elements, bytes)
    (ggufID, safetensorsName) = (gguf, safetensors)
  }
}

extension StorageType {
  /// 64-bit float.
  public static let f64 = StorageType(plain: "F64", 8, gguf: 28)
  /// 32-bit float.
  public static let f32 = StorageType(plain: "F32", 4, gguf: 0)
  /// 16-bit IEEE float.
  public static let f16 = StorageType(plain: "F16", 2, gguf: 1)
  /// The upper half of a 32-bit float.
  public static let bf16 = StorageType(plain: "BF16", 2, gguf: 30)
  /// Signed byte.
  public static let i8 = StorageType(plain: "I8", 1, gguf: 24)
  /// Signed 16-bit integer.
  public static let i16 = StorageType(plain: "I16", 2, gguf: 25)
  /// Signed 32-bit integer.
  public static let i32 = StorageType(plain: "I32", 4, gguf: 26)
  /// Signed 64-bit integer.
  public static let i64 = StorageType(plain: "I64", 8, gguf: 27)
  /// Unsigned byte.
  public static let u8 = StorageType(plain: "U8", 1)
  /// Unsigned 16-bit integer.
  public static let u16 = StorageType(plain: "U16", 2)
  /// Unsigned 32-bit integer.
  public static let u32 = StorageType(plain: "U32", 4)
  /// Unsigned 64-bit integer.
  public static let u64 = StorageType(plain: "U64", 8)
  /// A truth value in a byte.
  public static let bool = StorageType(plain: "BOOL", 1)
  /// 8-bit float with 4 bits of exponent.
  public static let f8_e4m3 = StorageType(plain: "F8_E4M3", 1)
  /// 8-bit float with 5 bits of exponent.
  public static let f8_e5m2 = StorageType(plain: "F8_E5M2", 1)
  /// A power of two in a byte, the scale of microscaling formats.
  public static let f8_e8m0 = StorageType(plain: "F8_E8M0", 1)
  /// 4-bit floats, two in a byte.
  public static let f4 = StorageType("F4", 2, 1, safetensors: "F4")
  /// 6-bit floats with 2 bits of exponent, four in three bytes.
  public static let f6_e2m3 = StorageType("F6_E2M3", 4, 3, safetensors: "F6_E2M3")
  /// 6-bit floats with 3 bits of exponent, four in three bytes.
  public static let f6_e3m2 = StorageType("F6_E3M2", 4, 3, safetensors: "F6_E3M2")

  /// 4 bits, a scale for 32.
  public static let q4_0 = StorageType("Q4_0", 32, 18, gguf: 2)
  /// 4 bits, a scale and a minimum for 32.
  public static let q4_1 = StorageType("Q4_1", 32, 20, gguf: 3)
  /// 5 bits, a scale for 32.
  public static let q5_0 = StorageType("Q5_0", 32, 22, gguf: 6)
  /// 5 bits, a scale and a minimum for 32.
  public static let q5_1 = StorageType("Q5_1", 32, 24, gguf: 7)
  /// 8 bits, a scale for 32.
  public static let q8_0 = StorageType("Q8_0", 32, 34, gguf: 8)
  /// 8 bits, a scale and a sum for 32; an engine's activations.
  public static let q8_1 = StorageType("Q8_1", 32, 36, gguf: 9)
  /// 2 bits, super-blocks of 256.
  public static let q2_k = StorageType("Q2_K", 256, 84, gguf: 10)
  /// 3 bits, super-blocks of 256.
  public static let q3_k = StorageType("Q3_K", 256, 110, gguf: 11)
  /// 4 bits, super-blocks of 256.
  public static let q4_k = StorageType("Q4_K", 256, 144, gguf: 12)
  /// 5 bits, super-blocks of 256.
  public static let q5_k = StorageType("Q5_K", 256, 176, gguf: 13)
  /// 6 bits, super-blocks of 256.
  public static let q6_k = StorageType("Q6_K", 256, 210, gguf: 14)
  /// 8 bits, super-blocks of 256; an engine's activations.
  public static let q8_k = StorageType("Q8_K", 256, 292, gguf: 15)
  /// 2.06 bits, a codebook of eights.
  public static let iq2_xxs = StorageType("IQ2_XXS", 256, 66, gguf: 16)
  /// 2.31 bits, a codebook of eights.
  public static let iq2_xs = StorageType("IQ2_XS", 256, 74, gguf: 17)
  /// 3.06 bits, a codebook of fours.
  public static let iq3_xxs = StorageType("IQ3_XXS", 256, 98, gguf: 18)
  /// 1.56 bits, a codebook of ternary eights.
  public static let iq1_s = StorageType("IQ1_S", 256, 50, gguf: 19)
  /// 4 bits, sixteen uneven levels, a scale for 32.
  public static let iq4_nl = StorageType("IQ4_NL", 32, 18, gguf: 20)
  /// 3.44 bits, a codebook of fours.
  public static let iq3_s = StorageType("IQ3_S", 256, 110, gguf: 21)
  /// 2.56 bits, a codebook of eights.
  public static let iq2_s = StorageType("IQ2_S", 256, 82, gguf: 22)
  /// 4.25 bits, sixteen uneven levels, super-blocks of 256.
  public static let iq4_xs = StorageType("IQ4_XS", 256, 136, gguf: 23)
  /// 1.75 bits, a codebook of ternary eights.
  public static let iq1_m = StorageType("IQ1_M", 256, 56, gguf: 29)
  /// Ternary, five in a byte.
  public static let tq1_0 = StorageType("TQ1_0", 256, 54, gguf: 34)
  /// Ternary, four in a byte.
  public static let tq2_0 = StorageType("TQ2_0", 256, 66, gguf: 35)
  /// 4-bit floats, a power-of-two scale for 32.
  public static let mxfp4 = StorageType("MXFP4", 32, 17, gguf: 39)
  /// 4-bit floats, an 8-bit float scale for 16.
  public static let nvfp4 = StorageType("NVFP4", 64, 36, gguf: 40)
  /// One bit, a scale for 128.
  public static let q1_0 = StorageType("Q1_0", 128, 18, gguf: 41)
  /// 2 bits, a scale for 64.
  public static let q2_0 = StorageType("Q2_0", 64, 18, gguf: 42)

  /// Every type a file may hold.
  public static let all: [StorageType] = [
    f64, f32, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, bool, f8_e4m3, f8_e5m2, f8_e8m0, f4, f6_e2m3,
    f6_e3m2, q4_0, q4_1, q5_0, q5_1, q8_0, q8_1, q2_k, q3_k, q4_k, q5_k, q6_k, q8_k, iq2_xxs, iq2_xs, iq3_xxs,
    iq1_s, iq4_nl, iq3_s, iq2_s, iq4_xs, iq1_m, tq1_0, tq2_0, mxfp4, nvfp4, q1_0, q2_0,
  ]
}
