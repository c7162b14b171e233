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
  func attend(in context: RowContext) {
    let queries = UnsafePointer(scratch.queries.pointer), attended = scratch.attended.pointer
    switch context {
    case .texts(let texts):
      rotary.grow(to: texts.reduce(0) { max($0, $1.end) })
      for text in texts {
        text.cache.reserve(text.end, keeping: text.start)
        place(text.rows, at: text.start, in: text.cache, from: text.start)
      }
      attention(queries: queries, texts: texts, into: attended)
    case .pack(let attention):
      let pack = attention.pack
      rotary.grow(to: pack.end)
      attention.cache.reserve(pack.tokens.count, keeping: 0)
      for (rows, start) in zip(pack.rows, pack.starts) {
        place(rows, at: start, in: attention.cache, from: rows.lowerBound)
      }
      attention(queries: queries, configuration: configuration, into: attended, team: team)
    }
  }

  /// Turns the queries and keys of `rows`, the first at `position`, and stores keys and values from `slot` on.
  private func place(_ rows: Range<Int>, at position: Int, in cache: LayerCache, from slot: Int) {
    let c = configuration
    let work = { (part: Range<Int>) in
      let row = rows.lowerBound + part.lowerBound
      let keys = self.scratch.keys.pointer + row * c.keyValueWidth
      self.rotate(
        self.scratch.queries.pointer + row * c.queryWidth, keys, part.count, position + part.lowerBound)
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

  private func rotate(
    _ queries: UnsafeMutablePointer<Float>, _ keys: UnsafeMutablePointer<Float>, _ tokens: Int, _ start: Int
  ) {
    let c = configuration, interleaved = c.rotary.pairing == .interleaved
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
