import Foundation
import LatheEncoding
import LatheTensor
import LatheTestSupport
import Testing

/// Blocks against the bytes and numbers of the tools that defined them.
@Suite(.enabled(if: TestData.isPresent, "the format vectors are not at hand: set LATHE_DATA"))
struct VectorTests {
  static func vectors(_ name: String) throws -> [String: Any] {
    let data = try Data(contentsOf: URL(fileURLWithPath: TestData.path("format-vectors/" + name)))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  static func bytes(hex: String) -> [UInt8] {
    let digits = Array(hex.utf8)
    return stride(from: 0, to: digits.count, by: 2).map {
      UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16) ?? 0
    }
  }

  @Test(
    "every block type decodes as its definition says, by every kernel",
    arguments: Kernels.available.map(\.name))
  func decode(name: String) throws {
    let kernels = try #require(Kernels.available.first { $0.name == name })
    let types = try #require(try Self.vectors("decode.json")["gguf"] as? [String: [String: Any]])
    var tested = 0
    for (type, vector) in types {
      guard let encoding = StoredBlocks(named: type) else { continue }
      let blocks = try #require(vector["blocks_hex"] as? [String]).map(Self.bytes(hex:))
      let values = try #require(vector["values"] as? [NSNumber]).map(\.floatValue)
      let matrix = try EncodedMatrix(
        encoding: encoding, rows: blocks.count, columns: values.count / blocks.count,
        parts: [encoding.isDense ? "" : "blocks": Bytes(blocks.flatMap { $0 })])
      let decoded = matrix.decoded(with: kernels).values
      for (a, b) in zip(decoded, values) {
        #expect(
          a == b || abs(a - b) <= 2e-6 * abs(b) || (a.isNaN && b.isNaN), "\(type): \(a) where \(b) is due")
      }
      tested += 1
    }
    #expect(tested == types.count)
  }

  @Test(
    "rounding to nearest gives llama.cpp's bytes, with importances and without",
    arguments: BlockGrid.Kind.allCases, [false, true])
  func encode(kind: BlockGrid.Kind, weighed: Bool) throws {
    let vectors = try Self.vectors("encode.json")
    let x = try #require(vectors["x"] as? [NSNumber]).map(\.floatValue)
    let weights = try #require(vectors["imatrix"] as? [NSNumber]).map(\.floatValue)
    let key = weighed ? "bytes_hex_imatrix" : "bytes_hex"
    let hex = try #require((vectors[key] as? [String: String])?[kind.rawValue])
    let weight = Matrix(rows: 1, columns: x.count, values: x)
    let importance = weighed ? weights : nil
    let matrix = try #require(try BlockGrid(kind).nearest(to: weight, importance: importance))
    #expect(matrix.parts[0].elements(as: UInt8.self) == Self.bytes(hex: hex))
    // Column by column it is the same, but for importances that weigh by the variance of the whole row.
    if weighed && BlockGrid(kind).groupSize == 32 && kind != .iq4_nl { return }
    let (slow, _) = try GridTests.round(weight, onto: BlockGrid(kind), importance: importance)
    #expect(slow.parts[0].elements(as: UInt8.self) == Self.bytes(hex: hex))
  }

  @Test("dense bit packing is that of compressed-tensors")
  func packing() throws {
    let widths = try #require(
      try Self.vectors("decode.json")["compressed_tensors_dense"] as? [String: [String: Any]])
    for (width, vector) in widths {
      let bits = try #require(Int(width))
      let codes = try #require(vector["signed_codes"] as? [NSNumber]).map {
        UInt8($0.intValue + 1 << (bits - 1))
      }
      let words = try #require(vector["words"] as? [NSNumber]).map {
        UInt32(truncatingIfNeeded: $0.int64Value)
      }
      let packed = packCodes(codes, bits: bits, rows: 1, columns: codes.count).elements(as: UInt8.self)
      let expected = words.flatMap { word in
        (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) }
      }
      #expect(Array(expected.prefix(packed.count)) == packed, "\(bits) bits")
    }
  }
}
