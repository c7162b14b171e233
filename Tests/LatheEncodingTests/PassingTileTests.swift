import LatheEncoding
import LatheTensor
import Testing

/// Tiles that are laid out at their second use: what the first gives in passing, against what they give once laid out.
@Suite struct PassingTileTests {
  /// A matrix by name.
  struct Sample: Sendable {
    let name: String
    let make: @Sendable () throws -> EncodedMatrix
  }

  /// Matrices of every encoding whose codes have tiles, of rows that fill no tile and columns that fill no group.
  static let samples: [Sample] = {
    var samples = StoredLayout.all.filter { Tiling($0) != nil }.map { layout in
      Sample(name: layout.name) { try stored(layout) }
    }
    for bits in 1...8 {
      for (group, columns) in [(16, 288), (32, 52), (64, 640), (128, 700)] {
        for isSymmetric in [false, true] {
          let name = "int\(bits) g\(group) \(isSymmetric)"
          samples.append(
            Sample(name: name) {
              try round(IntegerGrid(bits: bits, groupSize: group, isSymmetric: isSymmetric), columns)
            })
        }
      }
    }
    return samples + [
      Sample(name: "free zeros") { try round(IntegerGrid(bits: 3, groupSize: 64).freeingZeros) },
      Sample(name: "whole rows") { try round(IntegerGrid(bits: 4, groupSize: nil)) },
      Sample(name: "ternary") { try round(TernaryGrid(groupSize: 64)) },
      Sample(name: "nf4") { try round(NormalFloatGrid(.nf4)) },
      Sample(name: "fp4") { try round(NormalFloatGrid(.fp4)) },
      Sample(name: "nvfp4") { try round(NVFP4Grid()) },
      Sample(name: "patches") { try NamedTileTests.partly(75, 640, group: 128, share: 0.1, scale: 0.1) },
      Sample(name: "planes", make: planes), Sample(name: "columns in order", make: scattered),
    ]
  }()

  private static func stored(_ layout: StoredLayout) throws -> EncodedMatrix {
    let rows = 75, columns = 768
    if let kind = BlockGrid.Kind(rawValue: layout.name) { return try round(BlockGrid(kind), columns) }
    let width = layout.bytes(perRow: columns) ?? 0
    // Small exponents wherever a scale may be.
    let raw = TiledMatrixTests.bytes(rows * width, 3).map { $0 & 0x2B }
    return try EncodedMatrix(
      encoding: StoredBlocks(layout), rows: rows, columns: columns, parts: ["blocks": Bytes(raw)])
  }

  @Sendable private static func planes() throws -> EncodedMatrix {
    let rows = 75, columns = 640, count = rows * columns
    let levels = TiledMatrixTests.bytes(rows * 5 * BinaryPlanes.levelCount, 3).map { Float($0) / 256 - 0.4 }
    return try BinaryPlanes(blockSize: 128).pack(
      isSalient: (0..<columns).map { $0 % 7 < 2 }, signs: TiledMatrixTests.bytes(count, 1).map { $0 & 1 },
      second: TiledMatrixTests.bytes(count, 2).map { $0 & 1 }, levels: levels, rows: rows, columns: columns)
  }

  @Sendable private static func scattered() throws -> EncodedMatrix {
    let rows = 75, columns = 640, grid = try IntegerGrid(bits: 4, groupSize: 64)
    let parameters = (0..<10).map {
      grid.fit(GridTests.weight(rows, 64 + $0).transposed(), shrink: 1, importance: nil)
    }
    return try grid.pack(
      TiledMatrixTests.bytes(rows * columns, 5).map { $0 >> 4 }, parameters: parameters,
      groupOfColumn: (0..<columns).map { ($0 * 37 + 11) % columns / 64 }, rows: rows, columns: columns)
  }

  private static func round(_ grid: some Grid, _ columns: Int = 640) throws -> EncodedMatrix {
    try GridTests.round(GridTests.weight(75, columns), onto: grid).0
  }

  private func products(_ tiles: [Tiles], _ x: [Float], _ tokens: Int, _ team: ThreadTeam) -> [[Float]] {
    var outs = tiles.map { [Float](repeating: .nan, count: tokens * $0.rows) }
    let pointers = tiles.map { UnsafeMutablePointer<Float>.allocate(capacity: tokens * $0.rows) }
    defer { for pointer in pointers { pointer.deallocate() } }
    Tiles.multiply(
      zip(tiles, pointers).map { ($0, $1) }, by: x, tokens: tokens, inputs: TileInputs(), team: team)
    for i in tiles.indices {
      outs[i] = Array(UnsafeBufferPointer(start: pointers[i], count: tokens * tiles[i].rows))
    }
    return outs
  }

  @Test(
    "rows packed as they are stored give the bits of their codes, in every set", arguments: samples.indices)
  func storedAtOnce(index: Int) throws {
    // Four tiles are packed at once, what fills no tile row by row.
    let matrix = try Self.samples[index].make(), name = Self.samples[index].name
    let team = ThreadTeam(count: 2)
    let tiling = try #require(matrix.encoding.tiling(of: matrix))
    let x = GridTests.weight(9, matrix.columns).values
    for kernels in Kernels.available {
      let packed = try #require(matrix.tiled(team: team, with: kernels))
      let source = TileSource(read: { row, codes in
        matrix.encoding.readCodes(of: matrix, row: row, into: codes, with: kernels)
      })
      let read = try #require(
        Tiles(rows: matrix.rows, columns: matrix.columns, tiling: tiling, kernels: kernels, from: source))
      #expect(read.layOut(team: team))
      #expect(
        products([packed], x, 9, team) == products([read], x, 9, team), "\(name), \(kernels.name)")
    }
  }

  @Test("a first use gives the bits of tiles, and so do all after it", arguments: samples.indices)
  func sameBits(index: Int) throws {
    let matrix = try Self.samples[index].make(), name = Self.samples[index].name
    for threads in [1, 2] {
      let team = ThreadTeam(count: threads)
      for kernels in Kernels.available {
        let whole = try #require(matrix.tiled(team: team, with: kernels), "\(name)")
        for tokens in [1, 2, 13, 40] {
          let x = GridTests.weight(tokens, matrix.columns).values
          let passing = try #require(matrix.tiled(later: true, team: team, with: kernels), "\(name)")
          let expected = products([whole], x, tokens, team)[0]
          for use in 1...3 {
            #expect(
              products([passing], x, tokens, team)[0] == expected, "\(name), \(kernels.name), use \(use)")
          }
        }
      }
    }
  }

  @Test(
    "matrices that were used before go together with those that were not, and several users may come at once")
  func together() async throws {
    let team = ThreadTeam(count: 2)
    let matrix = try Self.round(IntegerGrid(bits: 4, groupSize: 128))
    let x = GridTests.weight(3, 640).values
    func make(_ isLate: Bool) throws -> Tiles { try #require(matrix.tiled(later: isLate, team: team)) }
    let expected = try products([make(false)], x, 3, team)[0]
    let used = try make(true)
    #expect(products([used], x, 3, team)[0] == expected)
    #expect(
      try products([make(true), used, make(false), make(true)], x, 3, team).allSatisfy { $0 == expected })
    for _ in 0..<20 {
      let shared = try make(true)
      let isSame = await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<3 {
          group.addTask {
            let own = ThreadTeam(count: 1)
            return (0..<4).allSatisfy { _ in products([shared], x, 3, own)[0] == expected }
          }
        }
        return await group.reduce(true) { $0 && $1 }
      }
      #expect(isSame)
    }
  }
}
