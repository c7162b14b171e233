internal import LatheTensor

/// Some rows' queries, for the heads that share one head of keys: a running softmax over one run of keys after another
/// (FlashAttention, arXiv:2205.14135). The full matrix of scores is never held.
struct AttentionTile {
  /// Rows that look together: a multiple of those whose sums registers hold, whatever the instruction set.
  static let rowCount = 96

  private let rows: Range<Int>
  /// The queries of one head after another.
  private let heads: [TileRows]
  private let keys, values: UnsafeMutablePointer<Float>
  private let kernels = Kernels.best

  /// Runs `body` on the tile of `rows`, at most `rowCount`, and of `heads`; queries and outputs are
  /// rows × queryWidth.
  static func attend(
    _ rows: Range<Int>, heads: Range<Int>, queries: UnsafePointer<Float>, configuration c: Configuration,
    into out: UnsafeMutablePointer<Float>, _ body: (AttentionTile) -> Void
  ) {
    let d = c.headDimension, room = TileRows.room(rows.count, dimension: d)
    let panels = CacheHead.tile * TileRows.width(d), scores = CacheHead.tile * rows.count
    let bytes = (heads.count * room + 2 * panels + scores) * MemoryLayout<Float>.stride
    withUnsafeTemporaryAllocation(byteCount: bytes, alignment: 64) { memory in
      guard let keys = memory.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
      let values = keys + panels, scratch = values + panels, first = scratch + scores
      let own = heads.enumerated().map { index, head in
        TileRows(
          queries + rows.lowerBound * c.queryWidth + head * d, count: rows.count, stride: c.queryWidth,
          dimension: d, scale: 1 / Float(d).squareRoot(), memory: first + index * room, scores: scratch)
      }
      body(AttentionTile(rows: rows, heads: own, keys: keys, values: values))
      for (head, seen) in zip(heads, own) {
        seen.means(into: out + rows.lowerBound * c.queryWidth + head * d, stride: c.queryWidth, dimension: d)
      }
    }
  }

  /// Adds to `part` of the rows what they see of `positions`; the first of them sees `visible`, each other one more.
  func look(_ part: Range<Int>, at head: CacheHead, _ positions: Range<Int>, visible: Int) {
    let own = part.lowerBound - rows.lowerBound..<part.upperBound - rows.lowerBound
    for first in stride(from: positions.lowerBound, to: positions.upperBound, by: CacheHead.tile) {
      let run = first..<min(first + CacheHead.tile, positions.upperBound)
      kernels.panels(run, of: head, keys: keys, values: values)
      for queries in heads {
        kernels.attend(
          queries(own), keys: keys, values: values, count: run.count,
          visible: visible - (first - positions.lowerBound))
      }
    }
  }
}
