import LatheEncoding
import LatheTensor
import LatheTestSupport
import Testing

/// Encodings in tiles against the numbers they decode to.
@Suite struct TiledMatrixTests {
  static let team = ThreadTeam(count: 2)

  static func bytes(_ count: Int, _ seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 40)
    }
  }

  /// Inputs that rounding leaves as they are: whole numbers of which each run of 32 has one of 127.
  static func inputs(_ count: Int) -> [Float] {
    bytes(count, 99).enumerated().map {
      $0.offset % 32 == 5 ? 127 : Float(Int8(bitPattern: $0.element / 2)) - 60
    }
  }

  private func check(_ matrix: EncodedMatrix, _ label: String) throws {
    let tiles = try #require(matrix.tiled(team: Self.team), "\(label)")
    let x = Self.inputs(2 * matrix.columns)
    var out = [Float](repeating: 0, count: 2 * matrix.rows)
    out.withUnsafeMutableBufferPointer { out in
      guard let out = out.baseAddress else { return }
      Tiles.multiply([(tiles, out)], by: x, tokens: 2, inputs: TileInputs(), team: Self.team)
    }
    let values = matrix.decoded().values
    for t in 0..<2 {
      for r in 0..<matrix.rows {
        var sum = 0.0, size = 0.0
        for j in 0..<matrix.columns {
          let term = Double(values[r * matrix.columns + j]) * Double(x[t * matrix.columns + j])
          sum += term
          size += abs(term)
        }
        #expect(abs(Double(out[t * matrix.rows + r]) - sum) <= 2e-6 * size + 1e-9, "\(label), row \(r)")
      }
    }
  }

  @Test(
    "stored blocks in tiles are the numbers they decode to",
    arguments: StoredLayout.all.filter { Tiling($0) != nil }.map(\.name))
  func stored(name: String) throws {
    let encoding = try #require(StoredBlocks(named: name)), layout = encoding.layout
    for columns in [512, 1024] {
      let width = try #require(layout.bytes(perRow: columns)), rows = 19
      var raw = Self.bytes(rows * width, 3)
      // Scales anywhere in a block may be no numbers: their high bytes are kept small, whatever the layout.
      for at in raw.indices { Self.tame(&raw, at, layout) }
      try check(
        EncodedMatrix(encoding: encoding, rows: rows, columns: columns, parts: ["blocks": Bytes(raw)]), name)
    }
  }

  /// The exponents of a block's binary16 scales, and of those in powers of two, are brought near one.
  private static func tame(_ raw: inout [UInt8], _ at: Int, _ layout: StoredLayout) {
    let place = at % layout.bytesPerBlock
    let highs: [String: [Int]] = [
      "Q2_K": [81, 83], "Q3_K": [109], "Q4_K": [1, 3], "Q5_K": [1, 3], "Q6_K": [209], "Q4_1": [1, 3],
      "Q5_1": [1, 3], "TQ1_0": [53], "TQ2_0": [65],
    ]
    if layout.name == "MXFP4" {
      if place == 0 { raw[at] = 120 + raw[at] % 16 }
    } else if layout.name != "NVFP4", (highs[layout.name] ?? [1]).contains(place) {
      raw[at] = raw[at] & 0x83 | 0x28
    }
    // 0x7F is no number as a scale of NVFP4.
    if layout.name == "NVFP4", place < 4 { raw[at] &= 0x7E }
  }

  @Test("integers and trits in tiles are the numbers they decode to", arguments: 1...8)
  func grids(bits: Int) throws {
    var grids: [any Grid] = []
    for group in [16, 32, 64, 128, nil] as [Int?] {
      let plain = try IntegerGrid(bits: bits, groupSize: group)
      grids += [
        plain, plain.freeingZeros, try IntegerGrid(bits: bits, groupSize: group, isSymmetric: true),
        try IntegerGrid(bits: bits, groupSize: group, isCentred: true), try TernaryGrid(groupSize: group),
      ]
    }
    for grid in grids {
      for columns in [256, 288, 52] {
        let weight = Matrix(
          rows: 21, columns: columns, values: Self.bytes(21 * columns, 7).map { Float($0) / 128 - 1 })
        try check(GridTests.round(weight, onto: grid).0, "\(grid.label), \(columns) columns")
      }
    }
  }

  @Test("what has no whole codes has no tiles")
  func without() throws {
    let dense = try EncodedMatrix(Matrix(zeros: 16, 64))
    #expect(dense.tiled(team: Self.team) == nil)
  }
}
