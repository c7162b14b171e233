internal import LatheTensor

/// What the rows of a batch continue.
enum RowContext {
  /// Each of some runs of rows its own text.
  case texts([TextRows])
  /// Each other, or a prefix.
  case pack(PackedAttention)

  /// Moves the rows that are needed to the front, where not all are; returns their number, nil where all are needed.
  func keep(
    _ hidden: UnsafeMutablePointer<Float>, _ attended: UnsafeMutablePointer<Float>, _ c: Configuration
  ) -> Int? {
    if case .pack(let attention) = self { attention.keep(hidden, attended, c) } else { nil }
  }
}

extension Inference {
  /// Turns the queries and keys in `scratch`, puts keys and values away, and attends.
  func attend(in context: RowContext, _ block: Block, _ attention: Attention) {
    let c = attention.configuration
    let queries = UnsafePointer(scratch.queries.pointer), attended = scratch.attended.pointer
    switch context {
    case .texts(let texts):
      rotary.grow(to: texts.reduce(0) { max($0, $1.end) })
      for text in texts {
        text.cache.reserve(text.end, keeping: text.start)
        place(text.rows, at: text.start, in: text.cache, from: text.start, block, c)
      }
      attention(queries: queries, texts: texts, into: attended)
    case .pack(let packed):
      let pack = packed.pack
      rotary.grow(to: pack.end)
      packed.cache.reserve(pack.tokens.count, keeping: 0)
      for (rows, start) in zip(pack.rows, pack.starts) {
        place(rows, at: start, in: packed.cache, from: rows.lowerBound, block, c)
      }
      packed(queries: queries, configuration: c, into: attended, team: team)
    }
  }

  /// Normalizes and turns the queries and keys of `rows`, the first at `position`, and stores keys and values from `slot` on.
  private func place(
    _ rows: Range<Int>, at position: Int, in cache: LayerCache, from slot: Int, _ block: Block,
    _ c: Configuration
  ) {
    let work = { (part: Range<Int>) in
      let row = rows.lowerBound + part.lowerBound
      let queries = self.scratch.queries.pointer + row * c.queryWidth
      let keys = self.scratch.keys.pointer + row * c.keyValueWidth
      self.normalizeHeads(queries, block.queryNorm, part.count * c.heads)
      self.normalizeHeads(keys, block.keyNorm, part.count * c.keyValueHeads)
      self.rotate(queries, keys, part.count, position + part.lowerBound, c)
      cache.store(
        keys, self.scratch.values.pointer + row * c.keyValueWidth, rows: part.count,
        at: slot + part.lowerBound)
    }
    // Whole blocks of the cache, and enough of them to be worth waking a thread.
    if rows.count * c.queryWidth < 1 << 15 {
      work(0..<rows.count)
    } else {
      team.split(rows.count, grain: 32, work)
    }
  }

  /// Each head by itself, in place; nothing where there is no such norm.
  private func normalizeHeads(_ x: UnsafeMutablePointer<Float>, _ weight: [Float]?, _ count: Int) {
    guard let weight else { return }
    let d = configuration.headDimension
    for i in 0..<count {
      Kernels.best.rmsNorm(
        x + i * d, weight: weight, epsilon: configuration.normEpsilon, into: x + i * d, d)
    }
  }

  private func rotate(
    _ queries: UnsafeMutablePointer<Float>, _ keys: UnsafeMutablePointer<Float>, _ tokens: Int, _ start: Int,
    _ c: Configuration
  ) {
    let interleaved = c.rotary.pairing == .interleaved
    rotary.cosines.withUnsafeBufferPointer { cosines in
      rotary.sines.withUnsafeBufferPointer { sines in
        guard let cosines = cosines.baseAddress, let sines = sines.baseAddress else { return }
        for t in 0..<tokens {
          let at = (start + t) * rotary.width
          Kernels.best.rotate(
            queries + t * c.queryWidth, cosine: cosines + at, sine: sines + at, heads: c.heads,
            dimension: c.headDimension, interleaved: interleaved)
          Kernels.best.rotate(
            keys + t * c.keyValueWidth, cosine: cosines + at, sine: sines + at, heads: c.keyValueHeads,
            dimension: c.headDimension, interleaved: interleaved)
        }
      }
    }
  }
}
