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
  fileprivate let kernels: Kernels
  private let memory: LargeMemory
  /// How inputs that were rounded once meet the tiles, and those that were rounded twice: wider groups do for them.
  private let shapes: (once: TileShape, twice: TileShape)
  private let tiling: Tiling
  private let extras: TileExtras
  private let source: Mutex<TileSource?>
  private let isUsed: Atomic<Bool>
  private let isLaidOut = Atomic<Bool>(false)
  /// The column in each place; empty where they stand as they are.
  fileprivate var order: [Int32] { tiling.order ?? [] }
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
    guard let memory = LargeMemory(byteCount) else { return nil }
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
    if isLaidOut.load(ordering: .acquiring) { return true }
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
        if !writer.write(first + $0, at: first + $0, to: target, read: source.read) { failed.raise() }
      }
      source.finished(16 * first..<min(rows, 16 * (first + count)))
    }
    return !failed.isRaised
  }

  /// Counts a use, the second of which lays the matrix out.
  ///
  /// - Returns: where rows come from while there are no tiles.
  fileprivate func use(_ team: ThreadTeam) -> TileSource? {
    if isLaidOut.load(ordering: .acquiring) { return nil }
    if !isUsed.exchange(true, ordering: .relaxed), let source = source.withLock({ $0 }) { return source }
    layOut(team: team)
    return nil
  }

  /// The most vectors that are rounded twice: as many as a draft of four tokens verifies.
  fileprivate var tokensRoundedTwice: Int { tiling.isCoarse ? 0 : 5 }

  fileprivate func layout(_ twice: Bool) -> LatheTiles { twice ? layouts.twice : layouts.once }

  /// What inputs look like that these tiles meet.
  fileprivate func inputs(twice: Bool) -> InputKey {
    let layout = layout(twice)
    return InputKey(
      columns: columns, group: layout.input_group, halves: layout.halves != 0, start: layout.start,
      isByte: layout.bits == 8 || layout.table != nil || layout.row_tables != nil, isTwice: twice,
      order: order)
  }

  fileprivate func pack(
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
  fileprivate func multiply(
    _ tiles: Range<Int>, by x: LatheTileInputs, twice: Bool, into out: UnsafeMutablePointer<Float>
  ) {
    multiply(layout(twice), tiles, by: x, twice: twice, into: out)
  }

  /// The products of some tiles that are laid out in `panel` for the time being, `together` of them at a time.
  fileprivate func multiply(
    _ tiles: Range<Int>, together: Int, of source: TileSource, in panel: AlignedMemory,
    by x: LatheTileInputs, twice: Bool, into out: UnsafeMutablePointer<Float>
  ) {
    let shape = twice ? shapes.twice : shapes.once
    let target = shape.memory(tiles: together, tiling).row(at: panel.base)
    let writer = TileWriter(shape, tiling, extras, rows: rows, kernels)
    for start in stride(from: tiles.lowerBound, to: tiles.upperBound, by: together) {
      let count = min(together, tiles.upperBound - start), first = 16 * start
      for place in 0..<count { _ = writer.write(start + place, at: place, to: target, read: source.read) }
      let layout = shape.layout(
        rows: min(rows - first, 16 * count), columns: columns, tiling: tiling, at: target, extras)
      multiply(layout, 0..<count, by: x, twice: twice, into: out + first)
    }
  }

  /// The bytes that so many tiles take in a panel.
  fileprivate func panelBytes(tiles: Int) -> Int { shapes.once.memory(tiles: tiles, tiling).byteCount }

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
  fileprivate func panel(threads: Int, tokens: Int, isPassing: Bool) -> Int {
    let tiles = (rows + 15) / 16
    if tokens > 16 { return max(1, min((192 << 10) / shapes.once.tileBytes, tiles / (4 * threads))) }
    return max(1, isPassing ? min(8, tiles / (4 * threads)) : tiles / (2 * threads))
  }
}

/// What inputs are rounded and laid out for.
private struct InputKey: Hashable {
  let columns, group: Int
  let halves: Bool
  let start: Int32
  let isByte, isTwice: Bool
  let order: [Int32]
}

/// Vectors rounded to bytes, as tiles meet them; the memory is used again.
package final class TileInputs {
  private var capacity = 0
  private var codes = AlignedMemory(0), scales = AlignedMemory(0), sums = AlignedMemory(0)
  private var starts = AlignedMemory(0), ordered = AlignedMemory(0)
  private var panels: [AlignedMemory] = []

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

  /// A panel of `bytes` at least for each of `count` threads, for tiles in passing.
  fileprivate func panels(_ count: Int, bytes: Int) -> [AlignedMemory] {
    if panels.count < count || panels[0].count < bytes {
      panels = (0..<count).map { _ in AlignedMemory(bytes) }
    }
    return panels
  }

  /// Rounds `tokens` vectors for `tiles`; rounded twice, what was left of them follows.
  fileprivate func pack(
    _ x: UnsafePointer<Float>, tokens: Int, twice: Bool, steps: UnsafePointer<Float>?, for tiles: Tiles,
    team: ThreadTeam
  ) -> LatheTileInputs {
    let columns = tiles.columns, count = twice ? 2 * tokens : tokens
    let x = tiles.order.isEmpty ? x : arrange(x, tokens: tokens, tiles.order, team: team)
    reserve(count, columns: columns)
    let layout = tiles.layout(twice), groups = layout.groups, halves = layout.halves != 0 ? 2 : 1
    let padded = groups * layout.input_group
    let all = LatheTileInputs(
      codes: codes.base.assumingMemoryBound(to: Int8.self),
      scales: scales.base.assumingMemoryBound(to: Float.self),
      sums: sums.base.assumingMemoryBound(to: Float.self),
      starts: starts.base.assumingMemoryBound(to: Int32.self), steps: steps,
      binary: steps == nil && !twice && layout.input_group == 32 && layout.span == 1 ? 1 : 0, tokens: count)
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
          starts: all.starts + t * groups * halves, steps: steps.map { $0 + t }, binary: all.binary,
          tokens: range.count))
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
      func key(_ tiles: Tiles) -> InputKey {
        tiles.inputs(twice: steps == nil && tokens <= tiles.tokensRoundedTwice)
      }
      let shared = key(products[first].tiles), twice = shared.isTwice
      var end = first + 1
      while end < products.count, key(products[end].tiles) == shared { end += 1 }
      let packed = inputs.pack(
        x, tokens: tokens, twice: twice, steps: steps, for: products[first].tiles, team: team)
      multiply(products[first..<end], by: packed, twice: twice, inputs: inputs, team: team)
      first = end
    }
  }

  private static func multiply(
    _ products: ArraySlice<(tiles: Tiles, out: UnsafeMutablePointer<Float>)>, by x: LatheTileInputs,
    twice: Bool, inputs: TileInputs, team: ThreadTeam
  ) {
    let bytes = products.reduce(0) { $0 + $1.tiles.byteCount }
    // A small product is done before another thread has heard of it.
    let threads = bytes * x.tokens < 48 << 10 ? 1 : team.count
    if threads == 1, products.allSatisfy({ $0.tiles.isLaidOut.load(ordering: .acquiring) }) {
      for product in products {
        product.tiles.multiply(0..<(product.tiles.rows + 15) / 16, by: x, twice: twice, into: product.out)
      }
      return
    }
    let shares = products.map { Share($0.tiles, $0.out, threads: threads, tokens: x.tokens, team) }
    let pieces = shares.reduce(0) { $0 + $1.pieces }
    guard shares.contains(where: { $0.source != nil }) else {
      run(pieces, threads, team) { piece in
        let (share, tiles) = find(piece, shares)
        share.tiles.multiply(tiles, by: x, twice: twice, into: share.out)
      }
      return
    }
    let panels = inputs.panels(threads, bytes: shares.reduce(0) { max($0, $1.panelBytes) }), next = Counter()
    // As many runs as threads, each with a panel of its own.
    run(threads, threads, team) { thread in
      while case let piece = next.take(), piece < pieces {
        let (share, tiles) = find(piece, shares)
        if let source = share.source {
          share.tiles.multiply(
            tiles, together: share.together, of: source, in: panels[thread], by: x, twice: twice,
            into: share.out)
        } else {
          share.tiles.multiply(tiles, by: x, twice: twice, into: share.out)
        }
      }
    }
  }

  private static func run(_ pieces: Int, _ threads: Int, _ team: ThreadTeam, _ body: (Int) -> Void) {
    if threads > 1 { team.run(pieces, body) } else { for piece in 0..<pieces { body(piece) } }
  }

  private static func find(_ piece: Int, _ shares: [Share]) -> (share: Share, tiles: Range<Int>) {
    var piece = piece, index = 0
    while piece >= shares[index].pieces {
      piece -= shares[index].pieces
      index += 1
    }
    return (shares[index], shares[index].range(piece))
  }
}

/// One matrix among those that meet the same vectors, and how it is cut into pieces.
private struct Share {
  let tiles: Tiles
  let out: UnsafeMutablePointer<Float>
  /// Where rows come from; nil where tiles are laid out.
  let source: TileSource?
  let pieces: Int
  /// Tiles that are laid out at once in passing.
  let together: Int
  private let panel: Int

  init(_ tiles: Tiles, _ out: UnsafeMutablePointer<Float>, threads: Int, tokens: Int, _ team: ThreadTeam) {
    (self.tiles, self.out) = (tiles, out)
    source = tiles.use(team)
    let count = (tiles.rows + 15) / 16
    panel =
      threads == 1 && source == nil
      ? count : tiles.panel(threads: threads, tokens: tokens, isPassing: source != nil)
    pieces = (count + panel - 1) / panel
    together = tokens > 16 ? panel : 1
  }

  func range(_ piece: Int) -> Range<Int> {
    piece * panel..<min((tiles.rows + 15) / 16, (piece + 1) * panel)
  }

  var panelBytes: Int { source == nil ? 0 : tiles.panelBytes(tiles: together) }
}
