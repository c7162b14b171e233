import Foundation
import LatheEncoding
import LatheTensor
import LatheTestSupport
import Testing

/// Four-bit floats against the packages that defined their files (Scripts/fixtures/small_float_blocks.py).
@Suite struct SmallFloatTests {
  static func fixture(_ name: String) throws -> [String: Any] {
    let path = TestData.fixture("encoding/small_floats.json")
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let all = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    return try #require(all[name] as? [String: Any])
  }

  static func digest(_ bytes: [UInt8]) -> String {
    let hash = bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    return String(format: "%016lx", hash)
  }

  @Test("codes and doubly quantized scales are bitsandbytes'", arguments: NormalFloatGrid.Kind.allCases)
  func bitsandbytes(kind: NormalFloatGrid.Kind) throws {
    let fixture = try Self.fixture(kind.rawValue)
    let weight = GridTests.weight(96, 384)
    let (matrix, _) = try GridTests.round(weight, onto: NormalFloatGrid(kind).prepared(for: weight))
    let bytes = { (part: Int) in matrix.parts[part].elements(as: UInt8.self) }
    #expect(Self.digest(bytes(0)) == fixture["codes_fnv1a"] as? String)
    #expect(bytes(1) == VectorTests.bytes(hex: try #require(fixture["scales_hex"] as? String)))
    let factors = try #require(fixture["factors"] as? [NSNumber]).map(\.floatValue)
    for (a, b) in zip(matrix.parts[2].elements(as: Float.self), factors) { #expect(abs(a - b) < 1e-6) }
    let offset = try #require(fixture["offset"] as? NSNumber).floatValue
    #expect(abs(matrix.parts[3].elements(as: Float.self)[0] - offset) < 1e-6)
    let error = zip(matrix.decoded().values, weight.values).reduce(0.0) {
      $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
    }
    #expect(abs(error - (try #require(fixture["squared_error"] as? NSNumber).doubleValue)) < 1e-3)
  }

  @Test("NVFP4 is compressed-tensors'")
  func nvfp4() throws {
    let fixture = try Self.fixture("nvfp4")
    let all = GridTests.weight(96, 384)
    let weight = Matrix(rows: 24, columns: 384, values: Array(all.values[..<(24 * 384)]))
    let (matrix, _) = try GridTests.round(weight, onto: NVFP4Grid().prepared(for: weight))
    let scales = VectorTests.bytes(hex: try #require(fixture["scales_hex"] as? String))
    let codes = VectorTests.bytes(hex: try #require(fixture["codes_hex"] as? String))
    #expect(matrix.parts[1].elements(as: UInt8.self) == scales)
    // Of a zero the sign may differ: a number that is rounded to nought has one there.
    let ours = matrix.parts[0].elements(as: UInt8.self).flatMap { [$0 & 15, $0 >> 4] }
    let theirs = codes.flatMap { [$0 & 15, $0 >> 4] }
    let differ = zip(ours, theirs).filter { $0 != $1 && !($0 & 7 == 0 && $1 & 7 == 0) }
    #expect(differ.isEmpty, "\(differ.count) of \(ours.count)")
    let whole = try #require(fixture["global_scale"] as? NSNumber).floatValue
    #expect(abs(matrix.parts[2].elements(as: Float.self)[0] * whole - 1) < 1e-6)
  }

  @Test("honest bits: every scale counted")
  func bits() throws {
    let weight = GridTests.weight(128, 4096)
    func bits<G: Grid>(_ grid: G) throws -> Double {
      try GridTests.round(weight, onto: grid.prepared(for: weight)).0.bitsPerWeight
    }
    #expect(abs(try bits(NormalFloatGrid(.nf4)) - 4.127) < 0.0005)
    #expect(try bits(NormalFloatGrid(.fp4, isDouble: false)) == 4.5)
    #expect(try bits(BlockGrid(.mxfp4)) == 4.25)
    #expect(abs(try bits(NVFP4Grid()) - 4.5) < 1e-4)
  }

  @Test("runs of rows that are quantized apart make the whole's bytes")
  func slices() throws {
    let weight = GridTests.weight(96, 384)
    for grid in [NormalFloatGrid(.nf4), NormalFloatGrid(.fp4)] {
      let prepared = grid.prepared(for: weight)
      let multiple = prepared.rowMultiple(columns: 384)
      #expect(multiple == 128)
      let wide = GridTests.weight(12, 8192), whole = grid.prepared(for: wide)
      #expect(whole.rowMultiple(columns: 8192) == 2)
      let parts = try [0..<4, 4..<6, 6..<12].map { range in
        let slice = Matrix(
          rows: range.count, columns: 8192,
          values: Array(wide.values[range.lowerBound * 8192..<range.upperBound * 8192]))
        return try GridTests.round(slice, onto: whole).0
      }
      let stacked = try EncodedMatrix(stacking: parts)
      let (once, _) = try GridTests.round(wide, onto: whole)
      #expect(stacked.parts == once.parts)
      #expect(throws: Problem.self) { try once.selectingRows([1, 0]) }
    }
  }

  @Test("weights that are zero, huge, tiny or no numbers end in numbers", arguments: 0..<5)
  func hostile(index: Int) throws {
    var weight = GridTests.weight(8, 128)
    for j in 0..<128 {
      weight[0, j] = 0
      weight[1, j] = j == 3 ? .nan : weight[1, j]
      weight[2, j] = j == 5 ? .infinity : weight[2, j]
      weight[3, j] *= 1e-38
      weight[4, j] *= 1e34
    }
    let grids: [any Grid] = [
      NormalFloatGrid(.nf4), NormalFloatGrid(.fp4), NormalFloatGrid(.nf4, isDouble: false), BlockGrid(.mxfp4),
      NVFP4Grid(),
    ]
    func check<G: Grid>(_ grid: G) throws {
      let decoded = try GridTests.round(weight, onto: grid.prepared(for: weight)).0.decoded()
      for r in [0, 3, 4, 5] {
        let isFinite = (0..<128).allSatisfy { decoded[r, $0].isFinite }
        #expect(isFinite, "\(grid.label), row \(r)")
      }
    }
    try check(grids[index])
  }
}
