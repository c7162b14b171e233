import LatheTensor
import Testing

extension Tiles {
  /// Lays a matrix out; nil where a row has no place in tiles.
  convenience init?(
    rows: Int, columns: Int, tiling: Tiling, isDelicate: Bool = false, team: ThreadTeam,
    kernels: Kernels = .best, read: @escaping @Sendable (_ row: Int, _ to: CodeRow) -> Bool
  ) {
    self.init(
      rows: rows, columns: columns, tiling: tiling, isDelicate: isDelicate, kernels: kernels,
      from: TileSource(read: read))
    guard layOut(team: team) else { return nil }
  }
}

/// Products of tiles against sums over the codes themselves.
@Suite struct TileTests {
  /// A matrix as codes and parameters, and a plain product with inputs rounded as tiles round them.
  struct Plain: Sendable {
    let rows, columns: Int
    let tiling: Tiling
    let codes: [[UInt8]]
    let scales, halfZeros, minimums: [[UInt16]]
    let scaleCodes: [[Int8]]
    let bytes: [[UInt8]]

    init(rows: Int, columns: Int, tiling: Tiling, extreme: Bool = false) {
      (self.rows, self.columns, self.tiling) = (rows, columns, tiling)
      let groups = (columns + min(tiling.group, columns) - 1) / min(tiling.group, columns)
      func table<T>(_ width: Int, _ seed: UInt64, _ make: (Float) -> T) -> [[T]] {
        (0..<rows).map { row in
          KernelTests.numbers(width, seed &+ UInt64(row)).map { make($0) }
        }
      }
      let top = Float((1 << tiling.bits) - 1)
      let plain = table(columns, 1) { UInt8((extreme ? ($0 < 0 ? 0 : 1) : ($0 + 1) / 2) * top) }
      // Of four rows one has the largest codes alone, and one none but zeros.
      codes = plain.enumerated().map { row, codes in
        !extreme || row % 4 > 1 ? codes : codes.map { _ in row % 4 == 0 ? UInt8(top) : 0 }
      }
      let largest: Float = extreme ? 60000 : 0.01
      scales = table(groups, 1000) { HalfPrecision.bits(largest * ($0 + 1.1) / 2.2) }
      halfZeros = table(groups, 2000) { HalfPrecision.bits(top * ($0 + 1) / 2) }
      minimums = table(groups, 3000) { HalfPrecision.bits($0) }
      scaleCodes = table(groups, 4000) { Int8($0 * 63) }
      bytes = table(groups, 5000) { UInt8(($0 + 1) / 2 * top) }
    }

    func read(_ row: Int, _ to: CodeRow) -> Bool {
      func copy<T>(_ values: [T], _ target: UnsafeMutablePointer<T>?) {
        for (i, value) in values.enumerated() { target?[i] = value }
      }
      copy(codes[row], to.codes)
      if case .coded(let span) = tiling.scales {
        let supers = (scales[row].count + span - 1) / span
        copy(Array(scales[row].prefix(supers)), to.scales)
        copy(Array(minimums[row].prefix(supers)), to.minimums)
      } else {
        copy(scales[row], to.scales)
        copy(minimums[row], to.minimums)
      }
      copy(scaleCodes[row], to.scaleCodes)
      copy(bytes[row], to.minimumCodes)
      copy(bytes[row], to.zeros)
      copy(halfZeros[row], to.halfZeros)
      return true
    }

    /// The weight as a number.
    func value(_ row: Int, _ column: Int) -> Double {
      let g = column / min(tiling.group, columns)
      func half(_ table: [[UInt16]], _ index: Int) -> Double {
        Double(HalfPrecision.value(table[row][index]))
      }
      var code = Double(codes[row][column])
      if let table = tiling.table { code = Double(table[Int(codes[row][column])]) }
      var scale = half(scales, g), minimum = half(minimums, g)
      if case .coded(let span) = tiling.scales {
        let byte = scaleCodes[row][g]
        scale = half(scales, g / span)
        minimum = -half(minimums, g / span) * Double(bytes[row][g])
        if tiling.offsets == .nibbles {
          minimum = -half(minimums, g / span) * Double(UInt8(bitPattern: byte) >> 4)
          scale *= Double(UInt8(bitPattern: byte) & 15)
        } else {
          scale *= Double(byte)
        }
      }
      switch tiling.offsets {
      case .constant(let zero): return scale * (code - Double(zero))
      case .zeros: return scale * (code - Double(bytes[row][g]))
      case .halfZeros: return scale * (code - half(halfZeros, g))
      case .minimums, .nibbles: return scale * code + minimum
      }
    }

    private static func powerOfTwo(above x: Float) -> Float {
      x.significand == 1 ? x : Float(sign: .plus, exponent: x.exponent + 1, significand: 1)
    }

    /// Inputs rounded in runs of `group`, with a power of two as their step where they are binary.
    static func rounded(_ x: ArraySlice<Float>, group: Int, isBinary: Bool) -> [Double] {
      stride(from: x.startIndex, to: x.endIndex, by: group).flatMap { start in
        let run = x[start..<min(start + group, x.endIndex)]
        let least = (run.map { abs($0) }.max() ?? 0) / 127
        let scale = isBinary && least > 0 ? powerOfTwo(above: least) : least
        return run.map {
          scale > 0 ? Double(($0 * (1 / scale)).rounded(.toNearestOrEven)) * Double(scale) : 0
        }
      }
    }
  }

  static let tilings: [Tiling] =
    (1...8).flatMap { bits -> [Tiling] in
      [16, 32, 64, 96, 128, 256, 1 << 20].flatMap { group -> [Tiling] in
        [
          Tiling(bits: bits, group: group, offsets: .constant(Float(1 << (bits - 1)))),
          Tiling(bits: bits, group: group, offsets: .constant(Float((1 << bits) - 1) / 2)),
          Tiling(bits: bits, group: group, offsets: .zeros),
          Tiling(bits: bits, group: group, offsets: .halfZeros),
          Tiling(bits: bits, group: group, offsets: .minimums),
          Tiling(bits: bits, group: group, scales: .coded(span: 8), offsets: .constant(2)),
          Tiling(bits: bits, group: group, scales: .coded(span: 8), offsets: .minimums),
          Tiling(bits: bits, group: group, scales: .coded(span: 16), offsets: .nibbles),
        ]
      }
    }
    + [16, 32, 128].map {
      Tiling(
        bits: 4, group: $0, offsets: .constant(128),
        table: [0, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 255])
    }

  /// The columns that share an input's scale.
  static func inputGroup(_ tiling: Tiling, _ columns: Int) -> Int {
    if tiling.group == 16 { return 32 }
    let group = tiling.group >= columns ? (columns + 31) / 32 * 32 : tiling.group
    return [128, 64, 32].first { group % $0 == 0 && columns % $0 == 0 } ?? 32
  }

  private func check(
    _ tiling: Tiling, rows: Int, columns: Int, tokens: Int, kernels: Kernels, extreme: Bool = false
  ) throws {
    let plain = Plain(rows: rows, columns: columns, tiling: tiling, extreme: extreme)
    let team = ThreadTeam(count: 2)
    let made = Tiles(rows: rows, columns: columns, tiling: tiling, team: team, kernels: kernels) { row, to in
      plain.read(row, to)
    }
    let tiles = try #require(made)
    var x = KernelTests.numbers(tokens * columns, 7, scale: 3)
    if extreme {
      // The outermost inputs: of one sign, of the other, of both in turn.
      for t in 0..<tokens where t % 4 < 3 {
        for j in 0..<columns { x[t * columns + j] = t % 4 == 0 || (t % 4 == 2 && j % 2 == 0) ? 3 : -3 }
      }
    }
    var out = [Float](repeating: .nan, count: tokens * rows)
    x.withUnsafeBufferPointer { x in
      out.withUnsafeMutableBufferPointer { out in
        guard let x = x.baseAddress, let out = out.baseAddress else { return }
        Tiles.multiply([(tiles, out)], by: x, tokens: tokens, inputs: TileInputs(), team: team)
      }
    }
    for t in 0..<tokens {
      // A few vectors are rounded twice: all but exactly.
      let vector = x[t * columns..<(t + 1) * columns]
      let isTwice = tokens <= 5 && tiling.bits > 2
      let group = Self.inputGroup(tiling, columns)
      let isBinary = group == 32 && (tiling.group <= 32 || columns <= 32)
      let input =
        isTwice ? vector.map(Double.init) : Plain.rounded(vector, group: group, isBinary: isBinary)
      for row in 0..<rows {
        var sum = 0.0, size = 0.0
        for j in 0..<columns {
          let term = plain.value(row, j) * input[j]
          sum += term
          size += abs(term)
        }
        let found = Double(out[t * rows + row])
        #expect(
          abs(found - sum) <= (isTwice ? 1e-4 : 1e-5) * size + 1e-6,
          "\(tiling), row \(row), token \(t): \(found) where \(sum) is due")
      }
    }
  }

  @Test("tiles of every shape multiply as their codes say, in every set", arguments: KernelTests.sets)
  func product(name: String) throws {
    let kernels = try KernelTests.set(name)
    for (index, tiling) in Self.tilings.enumerated() {
      // Odd sizes: rows that do not fill a tile, columns that do not fill a group, every run of tokens.
      let columns = [288, 96, 52, 256, 173, 640][index % 6]
      try check(
        tiling, rows: [17, 16, 5, 33][index % 4], columns: columns, tokens: 1 + index % 31, kernels: kernels)
    }
  }

  @Test("the outermost codes, inputs and scales do not overflow", arguments: KernelTests.sets, 1...8)
  func extremes(name: String, bits: Int) throws {
    for (group, tokens) in [(16, 3), (32, 3), (128, 1), (128, 3), (16, 37), (32, 37), (128, 37)] {
      try check(
        Tiling(bits: bits, group: group, offsets: .zeros), rows: 16, columns: 512, tokens: tokens,
        kernels: KernelTests.set(name), extreme: true)
    }
  }

  @Test(
    "a few vectors are rounded twice, which is all but exact, and alike alone and together",
    arguments: KernelTests.sets)
  func twice(name: String) throws {
    let kernels = try KernelTests.set(name), team = ThreadTeam(count: 2)
    let plain = Plain(rows: 37, columns: 288, tiling: Tiling(bits: 5, group: 96, offsets: .zeros))
    let made = Tiles(
      rows: 37, columns: 288, tiling: plain.tiling, isDelicate: true, team: team, kernels: kernels,
      read: { plain.read($0, $1) })
    let tiles = try #require(made)
    let x = KernelTests.numbers(5 * 288, 7, scale: 3)
    func products(_ tokens: Range<Int>) -> [Float] {
      var out = [Float](repeating: .nan, count: tokens.count * 37)
      out.withUnsafeMutableBufferPointer { out in
        x.withUnsafeBufferPointer { x in
          guard let out = out.baseAddress, let x = x.baseAddress else { return }
          Tiles.multiply(
            [(tiles, out)], by: x + tokens.lowerBound * 288, tokens: tokens.count, inputs: TileInputs(),
            team: team)
        }
      }
      return out
    }
    let together = products(0..<5)
    for t in 0..<5 {
      #expect(products(t..<t + 1) == Array(together[37 * t..<37 * (t + 1)]))
      for row in 0..<37 {
        var sum = 0.0, size = 0.0
        for j in 0..<288 {
          sum += plain.value(row, j) * Double(x[t * 288 + j])
          size += abs(plain.value(row, j) * Double(x[t * 288 + j]))
        }
        #expect(abs(Double(together[37 * t + row]) - sum) <= 2e-5 * size)
      }
    }
  }

  @Test(
    "inputs of zeros, of no number and beyond all numbers give zeros, not traps", arguments: KernelTests.sets)
  func oddInputs(name: String) throws {
    let tiling = Tiling(bits: 4, group: 32, offsets: .constant(8))
    let plain = Plain(rows: 16, columns: 64, tiling: tiling), team = ThreadTeam(count: 1)
    let kernels = try KernelTests.set(name)
    let made = Tiles(rows: 16, columns: 64, tiling: tiling, team: team, kernels: kernels) { row, to in
      plain.read(row, to)
    }
    let tiles = try #require(made)
    for value in [Float.zero, -.zero, .nan, .infinity, -.infinity, .leastNonzeroMagnitude] {
      let x = [Float](repeating: value, count: 64)
      var out = [Float](repeating: 1, count: 16)
      out.withUnsafeMutableBufferPointer { out in
        guard let out = out.baseAddress else { return }
        Tiles.multiply([(tiles, out)], by: x, tokens: 1, inputs: TileInputs(), team: team)
      }
      #expect(out.allSatisfy { $0 == 0 }, "\(value)")
    }
  }

  @Test("a matrix whose groups are no multiple of 16, or whose row cannot be read, has no tiles")
  func refused() {
    let team = ThreadTeam(count: 1)
    #expect(
      Tiles(
        rows: 4, columns: 64, tiling: Tiling(bits: 4, group: 24, offsets: .zeros), team: team,
        read: { _, _ in true }) == nil)
    #expect(
      Tiles(
        rows: 4, columns: 64, tiling: Tiling(bits: 4, group: 32, offsets: .zeros), team: team,
        read: { row, _ in row != 2 }) == nil)
  }
}
