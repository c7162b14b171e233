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

  /// The floats of a text's parts, `stride` for each.
  private func room(_ text: TextRows, _ stride: Int) -> Int {
    text.rows.count * configuration.heads * text.runs * stride
  }

  private func byRuns(
    _ queries: UnsafePointer<Float>, _ texts: [TextRows], _ out: UnsafeMutablePointer<Float>
  ) {
    let c = configuration, stride = (c.headDimension + 31) / 32 * 32 + 16
    var runs = 0, work = 0, capacity = 0
    for text in texts {
      runs += text.runs * c.keyValueHeads
      work += text.end * c.queryWidth * text.rows.count
      capacity += room(text, stride)
    }
    // A thread must have enough to do to be worth waking.
    let isShared = work > 1 << 17
    withUnsafeTemporaryAllocation(of: Float.self, capacity: capacity) { parts in
      guard let parts = parts.baseAddress else { return }
      let attend = { (range: Range<Int>) in self.attend(queries, texts, runs: range, parts, stride) }
      let merge = { (range: Range<Int>) in self.merge(parts, texts, heads: range, stride, out) }
      let heads = texts.count * c.keyValueHeads
      if isShared, runs == heads {
        // Whoever saw a head's only run has it at hand.
        team.share(runs, grain: 1) {
          attend($0)
          merge($0)
        }
      } else if isShared {
        // A thread that goes on where it was finds the next keys fetched.
        team.share(runs, grain: 1, attend)
        team.share(heads, grain: 1, merge)
      } else {
        attend(0..<runs)
        merge(0..<heads)
      }
    }
  }

  /// Runs of positions by their numbers, those of a head one after another, head by head of text by text.
  private func attend(
    _ queries: UnsafePointer<Float>, _ texts: [TextRows], runs: Range<Int>,
    _ parts: UnsafeMutablePointer<Float>, _ stride: Int
  ) {
    var parts = parts, first = 0
    for text in texts {
      for head in 0..<configuration.keyValueHeads {
        let own = runs.clamped(to: first..<first + text.runs)
        if !own.isEmpty {
          attend(queries, text, head, runs: own.lowerBound - first..<own.upperBound - first, parts, stride)
        }
        first += text.runs
      }
      parts += room(text, stride)
    }
  }

  private func merge(
    _ parts: UnsafePointer<Float>, _ texts: [TextRows], heads: Range<Int>, _ stride: Int,
    _ out: UnsafeMutablePointer<Float>
  ) {
    var parts = parts, first = 0
    for text in texts {
      for head in heads.clamped(to: first..<first + configuration.keyValueHeads) {
        merge(parts, text, head - first, stride, out)
      }
      first += configuration.keyValueHeads
      parts += room(text, stride)
    }
  }

  /// Parts lie head of keys by head of keys, row by row, head by head of its group, run by run.
  private func attend(
    _ queries: UnsafePointer<Float>, _ text: TextRows, _ head: Int, runs: Range<Int>,
    _ parts: UnsafeMutablePointer<Float>, _ stride: Int
  ) {
    let c = configuration
    kernels.attend(
      CacheQueries(
        queries + text.rows.lowerBound * c.queryWidth + head * group * c.headDimension,
        tokens: text.rows.count, heads: group, stride: c.queryWidth, start: text.start,
        scale: 1 / Float(c.headDimension).squareRoot()),
      to: runs.lowerBound * CacheHead.run..<min(runs.upperBound * CacheHead.run, text.end),
      of: text.cache.head(head),
      into: parts + (head * group * text.rows.count * text.runs + runs.lowerBound) * stride,
      runStride: stride,
      stride: text.runs * stride)
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
