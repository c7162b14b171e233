import LatheEncoding
import LatheTensor
import Testing

/// Encodings whose codes name entries of tables, or whose columns are put in order, in tiles: against what they decode to.
@Suite struct NamedTileTests {
  static let shapes = [(21, 256), (16, 288), (37, 52), (5, 640)]

  /// The largest error of two products with inputs that rounding leaves, as a share of Σ |weight · input|.
  private func error(_ matrix: EncodedMatrix, inAnyOrder: Bool = false) throws -> Double {
    var worst = 0.0
    for kernels in Kernels.available {
      let tiles = try #require(
        matrix.tiled(team: TiledMatrixTests.team, with: kernels), "\(matrix.encoding.label)")
      // In any order these are exact too: their largest magnitude is everywhere.
      let row = TiledMatrixTests.inputs(matrix.columns)
      let x = (0..<6).flatMap { t in row.map { $0 == 127 ? $0 : $0 - Float(t) } }.map {
        inAnyOrder ? ($0 < 0 ? -127 : 127) : $0
      }
      var out = [Float](repeating: 0, count: 6 * matrix.rows)
      out.withUnsafeMutableBufferPointer { out in
        guard let out = out.baseAddress else { return }
        Tiles.multiply([(tiles, out)], by: x, tokens: 6, inputs: TileInputs(), team: TiledMatrixTests.team)
      }
      let values = matrix.decoded().values
      for t in 0..<6 {
        for r in 0..<matrix.rows {
          var sum = 0.0, size = 1e-9
          for j in 0..<matrix.columns {
            let term = Double(values[r * matrix.columns + j]) * Double(x[t * matrix.columns + j])
            sum += term
            size += abs(term)
          }
          worst = max(worst, abs(Double(out[t * matrix.rows + r]) - sum) / size)
        }
      }
    }
    return worst
  }

  @Test("E2M1 is exact but for binary16 scales; what has no whole entries errs by a 250th at most")
  func tables() throws {
    for (rows, columns) in Self.shapes {
      let weight = GridTests.weight(rows, columns)
      #expect(try error(GridTests.round(weight, onto: NVFP4Grid()).0) < 5e-4)
      for isDouble in [false, true] {
        #expect(try error(GridTests.round(weight, onto: NormalFloatGrid(.nf4, isDouble: isDouble)).0) < 4e-3)
        #expect(try error(GridTests.round(weight, onto: NormalFloatGrid(.fp4, isDouble: isDouble)).0) < 6e-3)
      }
    }
  }

  @Test("scales that binary16 cannot hold leave a table's matrix to the exact way")
  func unfit() throws {
    for size in [Float(1e-9), 1e9] {
      var weight = GridTests.weight(4, 64)
      for i in weight.values.indices { weight.values[i] *= size }
      let matrix = try GridTests.round(weight, onto: NormalFloatGrid(.nf4, isDouble: false)).0
      #expect(matrix.tiled(team: TiledMatrixTests.team) == nil)
    }
  }

  @Test("columns that name their groups are put in the groups' order", arguments: [2, 3, 4, 8])
  func scattered(bits: Int) throws {
    for (group, columns) in [(32, 256), (64, 160), (128, 640), (16, 80)] {
      let grid = try IntegerGrid(bits: bits, groupSize: group), rows = 19
      for grid in [grid, grid.freeingZeros, try IntegerGrid(bits: bits, groupSize: group, isSymmetric: true)]
      {
        let groups = (columns + group - 1) / group
        let parameters = (0..<groups).map {
          grid.fit(
            GridTests.weight(rows, group + $0).transposed(), shrink: 1 - Float($0) / 100, importance: nil)
        }
        let codes = TiledMatrixTests.bytes(rows * columns, 5).map { $0 >> UInt8(8 - bits) }
        // Every column number once, in an order of its own.
        let index = (0..<columns).map { ($0 * 37 + 11) % columns / group }
        func pack(_ index: [Int]) throws -> EncodedMatrix {
          try grid.pack(codes, parameters: parameters, groupOfColumn: index, rows: rows, columns: columns)
        }
        if Set(index).count == groups, columns % 37 != 0 {
          #expect(try error(pack(index), inAnyOrder: true) < 2e-6, "\(grid.label), \(columns) columns")
        }
        // Groups of other sizes are left to the exact way.
        if groups > 1 {
          let uneven = try pack([Int](repeating: 0, count: columns - 1) + [1])
          #expect(uneven.tiled(team: TiledMatrixTests.team) == nil)
        }
      }
    }
  }

  @Test(
    "two planes, one of them the second sign of salient columns, err by a 127th of the largest level at most")
  func planes() throws {
    for (rows, columns) in Self.shapes {
      for block in [32, 128, 1 << 20] {
        let encoding = try BinaryPlanes(blockSize: block), count = rows * columns
        let blocks = (columns - 1) / block + 1
        let matrix = try encoding.pack(
          isSalient: (0..<columns).map { $0 % 7 < 2 }, signs: TiledMatrixTests.bytes(count, 1).map { $0 & 1 },
          second: TiledMatrixTests.bytes(count, 2).map { $0 & 1 },
          levels: TiledMatrixTests.bytes(rows * blocks * BinaryPlanes.levelCount, 3).map {
            Float($0) / 256 - 0.4
          },
          rows: rows, columns: columns)
        #expect(try error(matrix) < 6e-3, "\(columns) columns in blocks of \(block)")
      }
    }
  }

  /// A matrix of which a share is salient, in random places.
  static func partly(_ rows: Int, _ columns: Int, group: Int, share: Double, scale: Float) throws
    -> EncodedMatrix
  {
    let encoding = try PartlyBinary(groupSize: group, salientShare: share), groups = (columns - 1) / group + 1
    var content = PartlyBinary.Content(rows: rows, columns: columns, groups: groups)
    let bytes = TiledMatrixTests.bytes(rows * columns, 4)
    for start in stride(from: 0, to: columns, by: group) {
      let width = min(group, columns - start), count = encoding.salientCount(rows: rows, columns: width)
      // The places of the group in an order of their own; what has none of its share in row 0 is tested too.
      var places = (width..<rows * width).sorted { bytes[$0] != bytes[$1] ? bytes[$0] < bytes[$1] : $0 < $1 }
      places += 0..<width
      for place in places.prefix(count) {
        content.isSalient[place / width * columns + start + place % width] = true
      }
    }
    for i in bytes.indices { content.codes[i] = content.isSalient[i] ? bytes[i] : bytes[i] >> 5 & 1 }
    content.means = TiledMatrixTests.bytes(rows * groups, 5).map { scale * (Float($0) / 256 - 0.5) / 4 }
    content.scales = TiledMatrixTests.bytes(rows * groups, 6).map { scale * (Float($0) / 256 + 1) }
    content.salientScales = TiledMatrixTests.bytes(rows, 7).map { (Float($0) + 64) / 32768 }
    content.salientZeros = TiledMatrixTests.bytes(rows, 8).map { $0 / 8 + 112 }
    return try encoding.pack(content, rows: rows, columns: columns)
  }

  @Test(
    "salient weights are exact among signs, which err by half a step of theirs", arguments: [0, 0.1, 0.9])
  func patches(share: Double) throws {
    for (rows, columns) in Self.shapes {
      for group in [32, 128, 1 << 20] {
        let matrix = try Self.partly(rows, columns, group: group, share: share, scale: 0.1)
        #expect(try error(matrix) < 2e-2, "\(columns) columns in groups of \(group)")
      }
    }
    // Levels below a few steps of the salient weights would be lost.
    if share > 0 {
      let small = try Self.partly(20, 128, group: 128, share: share, scale: 0.003)
      #expect(small.tiled(team: TiledMatrixTests.team) == nil)
    }
  }
}
