internal import CLatheKernels

/// A weight matrix in tiles of sixteen rows, laid out for products with inputs rounded to bytes.
///
/// The values are those of the matrix it was made of; inputs are rounded to a signed byte each, with a scale for each 32,
/// 64 or 128 of them. Where weights come from memory, a few vectors take no longer twice: they are rounded, and what
/// rounding left is rounded too, which leaves a hundredth of the error. A vector's products depend on
/// no other one, but on whether more than five come together.
package final class Tiles: @unchecked Sendable {
  // Written by `init` alone.
  package let rows: Int
  package let columns: Int
  /// The bytes all tiles take.
  package let byteCount: Int
  fileprivate let kernels: Kernels
  private let memory: LargeMemory
  private let extras: TileExtras
  /// The column in each place; empty where they stand as they are.
  fileprivate let order: [Int32]
  let layout: LatheTiles

  /// Lays a matrix out.
  ///
  /// - Parameters:
  ///   - isDelicate: whether the inputs have heavy tails: as few as may be share a scale.
  ///   - read: fills in row number `row`, and returns false where it cannot.
  ///   - finished: hears of rows that will not be read again.
  package init?(
    rows: Int, columns: Int, tiling: Tiling, isDelicate: Bool = false, team: ThreadTeam,
    kernels: Kernels = .best,
    read: @Sendable (_ row: Int, _ to: CodeRow) -> Bool, finished: (Range<Int>) -> Void = { _ in }
  ) {
    guard let shape = TileShape(columns: columns, tiling: tiling, widest: isDelicate ? 32 : 128)
    else { return nil }
    (self.rows, self.columns, self.kernels) = (rows, columns, kernels)
    let tiles = (rows + 15) / 16, parameters = 16 * tiles * shape.weightGroups
    let extras = TileExtras(tiling, rows: rows, padded: shape.padded)
    let parts = CodeMemory(
      tiling, codes: tiles * shape.padded / 32 * 64 * tiling.bits, groups: parameters,
      scales: tiling.scales == .halves ? parameters : 16 * tiles * shape.supers,
      tables: 16 * tiles * shape.tableGroups * (tiling.rowTables?.count ?? 0), patches: extras.patchCount)
    byteCount = parts.byteCount
    guard let memory = LargeMemory(byteCount) else { return nil }
    (self.memory, self.extras, order) = (memory, extras, tiling.order ?? [])
    let target = parts.row(at: memory.base)
    layout = shape.layout(rows: rows, columns: columns, tiling: tiling, at: target, extras)
    let failed = Flag()
    let writer = TileWriter(shape, tiling, extras, rows: rows, columns: columns, kernels)
    let run = max(1, (1 << 26) / (16 * columns))
    for first in stride(from: 0, to: tiles, by: run) where !failed.isRaised {
      let count = min(run, tiles - first)
      team.run(count) { if !writer.write(first + $0, to: target, read: read) { failed.raise() } }
      finished(16 * first..<min(rows, 16 * (first + count)))
    }
    if failed.isRaised { return nil }
  }

  /// The bytes of one tile's codes.
  private var tileBytes: Int { layout.groups * layout.input_group / 32 * 64 * Int(layout.bits) }

  /// The most vectors that are rounded twice: as many as a draft of four tokens verifies, but none where weights of one
  /// bit, or two values a row, err far more than inputs do and arithmetic binds.
  fileprivate var tokensRoundedTwice: Int { layout.bits > 1 && layout.row_tables == nil ? 5 : 0 }

  /// What inputs look like that these tiles meet.
  fileprivate var inputs: InputKey {
    InputKey(
      columns: columns, group: layout.input_group, halves: layout.halves != 0, start: layout.start,
      isByte: layout.bits == 8 || layout.table != nil || layout.row_tables != nil, order: order)
  }

  fileprivate func pack(
    _ x: UnsafePointer<Float>, tokens: Int, twice: Bool, groups: Range<Int>, to target: LatheTileInputs
  ) {
    withUnsafePointer(to: layout) { layout in
      withUnsafePointer(to: target) {
        kernels.table.pointee.pack_inputs(
          layout, x, tokens, twice ? 1 : 0, groups.lowerBound, groups.count, $0)
      }
    }
  }

  /// The products of some tiles; of vectors that were rounded twice, the sums of both.
  fileprivate func multiply(
    _ tiles: Range<Int>, by x: LatheTileInputs, twice: Bool, into out: UnsafeMutablePointer<Float>
  ) {
    if !twice { return multiply(tiles, by: x, into: out, stride: rows) }
    let first = 16 * tiles.lowerBound, count = min(rows, 16 * tiles.upperBound) - first
    withUnsafeTemporaryAllocation(of: Float.self, capacity: x.tokens * count) { both in
      guard let both = both.baseAddress else { return }
      multiply(tiles, by: x, into: both - first, stride: count)
      for t in 0..<x.tokens / 2 {
        kernels.add(both + (x.tokens / 2 + t) * count, to: both + t * count, count)
        (out + t * rows + first).update(from: both + t * count, count: count)
      }
    }
  }

  private func multiply(
    _ tiles: Range<Int>, by x: LatheTileInputs, into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    withUnsafePointer(to: layout) { layout in
      withUnsafePointer(to: x) {
        kernels.table.pointee.multiply_tiles(layout, tiles.lowerBound, tiles.count, $0, out, stride)
      }
    }
  }

  /// Tiles that one thread takes at a time: few enough for all threads to end together, and, where they meet one run of
  /// tokens after another, for the cache to hold them meanwhile.
  fileprivate func panel(threads: Int, tokens: Int) -> Int {
    let tiles = (rows + 15) / 16
    if tokens <= 16 { return max(1, tiles / (2 * threads)) }
    return max(1, min((192 << 10) / tileBytes, tiles / (4 * threads)))
  }
}

/// What inputs are rounded and laid out for.
private struct InputKey: Hashable {
  let columns, group: Int
  let halves: Bool
  let start: Int32
  let isByte: Bool
  let order: [Int32]
}

/// Vectors rounded to bytes, as tiles meet them; the memory is used again.
package final class TileInputs {
  private var capacity = 0
  private var codes = AlignedMemory(0), scales = AlignedMemory(0), sums = AlignedMemory(0)
  private var starts = AlignedMemory(0), ordered = AlignedMemory(0)

  package init() {}

  /// Vectors whose numbers lie in the order of the places.
  private func arrange(
    _ x: UnsafePointer<Float>, tokens: Int, _ order: [Int32], team: ThreadTeam
  ) -> UnsafePointer<Float> {
    let columns = order.count
    if ordered.count < 4 * tokens * columns { ordered = AlignedMemory(4 * tokens * columns) }
    let out = ordered.base.assumingMemoryBound(to: Float.self)
    order.withUnsafeBufferPointer { order in
      let arrange = { (range: Range<Int>) in
        for t in range { for j in 0..<columns { out[t * columns + j] = x[t * columns + Int(order[j])] } }
      }
      if tokens < 8 { arrange(0..<tokens) } else { team.split(tokens, grain: 4, arrange) }
    }
    return UnsafePointer(out)
  }

  private func reserve(_ tokens: Int, columns: Int) {
    // The last group of a row may be filled up to 128; there are two sums for each 32 columns at most.
    let needed = tokens * (columns + 127) / 128 * 128 + 128 * tokens
    guard needed > capacity else { return }
    capacity = needed
    codes = AlignedMemory(needed)
    scales = AlignedMemory(needed / 8)
    sums = AlignedMemory(needed / 4)
    starts = AlignedMemory(needed / 4)
  }

  /// Rounds `tokens` vectors for `tiles`; rounded twice, what was left of them follows.
  fileprivate func pack(
    _ x: UnsafePointer<Float>, tokens: Int, twice: Bool, steps: UnsafePointer<Float>?, for tiles: Tiles,
    team: ThreadTeam
  ) -> LatheTileInputs {
    let columns = tiles.columns, count = twice ? 2 * tokens : tokens
    let x = tiles.order.isEmpty ? x : arrange(x, tokens: tokens, tiles.order, team: team)
    reserve(count, columns: columns)
    let groups = tiles.layout.groups, halves = tiles.layout.halves != 0 ? 2 : 1
    let padded = groups * tiles.layout.input_group
    let all = LatheTileInputs(
      codes: codes.base.assumingMemoryBound(to: Int8.self),
      scales: scales.base.assumingMemoryBound(to: Float.self),
      sums: sums.base.assumingMemoryBound(to: Float.self),
      starts: starts.base.assumingMemoryBound(to: Int32.self), steps: steps, tokens: count)
    if count * columns < 1 << 14 {
      tiles.pack(x, tokens: tokens, twice: twice, groups: 0..<groups, to: all)
      return all
    }
    // A few vectors are split along their width, many by vectors.
    if tokens < 48 {
      team.split(groups, grain: 8) { tiles.pack(x, tokens: tokens, twice: twice, groups: $0, to: all) }
      return all
    }
    // Every set takes tokens in runs that divide 24.
    team.split(tokens, grain: 24) { range in
      let t = range.lowerBound
      tiles.pack(
        x + t * columns, tokens: range.count, twice: false, groups: 0..<groups,
        to: LatheTileInputs(
          codes: all.codes + t * padded, scales: all.scales + t * groups,
          sums: all.sums + t * groups * halves,
          starts: all.starts + t * groups * halves, steps: steps.map { $0 + t }, tokens: range.count))
    }
    return all
  }
}

extension Tiles {
  /// `out[t] = W · x[t]` for `tokens` contiguous vectors and several matrices that meet the same ones.
  ///
  /// - Parameters:
  ///   - products: each matrix, and where its `tokens` rows of outputs go.
  ///   - steps: where vectors are whole multiples of a step, 127 of it at most, each vector's: they are not rounded again.
  package static func multiply(
    _ products: [(tiles: Tiles, out: UnsafeMutablePointer<Float>)], by x: UnsafePointer<Float>, tokens: Int,
    steps: UnsafePointer<Float>? = nil, inputs: TileInputs, team: ThreadTeam
  ) {
    var first = 0
    while first < products.count {
      let key = products[first].tiles.inputs
      var end = first + 1
      while end < products.count, products[end].tiles.inputs == key { end += 1 }
      let twice = steps == nil && tokens <= products[first].tiles.tokensRoundedTwice
      let packed = inputs.pack(
        x, tokens: tokens, twice: twice, steps: steps, for: products[first].tiles, team: team)
      multiply(products[first..<end], by: packed, twice: twice, team: team)
      first = end
    }
  }

  private static func multiply(
    _ products: ArraySlice<(tiles: Tiles, out: UnsafeMutablePointer<Float>)>, by x: LatheTileInputs,
    twice: Bool, team: ThreadTeam
  ) {
    let bytes = products.reduce(0) { $0 + $1.tiles.byteCount }
    // A small product is done before another thread has heard of it.
    if bytes * x.tokens < 48 << 10 || team.count == 1 {
      for product in products {
        product.tiles.multiply(0..<(product.tiles.rows + 15) / 16, by: x, twice: twice, into: product.out)
      }
      return
    }
    var pieces = 0
    for product in products {
      let panel = product.tiles.panel(threads: team.count, tokens: x.tokens)
      pieces += ((product.tiles.rows + 15) / 16 + panel - 1) / panel
    }
    team.run(pieces) { piece in
      var piece = piece
      for product in products {
        let tiles = (product.tiles.rows + 15) / 16,
          panel = product.tiles.panel(threads: team.count, tokens: x.tokens)
        let own = (tiles + panel - 1) / panel
        guard piece >= own else {
          product.tiles.multiply(
            piece * panel..<min(tiles, (piece + 1) * panel), by: x, twice: twice, into: product.out)
          return
        }
        piece -= own
      }
    }
  }
}
