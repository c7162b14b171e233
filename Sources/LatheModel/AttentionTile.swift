internal import LatheTensor

/// Some rows' queries, for the heads that share one head of keys: a running softmax over one run of keys after another
/// (FlashAttention, arXiv:2205.14135). The full matrix of scores is never held.
struct AttentionTile {
  /// Rows, and keys, that are looked at together.
  static let rowCount = 64
  static let keyCount = 256

  private let queries: UnsafePointer<Float>
  private let out: UnsafeMutablePointer<Float>
  private let configuration: Configuration
  private let heads: Range<Int>
  private let rows: Range<Int>
  private let scores, keys, values, peak, sum, correction: UnsafeMutablePointer<Float>
  private let kernels = Kernels.best

  /// Runs `body` on the tile of `rows`, at most `rowCount`, and of `heads`; queries and outputs are rows × queryWidth.
  static func attend(
    _ rows: Range<Int>, heads: Range<Int>, queries: UnsafePointer<Float>, configuration c: Configuration,
    into out: UnsafeMutablePointer<Float>, _ body: (AttentionTile) -> Void
  ) {
    let width = c.headDimension + 32
    let room = rowCount * (keyCount + 2 * heads.count + 1) + 2 * keyCount * width
    withUnsafeTemporaryAllocation(byteCount: room * MemoryLayout<Float>.stride, alignment: 64) { memory in
      guard let memory = memory.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
      let tile = AttentionTile(rows, heads, queries, c, out, memory, width)
      tile.clear()
      body(tile)
      tile.finish()
    }
  }

  private init(
    _ rows: Range<Int>, _ heads: Range<Int>, _ queries: UnsafePointer<Float>, _ configuration: Configuration,
    _ out: UnsafeMutablePointer<Float>, _ memory: UnsafeMutablePointer<Float>, _ width: Int
  ) {
    (self.rows, self.heads, self.queries, self.out) = (rows, heads, queries, out)
    self.configuration = configuration
    scores = memory
    keys = scores + Self.rowCount * Self.keyCount
    values = keys + Self.keyCount * width
    peak = values + Self.keyCount * width
    sum = peak + Self.rowCount * heads.count
    correction = sum + Self.rowCount * heads.count
  }

  /// Where the outputs of `head` begin, for `row`.
  private func target(_ row: Int, _ head: Int) -> UnsafeMutablePointer<Float> {
    out + row * configuration.queryWidth + head * configuration.headDimension
  }

  private func clear() {
    peak.update(repeating: -.infinity, count: Self.rowCount * heads.count)
    sum.update(repeating: 0, count: Self.rowCount * heads.count)
    for row in rows {
      target(row, heads.lowerBound).update(repeating: 0, count: heads.count * configuration.headDimension)
    }
  }

  /// Adds to `part` of the rows what they see of `positions`; the first of them sees `visible`, each other one more.
  func look(_ part: Range<Int>, at head: CacheHead, _ positions: Range<Int>, visible: Int) {
    let d = configuration.headDimension, width = configuration.queryWidth
    for first in stride(from: positions.lowerBound, to: positions.upperBound, by: Self.keyCount) {
      let run = first..<min(first + Self.keyCount, positions.upperBound)
      kernels.keys(run, of: head, into: keys, stride: Self.keyCount)
      let values = kernels.values(run, of: head, scratch: values)
      for (index, h) in heads.enumerated() {
        let offset = index * Self.rowCount + part.lowerBound - rows.lowerBound
        let query = queries + part.lowerBound * width + h * d, target = target(part.lowerBound, h)
        BLAS.multiply(
          query, stride: width, keys, stride: Self.keyCount, into: scores, stride: Self.keyCount,
          m: part.count, n: run.count, k: d)
        kernels.softmaxTile(
          scores, rows: part.count, columns: run.count, stride: Self.keyCount,
          visible: visible - (first - positions.lowerBound), scale: 1 / Float(d).squareRoot(),
          peak: peak + offset, sum: sum + offset, correction: correction)
        for r in 0..<part.count where correction[r] != 1 {
          for i in 0..<d { target[r * width + i] *= correction[r] }
        }
        BLAS.multiply(
          scores, stride: Self.keyCount, values, stride: head.width, into: target, stride: width,
          m: part.count, n: d, k: run.count, beta: 1)
      }
    }
  }

  private func finish() {
    for (index, head) in heads.enumerated() {
      for row in rows {
        let norm = 1 / sum[index * Self.rowCount + row - rows.lowerBound], target = target(row, head)
        for i in 0..<configuration.headDimension { target[i] *= norm }
      }
    }
  }
}
