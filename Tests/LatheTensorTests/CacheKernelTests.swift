import LatheTensor
import Testing

/// Cached keys and values of every type under every instruction set, against sums in double precision.
@Suite struct CacheKernelTests {
  static let sets = Kernels.available.map(\.name)

  /// One head of cached keys and values, and memory for it.
  final class Head {
    let memory: [AlignedMemory]
    let head: CacheHead
    let dimension, positions: Int

    init(kind: Int, dimension: Int, positions: Int, with kernels: Kernels) {
      let unit = kind < 2 ? 16 : 32, room = (positions + 15) / 16 * 16
      let width = (dimension + unit - 1) / unit * unit
      memory = [4, 4, 2, 2].map { AlignedMemory($0 * room * width) }
      head = CacheHead(
        kind: kind, dimension: dimension, width: width, keys: memory[0].base, values: memory[1].base,
        keyScales: memory[2].base, valueScales: memory[3].base)
      (self.dimension, self.positions) = (dimension, positions)
      let keys = KernelTests.numbers(positions * dimension, 1),
        values = KernelTests.numbers(
          positions * dimension, 2)
      keys.withUnsafeBufferPointer { keys in
        values.withUnsafeBufferPointer { values in
          for p in 0..<positions {
            kernels.store(
              keys.baseAddress! + p * dimension, values.baseAddress! + p * dimension, at: p, in: head)
          }
        }
      }
    }

    /// Keys, position after position, and values, as floats.
    func floats(_ range: Range<Int>, with kernels: Kernels) -> (keys: [Float], values: [Float]) {
      let width = TileRows.width(dimension), panels = AlignedMemory(8 * CacheHead.tile * width)
      let keyPanels = panels.base.assumingMemoryBound(to: Float.self)
      let valuePanels = keyPanels + CacheHead.tile * width
      var keys: [Float] = [], values: [Float] = []
      for first in stride(from: range.lowerBound, to: range.upperBound, by: CacheHead.tile) {
        let run = first..<min(first + CacheHead.tile, range.upperBound)
        kernels.panels(run, of: head, keys: keyPanels, values: valuePanels)
        for p in 0..<run.count {
          for e in 0..<dimension {
            keys.append(keyPanels[(p / 16 * width + e) * 16 + p % 16])
            values.append(valuePanels[(e / 16 * CacheHead.tile + p) * 16 + e % 16])
          }
        }
      }
      return (keys, values)
    }

    /// Attention of `tokens` · `heads` queries, the last token seeing everything.
    func attend(_ queries: [Float], tokens: Int, heads: Int, with kernels: Kernels) -> [Float] {
      let count = (positions + CacheHead.run - 1) / CacheHead.run, stride = head.width + 16
      var parts = [Float](repeating: .nan, count: tokens * heads * count * stride)
      var out = [Float](repeating: 0, count: tokens * heads * dimension)
      queries.withUnsafeBufferPointer { queries in
        let asked = CacheQueries(
          queries.baseAddress!, tokens: tokens, heads: heads, stride: heads * dimension,
          start: positions - tokens, scale: 0.3)
        parts.withUnsafeMutableBufferPointer { parts in
          // One run apart, then as many together as are left.
          for runs in [0..<1, 1..<count] where !runs.isEmpty {
            let first = runs.lowerBound * CacheHead.run
            kernels.attend(
              asked, to: first..<min(runs.upperBound * CacheHead.run, positions), of: head,
              into: parts.baseAddress! + runs.lowerBound * stride, runStride: stride, stride: count * stride)
          }
          out.withUnsafeMutableBufferPointer { out in
            for query in 0..<tokens * heads {
              kernels.merge(
                parts.baseAddress! + query * count * stride, runs: count, stride: stride, width: head.width,
                dimension: dimension, into: out.baseAddress! + query * dimension)
            }
          }
        }
      }
      return out
    }
  }

  @Test(
    "what was stored is read back as closely as the type allows, by every set alike", arguments: sets, 0...3)
  func reading(name: String, kind: Int) throws {
    let kernels = try KernelTests.set(name)
    for (dimension, positions) in [(32, 40), (12, 17), (96, 33), (40, 5)] {
      let fast = Head(kind: kind, dimension: dimension, positions: positions, with: kernels)
      let slow = Head(kind: kind, dimension: dimension, positions: positions, with: .scalar)
      let keys = KernelTests.numbers(positions * dimension, 1),
        values = KernelTests.numbers(
          positions * dimension, 2)
      let a = fast.floats(0..<positions, with: kernels), b = slow.floats(0..<positions, with: .scalar)
      #expect(a.keys == b.keys && a.values == b.values)
      let error: Float = [0, 0.0005, 0.0045, 0.126][kind]
      let worst = zip(a.keys + a.values, keys + values).map { abs($0 - $1) }.max() ?? 0
      #expect(worst <= error)
      // Any run of positions, whole blocks or not.
      let part = fast.floats(3..<positions - 1, with: kernels)
      #expect(part.keys == Array(a.keys[3 * dimension..<(positions - 1) * dimension]))
      #expect(part.values == Array(a.values[3 * dimension..<(positions - 1) * dimension]))
    }
  }

  @Test(
    "numbers beyond a half's range, zeros and tiny ones are kept as well as can be", arguments: sets, 1...3)
  func extremes(name: String, kind: Int) throws {
    let kernels = try KernelTests.set(name)
    let head = Head(kind: kind, dimension: 32, positions: 16, with: kernels)
    for (value, expected) in [(Float(1e30), Float(65504)), (0, 0), (1e-30, 0), (-1e30, -65504)] {
      let row = [Float](repeating: value, count: 32)
      kernels.store(row, row, at: 2, in: head.head)
      let found = head.floats(2..<3, with: kernels)
      let wanted = abs(expected) > 1 && kind > 1 ? expected * (kind == 2 ? 127 : 8) : expected
      for x in found.keys + found.values {
        #expect(x.isFinite && abs(x - wanted) <= 0.01 * abs(wanted), "\(x) for \(value)")
      }
    }
  }

  /// A query as codes of four bits meet it: bytes with a step for each 32 elements.
  static func rounded(_ query: ArraySlice<Float>) -> [Double] {
    var out: [Double] = []
    for start in stride(from: query.startIndex, to: query.endIndex, by: 32) {
      let group = query[start..<min(start + 32, query.endIndex)]
      let step = Double(group.map { abs($0) }.max() ?? 0) / 127
      out += group.map { step > 0 ? (Double($0) / step).rounded(.toNearestOrEven) * step : 0 }
    }
    return out
  }

  /// Attention of the last `rows` positions, a query each, to `head`, begun at position `from`.
  static func attend(
    _ queries: [Float], rows: Int, to head: Head, from: Int, with kernels: Kernels
  ) -> [Float] {
    let dimension = head.dimension, panels = CacheHead.tile * TileRows.width(dimension)
    let own = TileRows.room(rows, dimension: dimension), scores = CacheHead.tile * rows
    let memory = AlignedMemory(4 * (2 * panels + own + scores))
    let keys = memory.base.assumingMemoryBound(to: Float.self)
    var out = [Float](repeating: .nan, count: rows * dimension)
    let tile = TileRows(
      queries, count: rows, stride: dimension, dimension: dimension, scale: 0.3, memory: keys + 2 * panels,
      scores: keys + 2 * panels + own)
    for first in stride(from: from, to: head.positions, by: CacheHead.tile) {
      let run = first..<min(first + CacheHead.tile, head.positions)
      kernels.panels(run, of: head.head, keys: keys, values: keys + panels)
      kernels.attend(
        tile, keys: keys, values: keys + panels, count: run.count, visible: head.positions - rows + 1 - first)
    }
    tile.means(into: &out, stride: dimension, dimension: dimension)
    return out
  }

  @Test("tiles of rows agree with sums in double precision", arguments: sets, 0...3)
  func tiles(name: String, kind: Int) throws {
    let kernels = try KernelTests.set(name)
    for (dimension, positions, rows, from) in [
      (32, 1, 1, 0), (64, 700, 96, 0), (12, 530, 45, 7), (96, 513, 9, 3), (40, 37, 29, 5),
      (128, 600, 97, 250),
    ] {
      let head = Head(kind: kind, dimension: dimension, positions: positions, with: kernels)
      let (keys, values) = head.floats(0..<positions, with: .scalar)
      let queries = KernelTests.numbers(rows * dimension, 5, scale: 4)
      let found = Self.attend(queries, rows: rows, to: head, from: from, with: kernels)
      for row in 0..<rows {
        let expected = Self.attention(
          queries[row * dimension..<(row + 1) * dimension].map { Double($0) }, keys, values,
          from..<positions - rows + row + 1, dimension)
        for e in 0..<dimension { #expect(abs(Double(found[row * dimension + e]) - expected[e]) < 2e-5) }
      }
      // A row alone, which other products meet, gives the same bits.
      let last = Self.attend(Array(queries.suffix(dimension)), rows: 1, to: head, from: from, with: kernels)
      #expect(last == Array(found.suffix(dimension)))
    }
  }

  /// Attention of one query to `positions` in double precision, scores times 0.3.
  static func attention(
    _ query: [Double], _ keys: [Float], _ values: [Float], _ positions: Range<Int>, _ dimension: Int
  ) -> [Double] {
    var sums = [Double](repeating: 0, count: dimension), total = 0.0
    for p in positions {
      var score = 0.0
      for e in 0..<dimension { score += query[e] * Double(keys[p * dimension + e]) }
      let weight = exponential(0.3 * score)
      total += weight
      for e in 0..<dimension { sums[e] += weight * Double(values[p * dimension + e]) }
    }
    return sums.map { $0 / total }
  }

  @Test("attention agrees with sums in double precision", arguments: sets, 0...3)
  func attention(name: String, kind: Int) throws {
    let kernels = try KernelTests.set(name)
    for (dimension, positions, tokens, heads) in [
      (32, 1, 1, 1), (64, 700, 1, 4), (12, 530, 3, 3), (96, 513, 2, 1), (40, 37, 5, 7), (128, 1100, 1, 8),
    ] {
      let head = Head(kind: kind, dimension: dimension, positions: positions, with: kernels)
      let (keys, values) = head.floats(0..<positions, with: .scalar)
      let queries = KernelTests.numbers(tokens * heads * dimension, 5, scale: 4)
      let found = head.attend(queries, tokens: tokens, heads: heads, with: kernels)
      for query in 0..<tokens * heads {
        let visible = positions - tokens + query / heads + 1
        let asked = queries[query * dimension..<(query + 1) * dimension]
        let vector = kind < 3 ? asked.map { Double($0) } : Self.rounded(asked)
        let expected = Self.attention(vector, keys, values, 0..<visible, dimension)
        // Weights that meet codes are rounded as well, in steps of the largest of 64 positions.
        let error = [1e-4, 1e-4, 2e-4, 0.02][kind]
        for e in 0..<dimension {
          #expect(abs(Double(found[query * dimension + e]) - expected[e]) < error)
        }
      }
    }
  }

  @Test("a query's result is the same to the bit, alone and among others", arguments: sets, 0...3)
  func company(name: String, kind: Int) throws {
    let kernels = try KernelTests.set(name), dimension = 96, tokens = 3, positions = 600
    // Six go as four and two, nine as four, four and one, fifteen as three fours and three.
    for heads in [2, 3, 5] {
      let queries = KernelTests.numbers(tokens * heads * dimension, 5, scale: 4)
      let all = Head(kind: kind, dimension: dimension, positions: positions, with: kernels)
        .attend(queries, tokens: tokens, heads: heads, with: kernels)
      for token in 0..<tokens {
        let one = Head(
          kind: kind, dimension: dimension, positions: positions - tokens + token + 1, with: kernels)
        for head in 0..<heads {
          let at = (token * heads + head) * dimension..<(token * heads + head + 1) * dimension
          #expect(one.attend(Array(queries[at]), tokens: 1, heads: 1, with: kernels) == Array(all[at]))
        }
      }
    }
  }
}
