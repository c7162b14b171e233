internal import LatheTensor

/// The rows of a batch that continue one text, whose first one stands at position `start`.
struct TextRows {
  var rows: Range<Int>
  var start: Int
  /// The layer's keys and values, those of the rows included.
  var cache: LayerCache

  /// The positions that the last row sees.
  var end: Int { start + rows.count }
  /// The runs those positions make.
  var runs: Int { (end + CacheHead.run - 1) / CacheHead.run }
}

/// Causal attention of rows over their texts' caches.
///
/// Many rows of a text go tile by tile. Few go run by run: all queries that share a head of keys meet a run of positions
/// together, each run apart, and the parts are put together at the end (flash-decoding). Runs are of one length whatever
/// the threads and the rows: a row's result is the same, to the bit, alone and among up to seven others.
final class Attention {
  let configuration: Configuration
  let team: ThreadTeam
  private let kernels = Kernels.best

  init(_ configuration: Configuration, team: ThreadTeam) {
    (self.configuration, self.team) = (configuration, team)
  }

  /// Queries and outputs are rows × (heads · headDimension).
  func callAsFunction(
    queries: UnsafePointer<Float>, texts: [TextRows], into out: UnsafeMutablePointer<Float>
  ) {
    let few = texts.filter { $0.rows.count < 8 }
    if !few.isEmpty { byRuns(queries, few, out) }
    for text in texts where text.rows.count >= 8 { byTiles(queries, text, out) }
  }

  private var group: Int { configuration.heads / configuration.keyValueHeads }

  /// Work on one head of keys of a text, and on neighbouring runs of its positions.
  private struct Piece {
    let text, head: Int
    let runs: Range<Int>
  }

  private func pieces(_ texts: [TextRows]) -> [Piece] {
    // A thread that goes on where it was finds the next keys fetched; several pieces for each let the faster do more.
    let span = max(texts.reduce(0) { $0 + $1.runs } * configuration.keyValueHeads / (4 * team.count), 1)
    return texts.indices.flatMap { text in
      (0..<configuration.keyValueHeads).flatMap { head in
        stride(from: 0, to: texts[text].runs, by: span).map {
          Piece(text: text, head: head, runs: $0..<min($0 + span, texts[text].runs))
        }
      }
    }
  }

  private func byRuns(
    _ queries: UnsafePointer<Float>, _ texts: [TextRows], _ out: UnsafeMutablePointer<Float>
  ) {
    let c = configuration, stride = (c.headDimension + 31) / 32 * 32 + 16, pieces = pieces(texts)
    var starts = [0], work = 0
    for (index, text) in texts.enumerated() {
      starts.append(starts[index] + text.rows.count * c.heads * text.runs * stride)
      work += text.end * c.queryWidth * text.rows.count
    }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: starts[texts.count]) { parts in
      guard let parts = parts.baseAddress else { return }
      let attend = { (index: Int) in
        let piece = pieces[index]
        self.attend(queries, texts[piece.text], piece, parts + starts[piece.text], stride)
      }
      let merge = { (index: Int) in
        let text = index / c.keyValueHeads
        self.merge(parts + starts[text], texts[text], index % c.keyValueHeads, stride, out)
      }
      // A thread must have enough to do to be worth waking.
      if work > 1 << 17 {
        team.run(pieces.count, attend)
        team.run(texts.count * c.keyValueHeads, merge)
      } else {
        for index in pieces.indices { attend(index) }
        for index in 0..<texts.count * c.keyValueHeads { merge(index) }
      }
    }
  }

  /// Parts lie head of keys by head of keys, row by row, head by head of its group, run by run.
  private func attend(
    _ queries: UnsafePointer<Float>, _ text: TextRows, _ piece: Piece, _ parts: UnsafeMutablePointer<Float>,
    _ stride: Int
  ) {
    let c = configuration, runs = text.runs
    let first = piece.runs.lowerBound * CacheHead.run
    kernels.attend(
      CacheQueries(
        queries + text.rows.lowerBound * c.queryWidth + piece.head * group * c.headDimension,
        tokens: text.rows.count, heads: group, stride: c.queryWidth, start: text.start,
        scale: 1 / Float(c.headDimension).squareRoot()),
      to: first..<min(piece.runs.upperBound * CacheHead.run, text.end), of: text.cache.head(piece.head),
      into: parts + (piece.head * group * text.rows.count * runs + piece.runs.lowerBound) * stride,
      runStride: stride, stride: runs * stride)
  }

  private func merge(
    _ parts: UnsafePointer<Float>, _ text: TextRows, _ shared: Int, _ stride: Int,
    _ out: UnsafeMutablePointer<Float>
  ) {
    let c = configuration, runs = text.runs
    let width = text.cache.head(0).width
    for head in shared * group..<(shared + 1) * group {
      for row in 0..<text.rows.count {
        let query = (head / group * text.rows.count + row) * group + head % group
        kernels.merge(
          parts + query * runs * stride, runs: runs, stride: stride, width: width, dimension: c.headDimension,
          into: out + (text.rows.lowerBound + row) * c.queryWidth + head * c.headDimension)
      }
    }
  }

  private func byTiles(
    _ queries: UnsafePointer<Float>, _ text: TextRows, _ out: UnsafeMutablePointer<Float>
  ) {
    let c = configuration, tiles = (text.rows.count + AttentionTile.rowCount - 1) / AttentionTile.rowCount
    // Heads that share keys go together, where that leaves enough pieces for every thread.
    let heads = tiles * c.keyValueHeads >= 4 * team.count || team.count == 1 ? group : 1
    let parts = c.heads / heads
    // The last tiles see the most keys: they go first, so that no thread is left with one at the end.
    team.run(tiles * parts) { piece in
      let tile = tiles - 1 - piece / parts, head = piece % parts * heads
      let first = text.rows.lowerBound + tile * AttentionTile.rowCount
      let rows = first..<min(first + AttentionTile.rowCount, text.rows.upperBound)
      let position = text.start + tile * AttentionTile.rowCount
      AttentionTile.attend(
        rows, heads: head..<head + heads, queries: queries, configuration: c, into: out
      ) {
        $0.look(rows, at: text.cache.head(head / group), 0..<position + rows.count, visible: position + 1)
      }
    }
  }
}
