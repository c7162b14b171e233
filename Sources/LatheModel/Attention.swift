internal import LatheTensor

/// Causal attention of a run of queries over a cache, without ever holding the full matrix of scores.
///
/// Long runs go tile by tile with an online softmax (FlashAttention, arXiv:2205.14135); short ones query by query.
struct Attention {
  let configuration: Configuration
  let team: ThreadTeam
  private let kernels = Kernels.best
  private static let queryTile = 64
  private static let keyTile = 256

  init(_ configuration: Configuration, team: ThreadTeam) {
    (self.configuration, self.team) = (configuration, team)
  }

  /// Queries and outputs are `tokens` × (heads · headDimension); the first query stands at position `start`.
  func callAsFunction(
    queries: UnsafePointer<Float>, cache: LayerCache, tokens: Int, start: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    if tokens < 8 {
      single(queries, cache, tokens, start, out)
    } else {
      let tiles = (tokens + Self.queryTile - 1) / Self.queryTile
      // The last tiles see the most keys: they go first, so that no thread is left with one at the end.
      team.run(tiles * configuration.heads) { piece in
        let tile = tiles - 1 - piece / configuration.heads
        tiled(queries, cache, tokens, start, out, tile: tile, head: piece % configuration.heads)
      }
    }
  }

  private var scale: Float { 1 / Float(configuration.headDimension).squareRoot() }

  private func single(
    _ queries: UnsafePointer<Float>, _ cache: LayerCache, _ tokens: Int, _ start: Int,
    _ out: UnsafeMutablePointer<Float>
  ) {
    let c = configuration, d = c.headDimension, group = c.heads / c.keyValueHeads
    let work = { (piece: Int) in
      let t = piece / c.heads, head = piece % c.heads
      let count = start + t + 1
      withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { scores in
        guard let scores = scores.baseAddress else { return }
        kernels.attend(
          queries + t * c.queryWidth + head * d, keys: cache.keys + head / group * d,
          values: cache.values + head / group * d, count: count, stride: c.keyValueWidth, dimension: d,
          scale: scale,
          scores: scores, into: out + t * c.queryWidth + head * d)
      }
    }
    // A thread must have enough to do to be worth waking.
    if (start + tokens) * c.queryWidth * tokens > 1 << 17 {
      team.run(tokens * c.heads, work)
    } else {
      for piece in 0..<tokens * c.heads { work(piece) }
    }
  }

  private func tiled(
    _ queries: UnsafePointer<Float>, _ cache: LayerCache, _ tokens: Int, _ start: Int,
    _ out: UnsafeMutablePointer<Float>, tile: Int, head: Int
  ) {
    let c = configuration, d = c.headDimension, group = c.heads / c.keyValueHeads
    let first = tile * Self.queryTile, rows = min(Self.queryTile, tokens - first)
    let query = queries + first * c.queryWidth + head * d
    let target = out + first * c.queryWidth + head * d
    let keys = cache.keys + head / group * d, values = cache.values + head / group * d
    let seen = start + first + rows
    withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.queryTile * (Self.keyTile + 3)) { scratch in
      guard let scores = scratch.baseAddress else { return }
      let peak = scores + Self.queryTile * Self.keyTile, sum = peak + Self.queryTile,
        correction = sum + Self.queryTile
      peak.update(repeating: -.infinity, count: rows)
      sum.update(repeating: 0, count: rows)
      for key in stride(from: 0, to: seen, by: Self.keyTile) {
        let columns = min(Self.keyTile, seen - key)
        BLAS.multiplyTransposed(
          query, stride: c.queryWidth, keys + key * c.keyValueWidth, stride: c.keyValueWidth, into: scores,
          stride: Self.keyTile, m: rows, n: columns, k: d)
        kernels.softmaxTile(
          scores, rows: rows, columns: columns, stride: Self.keyTile, visible: start + first + 1 - key,
          scale: scale,
          peak: peak, sum: sum, correction: correction)
        if key > 0 {
          for r in 0..<rows where correction[r] != 1 {
            for i in 0..<d { target[r * c.queryWidth + i] *= correction[r] }
          }
        }
        BLAS.multiply(
          scores, stride: Self.keyTile, values + key * c.keyValueWidth, stride: c.keyValueWidth, into: target,
          stride: c.queryWidth, m: rows, n: d, k: columns, beta: key == 0 ? 0 : 1)
      }
      for r in 0..<rows {
        let norm = 1 / sum[r]
        for i in 0..<d { target[r * c.queryWidth + i] *= norm }
      }
    }
  }
}
