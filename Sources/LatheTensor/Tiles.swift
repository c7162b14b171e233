internal import CLatheKernels
internal import Synchronization

/// A weight matrix in tiles of sixteen rows, laid out for products with inputs rounded to bytes.
///
/// The values are those of the matrix it was made of; inputs are rounded to a signed byte each, with a scale for each 32,
/// 64 or 128 of them. Where weights' groups are no wider than 32 it is a power of two: sums are many there, and need not be
/// multiplied by it. Where weights come from memory, a few vectors take no longer twice: they are rounded, and what
/// rounding left is rounded too, which leaves a hundredth of the error. A vector's products depend on
/// no other one, but on whether more than five come together.
///
/// Tiles may be laid out at their second use: the first one, often the only one or all that somebody waits for, takes a few
/// tiles at a time from the matrix into the cache, multiplies them and forgets them, to the same bits. It reads the matrix
/// once and takes no memory, the clearing of which costs more than all else.
package final class Tiles: @unchecked Sendable {
  // All mutable state is atomic or guarded by `source`; tiles are read only where `isLaidOut` was seen.
  package let rows: Int
  package let columns: Int
  /// The bytes all tiles take.
  package let byteCount: Int
  private let kernels: Kernels
  private let memory: LargeMemory
  /// How inputs that were rounded once meet the tiles, and those that were rounded twice: wider groups do for them.
  private let shapes: (once: TileShape, twice: TileShape)
  private let tiling: Tiling
  private let extras: TileExtras
  private let source: Mutex<TileSource?>
  private let isUsed: Atomic<Bool>
  private let isLaidOut = Atomic<Bool>(false)
  /// Whether tiles can be read.
  var isReady: Bool { isLaidOut.load(ordering: .acquiring) }
  /// The column in each place; empty where they stand as they are.
  var order: [Int32] { tiling.order ?? [] }
  private let layouts: (once: LatheTiles, twice: LatheTiles)

  /// Tiles of a matrix that are laid out at their second use, or by `layOut`.
  ///
  /// - Parameters:
  ///   - isDelicate: whether the inputs have heavy tails: as few as may be share a scale, unless they are rounded twice or
  ///     the weights err far more than inputs do.
  ///   - source: where rows come from.
  package init?(
    rows: Int, columns: Int, tiling: Tiling, isDelicate: Bool = false, kernels: Kernels = .best,
    from source: TileSource
  ) {
    let widest = isDelicate && !tiling.isCoarse ? 32 : 128
    guard let once = TileShape(columns: columns, tiling: tiling, widest: widest, kernels: kernels),
      let twice = TileShape(columns: columns, tiling: tiling, widest: 128, kernels: kernels)
    else { return nil }
    (self.rows, self.columns, self.kernels) = (rows, columns, kernels)
    (shapes, self.tiling) = ((once, twice), tiling)
    self.source = Mutex(source)
    // What may fail is not begun in passing; patches lie among those of all tiles.
    isUsed = Atomic(!tiling.isTotal || tiling.rowTables?.hasPatches == true)
    extras = TileExtras(tiling, rows: rows, padded: once.padded)
    let parts = once.memory(tiles: (rows + 15) / 16, tiling, patches: extras.patchCount)
    byteCount = parts.byteCount
    // Address space alone: pages come with what is written to them.
    guard let memory = LargeMemory(byteCount, isNeighbor: true) else { return nil }
    self.memory = memory
    let extras = extras, row = parts.row(at: memory.base)
    func layout(_ shape: TileShape) -> LatheTiles {
      shape.layout(rows: rows, columns: columns, tiling: tiling, at: row, extras)
    }
    layouts = (layout(once), layout(twice))
  }

  /// Lays the matrix out, unless that is done; whoever else comes waits meanwhile.
  ///
  /// - Returns: false where a row has no place in tiles.
  @discardableResult package func layOut(team: ThreadTeam) -> Bool {
    if isReady { return true }
    return source.withLock { source in
      guard let rest = source else { return isLaidOut.load(ordering: .relaxed) }
      let isWhole = write(rest, team)
      source = nil
      isLaidOut.store(isWhole, ordering: .releasing)
      return isWhole
    }
  }

  private func write(_ source: TileSource, _ team: ThreadTeam) -> Bool {
    let tiles = (rows + 15) / 16, failed = Flag()
    let target = shapes.once.memory(tiles: tiles, tiling, patches: extras.patchCount).row(at: memory.base)
    let writer = TileWriter(shapes.once, tiling, extras, rows: rows, kernels)
    let run = max(1, (1 << 24) / (16 * columns))
    for first in stride(from: 0, to: tiles, by: run) where !failed.isRaised {
      let count = min(run, tiles - first)
      team.run(count) {
        if !writer.write(first + $0, at: first + $0, to: target, from: source) { failed.raise() }
      }
      source.finished(16 * first..<min(rows, 16 * (first + count)))
    }
    return !failed.isRaised
  }

  /// Counts a use, the second of which lays the matrix out.
  ///
  /// - Returns: where rows come from while there are no tiles.
  func use(_ team: ThreadTeam) -> TileSource? {
    if isReady { return nil }
    if !isUsed.exchange(true, ordering: .relaxed), let source = source.withLock({ $0 }) { return source }
    layOut(team: team)
    return nil
  }

  /// The most vectors that are rounded twice: as many as a draft of four tokens verifies.
  var tokensRoundedTwice: Int { tiling.isCoarse ? 0 : 5 }

  func layout(_ twice: Bool) -> LatheTiles { twice ? layouts.twice : layouts.once }

  /// What inputs look like that these tiles meet.
  func inputs(twice: Bool) -> InputKey {
    let layout = layout(twice)
    return InputKey(
      columns: columns, group: layout.input_group, halves: layout.halves != 0, start: layout.start,
      isByte: layout.bits == 8 || layout.table != nil || layout.row_tables != nil, isTwice: twice,
      bytes: layout.bits == 1 ? kernels.table.pointee.one_bit_input : 1,
      isBinary: !twice && layout.input_group == 32 && layout.span == 1, order: order)
  }

  func pack(
    _ x: UnsafePointer<Float>, tokens: Int, twice: Bool, groups: Range<Int>, to target: LatheTileInputs
  ) {
    withUnsafePointer(to: layout(twice)) { layout in
      withUnsafePointer(to: target) {
        kernels.table.pointee.pack_inputs(
          layout, x, tokens, twice ? 1 : 0, groups.lowerBound, groups.count, $0)
      }
    }
  }

  /// The products of some tiles; of vectors that were rounded twice, the sums of both.
  func multiply(
    _ tiles: Range<Int>, by x: LatheTileInputs, twice: Bool, into out: UnsafeMutablePointer<Float>
  ) {
    multiply(layout(twice), tiles, by: x, twice: twice, into: out)
  }

  /// The products of some tiles that are laid out in `panel` for the time being, `together` of them at a time.
  func multiply(
    _ tiles: Range<Int>, together: Int, of source: TileSource, in panel: AlignedMemory,
    by x: LatheTileInputs, twice: Bool, into out: UnsafeMutablePointer<Float>
  ) {
    let shape = twice ? shapes.twice : shapes.once
    let target = shape.memory(tiles: together, tiling).row(at: panel.base)
    let writer = TileWriter(shape, tiling, extras, rows: rows, kernels)
    for start in stride(from: tiles.lowerBound, to: tiles.upperBound, by: together) {
      let count = min(together, tiles.upperBound - start), first = 16 * start
      for place in 0..<count { _ = writer.write(start + place, at: place, to: target, from: source) }
      let layout = shape.layout(
        rows: min(rows - first, 16 * count), columns: columns, tiling: tiling, at: target, extras)
      multiply(layout, 0..<count, by: x, twice: twice, into: out + first)
    }
  }

  /// The bytes that so many tiles take in a panel.
  func panelBytes(tiles: Int) -> Int { shapes.once.memory(tiles: tiles, tiling).byteCount }

  private func multiply(
    _ layout: LatheTiles, _ tiles: Range<Int>, by x: LatheTileInputs, twice: Bool,
    into out: UnsafeMutablePointer<Float>
  ) {
    if !twice { return multiply(layout, tiles, by: x, into: out, stride: rows) }
    let first = 16 * tiles.lowerBound, count = min(layout.rows, 16 * tiles.upperBound) - first
    withUnsafeTemporaryAllocation(of: Float.self, capacity: x.tokens * count) { both in
      guard let both = both.baseAddress else { return }
      multiply(layout, tiles, by: x, into: both - first, stride: count)
      for t in 0..<x.tokens / 2 {
        kernels.add(both + (x.tokens / 2 + t) * count, to: both + t * count, count)
        (out + t * rows + first).update(from: both + t * count, count: count)
      }
    }
  }

  private func multiply(
    _ layout: LatheTiles, _ tiles: Range<Int>, by x: LatheTileInputs, into out: UnsafeMutablePointer<Float>,
    stride: Int
  ) {
    withUnsafePointer(to: layout) { layout in
      withUnsafePointer(to: x) {
        kernels.table.pointee.multiply_tiles(layout, tiles.lowerBound, tiles.count, $0, out, stride)
      }
    }
  }

  /// Tiles that one thread takes at a time: few enough for all threads to end together, and, where they meet one run of
  /// tokens after another, for the cache to hold them meanwhile. In passing, memory gives what follows one another faster.
  func panel(threads: Int, tokens: Int, isPassing: Bool) -> Int {
    let tiles = (rows + 15) / 16
    if tokens > 16 { return max(1, min((192 << 10) / shapes.once.tileBytes, tiles / (4 * threads))) }
    return max(1, isPassing ? min(8, tiles / (4 * threads)) : tiles / (2 * threads))
  }
}
