import Foundation
import LatheEncoding
import LatheTensor
import Testing

/// The promises every grid keeps. A grid is tested by being in the list.
@Suite struct GridTests {
  static let grids: [any Grid] = {
    var grids: [any Grid] = BlockGrid.Kind.allCases.map { BlockGrid($0) }
    for bits in 1...8 {
      for group in [nil, 32, 100, 256] {
        if let grid = try? IntegerGrid(bits: bits, groupSize: group, isCentred: true) { grids.append(grid) }
        for symmetric in [true, false] {
          if let grid = try? IntegerGrid(bits: bits, groupSize: group, isSymmetric: symmetric) {
            grids.append(grid)
          }
        }
      }
    }
    for bits in [2, 4] {
      if let grid = try? IntegerGrid(bits: bits, groupSize: 64) { grids.append(grid.freeingZeros) }
    }
    grids += [
      NormalFloatGrid(.nf4, isDouble: false), NormalFloatGrid(.fp4, isDouble: false), NVFP4Grid(),
    ]
    for group in [nil, 32, 100] { if let grid = try? TernaryGrid(groupSize: group) { grids.append(grid) } }
    return grids
  }()

  static func weight(_ rows: Int, _ columns: Int) -> Matrix {
    var state: UInt64 = 7
    return Matrix(
      rows: rows, columns: columns,
      values: (0..<rows * columns).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (Float(state >> 40) / Float(1 << 24) - 0.4)
      })
  }

  /// Rounds a whole weight to nearest after all of it was seen, and returns the packed matrix and the points the grid promised.
  static func round<G: Grid>(_ weight: Matrix, onto grid: G, importance: [Float]? = nil) throws -> (
    EncodedMatrix, Matrix
  ) {
    let grid = grid.prepared(for: weight), columns = weight.transposed()
    let size = grid.groupSize ?? weight.columns
    var parameters: [G.Parameters] = [], codes: [UInt8] = [], points: [Float] = []
    for start in stride(from: 0, to: weight.columns, by: size) {
      let end = min(start + size, weight.columns)
      let group = Matrix(
        rows: end - start, columns: weight.rows,
        values: Array(columns.values[start * weight.rows..<end * weight.rows]))
      let fitted = grid.fit(group, shrink: 1, importance: importance.map { Array($0[start..<end]) })
      parameters.append(fitted)
      for j in start..<end {
        var c = [UInt8](repeating: 0, count: weight.rows), p = [Float](repeating: 0, count: weight.rows)
        grid.round(
          Array(columns.values[j * weight.rows..<(j + 1) * weight.rows]), at: j - start, count: weight.rows,
          under: fitted, codes: &c, points: &p)
        codes += c
        points += p
      }
    }
    let packed = try grid.pack(
      codes, parameters: parameters, groupOfColumn: nil, rows: weight.rows, columns: weight.columns)
    return (packed, Matrix(rows: weight.columns, columns: weight.rows, values: points).transposed())
  }

  @Test(
    "what is packed decodes to the points the grid promised, and multiplies like them",
    arguments: grids.indices)
  func roundTrip(index: Int) throws {
    let grid = Self.grids[index]
    let weight = Self.weight(24, 768)
    let (packed, points) = try Self.round(weight, onto: grid)
    for kernels in Kernels.available {
      let decoded = packed.decoded(with: kernels)
      for (a, b) in zip(decoded.values, points.values) { #expect(abs(a - b) <= 1e-6 * max(1, abs(b))) }
    }
    let team = ThreadTeam(count: 2)
    let x = Self.weight(9, 768)
    for tokens in [1, 9] {
      var out = [Float](repeating: 0, count: tokens * 24)
      packed.multiply(x.values, tokens: tokens, into: &out, team: team)
      for t in 0..<tokens {
        for r in 0..<24 {
          var sum = 0.0
          for j in 0..<768 { sum += Double(points[r, j]) * Double(x[t, j]) }
          #expect(abs(Double(out[t * 24 + r]) - sum) < 1e-3)
        }
      }
    }
  }

  @Test(
    "the fast way to the nearest points is the slow one", arguments: BlockGrid.Kind.allCases, [false, true])
  func nearest(kind: BlockGrid.Kind, weighed: Bool) throws {
    let grid = BlockGrid(kind)
    var weight = Self.weight(37, 512)
    // Rows that are zero, flat, of one sign, large, small and no numbers.
    for j in 0..<512 {
      weight[1, j] = 0
      weight[2, j] = 0.25
      weight[3, j] = abs(weight[3, j])
      weight[4, j] *= 1e30
      weight[5, j] *= 1e-30
      weight[6, j] = j == 77 ? .nan : weight[6, j]
      weight[7, j] = j == 99 ? .infinity : weight[7, j]
    }
    let importance = weighed ? (0..<512).map { Float($0 % 7) } : nil
    let fast = try #require(try grid.nearest(to: weight, importance: importance)).decoded()
    for r in 0..<37 where r != 6 && r != 7 {
      let isFinite = (0..<512).allSatisfy { fast[r, $0].isFinite }
      #expect(isFinite, "row \(r)")
    }
    // Other blocks of 32 weigh by the variance of the row, which only the fast way sees.
    if weighed && grid.groupSize == 32 && kind != .iq4_nl { return }
    let slow = try Self.round(weight, onto: grid, importance: importance).0.decoded()
    for r in 0..<37 where r != 6 && r != 7 {
      let differ = (0..<512).filter { fast[r, $0] != slow[r, $0] }
      #expect(differ.isEmpty, "row \(r): \(differ.prefix(3))")
    }
  }

  @Test("every instruction set writes the same blocks", arguments: BlockGrid.Kind.allCases, [false, true])
  func instructionSets(kind: BlockGrid.Kind, weighed: Bool) throws {
    let weight = Self.weight(19, 512), layout = try #require(BlockGrid(kind).storedLayout)
    let importance = weighed ? (0..<512).map { Float($0 % 5) + 0.5 } : nil
    let size = 19 * (try #require(layout.bytes(perRow: 512)))
    let all = Kernels.available.map { kernels in
      var out = [UInt8](repeating: 0, count: size)
      #expect(
        kernels.encode(weight.values, count: 19, 512, importance: importance, as: layout, into: &out))
      return out
    }
    for other in all { #expect(other == all[0]) }
    var out: [UInt8] = [0]
    #expect(!Kernels.best.encode([1], count: 1, 1, importance: nil, as: layout, into: &out))
  }

  @Test("more bits err less", arguments: [true, false])
  func monotone(symmetric: Bool) throws {
    let weight = Self.weight(16, 256)
    var last = Float.infinity
    for bits in 2...8 {
      let (_, points) = try Self.round(
        weight, onto: try IntegerGrid(bits: bits, groupSize: 64, isSymmetric: symmetric))
      let error = zip(points.values, weight.values).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect(error < last)
      last = error
    }
  }

  @Test(
    "a centred grid's points mirror each other, and its width errs less on a Gaussian than its neighbours")
  func centred() throws {
    // Sums of twelve uniform numbers.
    let uniform = Self.weight(4096, 12)
    let sums = (0..<4096).map { r in (0..<12).reduce(Float(0)) { $0 + uniform[r, $1] - 0.1 } }
    let weight = Matrix(rows: 4096, columns: 1, values: sums)
    for bits in 1...8 {
      let grid = try IntegerGrid(bits: bits, groupSize: nil, isCentred: true)
      func error(_ shrink: Float) -> Float {
        let fitted = grid.fit(weight, shrink: shrink, importance: nil)
        return weight.values.enumerated().reduce(0) { sum, item in
          var code: UInt8 = 0, point: Float = 0
          grid.round(
            [item.element], at: item.offset, count: 1, under: fitted, codes: &code, points: &point)
          return sum + (point - item.element) * (point - item.element)
        }
      }
      #expect(error(1) < error(0.8) && error(1) < error(1.25), "\(bits) bits")
      #expect(grid.label == "int\(bits)c row")
      let fitted = grid.fit(weight, shrink: 1, importance: nil)
      var code: UInt8 = 0, low: Float = 0, high: Float = 0
      grid.round([-100], at: 0, count: 1, under: fitted, codes: &code, points: &low)
      grid.round([100], at: 0, count: 1, under: fitted, codes: &code, points: &high)
      #expect(low == -high && low < 0 && code == UInt8((1 << bits) - 1))
    }
  }

  @Test("bits a weight are the bytes of the parts, scales and zero points included")
  func honestBits() throws {
    let weight = Self.weight(16, 256)
    let cases: [(any Grid, Double)] = [
      (try IntegerGrid(bits: 4, groupSize: 128), 4 + 20.0 / 128),
      (try IntegerGrid(bits: 4, groupSize: 128, isSymmetric: true), 4.125),
      (try IntegerGrid(bits: 3, groupSize: 64, isSymmetric: true), 3.25), (BlockGrid(.q4_0), 4.5),
      (BlockGrid(.q5_1), 6),
      (BlockGrid(.q8_0), 8.5), (try TernaryGrid(groupSize: 128), 52.0 * 8 / 256 + 0.125),
    ]
    for (grid, bits) in cases {
      let (packed, _) = try Self.round(weight, onto: grid)
      #expect(abs(packed.bitsPerWeight - bits) < 1e-9, "\(grid.label)")
      #expect(packed.byteCount == packed.parts.reduce(0) { $0 + $1.count })
    }
  }

  @Test("an encoding survives its description", arguments: grids.indices)
  func description(index: Int) throws {
    let description = Self.grids[index].description
    let data = try JSONEncoder().encode(description)
    #expect(try JSONDecoder().decode(EncodingDescription.self, from: data) == description)
  }

  @Test("parts of the wrong size, missing parts and unknown encodings are sentences")
  func hostile() throws {
    let grid = try IntegerGrid(bits: 4, groupSize: 32)
    #expect(throws: Problem.self) { try EncodedMatrix(encoding: grid, rows: 2, columns: 64, parts: [:]) }
    #expect(throws: Problem.self) {
      try EncodedMatrix(
        encoding: grid, rows: 2, columns: 64,
        parts: ["codes": Bytes([1]), "scales": Bytes([]), "zeros": Bytes([])])
    }
    #expect(throws: Problem.self) { try IntegerGrid(bits: 9, groupSize: 32) }
    #expect(throws: Problem.self) { try IntegerGrid(bits: 4, groupSize: 0) }
    #expect(throws: Problem.self) { try BlockGrid(.q4_0).parts(rows: 4, columns: 33) }
    #expect(throws: Problem.self) {
      try JSONDecoder().decode(EncodingDescription.self, from: Data(#"{"encoding":"none"}"#.utf8))
    }
    var scattered = grid
    scattered.hasGroupIndex = true
    let parts = [
      "codes": Bytes([UInt8](repeating: 0, count: 64)), "scales": Bytes([UInt8](repeating: 0, count: 8)),
      "zeros": Bytes([0, 0]), "groups": Bytes(elements: [UInt16](repeating: 2, count: 64)),
    ]
    #expect(throws: Problem.self) {
      try EncodedMatrix(encoding: scattered, rows: 2, columns: 64, parts: parts)
    }
  }

  @Test("rows can be chosen without knowing the encoding", arguments: grids.indices)
  func rows(index: Int) throws {
    let (packed, points) = try Self.round(Self.weight(8, 768), onto: Self.grids[index])
    let chosen = try packed.selectingRows([5, 0, 5])
    let decoded = chosen.decoded()
    for j in 0..<768 {
      #expect(abs(decoded[0, j] - points[5, j]) < 1e-6 && abs(decoded[1, j] - points[0, j]) < 1e-6)
    }
  }
}
