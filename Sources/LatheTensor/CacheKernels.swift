internal import CLatheKernels

/// The keys and values of one head, from position 0 on, as kernels see them.
package struct CacheHead {
  fileprivate var head: LatheCacheHead

  /// The positions that lie together, and those that are attended to at a time.
  package static let block = 16
  package static let run = Int(LATHE_CACHE_RUN)
  /// The positions that a tile of rows looks at together.
  package static let tile = Int(LATHE_TILE_KEYS)

  /// A head whose memory the caller owns; `width` elements are stored of which `dimension` are used.
  ///
  /// - Parameter kind: 0 to 3: single precision, half precision, codes of 8 bits, codes of 4 bits.
  package init(
    kind: Int, dimension: Int, width: Int, keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer,
    keyScales: UnsafeMutableRawPointer?, valueScales: UnsafeMutableRawPointer?
  ) {
    head = LatheCacheHead(
      keys: keys.assumingMemoryBound(to: UInt8.self), values: values.assumingMemoryBound(to: UInt8.self),
      key_scales: keyScales?.assumingMemoryBound(to: UInt16.self),
      value_scales: valueScales?.assumingMemoryBound(to: UInt16.self), kind: UInt32(kind), dim: dimension,
      width: width)
  }

  /// The elements that are stored of a position.
  package var width: Int { head.width }
}

/// The queries of some tokens that look at one head's keys: `heads` vectors a token, `stride` floats to the next token.
package struct CacheQueries {
  fileprivate var queries: LatheCacheQueries

  /// The first token stands at position `start`, and sees what lies before it and itself.
  package init(
    _ first: UnsafePointer<Float>, tokens: Int, heads: Int, stride: Int, start: Int, scale: Float
  ) {
    queries = LatheCacheQueries(
      queries: first, tokens: tokens, heads: heads, stride: stride, start: start, scale: scale)
  }
}

/// Rows that look at one head's keys, a query each, and a running softmax over what they have seen.
package struct TileRows {
  fileprivate var rows: LatheTileRows

  /// The floats that a position takes in a panel.
  package static func width(_ dimension: Int) -> Int { (dimension + 15) / 16 * 16 }

  /// The floats that `count` rows need.
  package static func room(_ count: Int, dimension: Int) -> Int {
    (count * (2 * width(dimension) + 2) + 15) / 16 * 16
  }

  /// Rows that have seen nothing, in memory the caller owns.
  ///
  /// - Parameters:
  ///   - queries: `dimension` floats a row, `stride` from one row to the next.
  ///   - scale: what products of queries and keys are multiplied by before they are exponents.
  ///   - memory: `room` floats.
  ///   - scores: `CacheHead.tile` floats a row, which hold nothing between two calls.
  package init(
    _ queries: UnsafePointer<Float>, count: Int, stride: Int, dimension: Int, scale: Float,
    memory: UnsafeMutablePointer<Float>, scores: UnsafeMutablePointer<Float>
  ) {
    let width = Self.width(dimension)
    let own = memory, sums = own + count * width, totals = sums + count * width, peaks = totals + count
    // Weights are powers of two.
    let factor = scale * 1.442_695_04
    for row in 0..<count {
      for e in 0..<dimension { own[row * width + e] = queries[row * stride + e] * factor }
      for e in dimension..<width { own[row * width + e] = 0 }
    }
    sums.update(repeating: 0, count: count * (width + 1))
    peaks.update(repeating: -.infinity, count: count)
    rows = LatheTileRows(
      queries: own, sums: sums, totals: totals, peaks: peaks, scores: scores, rows: count, width: width)
  }

  /// Those of the rows that are in `part`.
  package func callAsFunction(_ part: Range<Int>) -> TileRows {
    var some = self
    some.rows.queries += part.lowerBound * rows.width
    some.rows.sums += part.lowerBound * rows.width
    some.rows.totals += part.lowerBound
    some.rows.peaks += part.lowerBound
    some.rows.rows = part.count
    return some
  }

  /// The means of what the rows have seen: `dimension` floats a row, `stride` from one row to the next.
  package func means(into out: UnsafeMutablePointer<Float>, stride: Int, dimension: Int) {
    for row in 0..<rows.rows {
      let norm = 1 / rows.totals[row], sums = rows.sums + row * rows.width
      for e in 0..<dimension { out[row * stride + e] = sums[e] * norm }
    }
  }
}

extension Kernels {
  /// Writes the keys and values of one position.
  package func store(
    _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, at position: Int, in head: CacheHead
  ) {
    withUnsafePointer(to: head.head) { table.pointee.cache_store($0, position, key, value) }
  }

  /// Lays out at most `CacheHead.tile` positions as floats, in panels of sixteen lanes.
  ///
  /// - Parameters:
  ///   - keys: room for `tile` · `TileRows.width` floats: sixteen positions after another, element by element, a position
  ///     in each lane.
  ///   - values: as much room: sixteen elements after another, position by position, an element in each lane.
  package func panels(
    _ positions: Range<Int>, of head: CacheHead, keys: UnsafeMutablePointer<Float>,
    values: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: head.head) {
      table.pointee.cache_panels($0, positions.lowerBound, positions.count, keys, values)
    }
  }

  /// Rows look at `count` positions that `panels` laid out: row r at the first `visible + r` of them.
  package func attend(
    _ rows: TileRows, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, count: Int, visible: Int
  ) {
    withUnsafePointer(to: rows.rows) { table.pointee.attend_tile($0, keys, values, count, visible) }
  }

  /// Attends to `positions`, which begin at a multiple of `CacheHead.run`, run by run.
  ///
  /// - Parameter out: each query's sum of weighted values in `width` floats, a peak of its scores and the sum of its
  ///   weights: `runStride` floats from run to run, `stride` from query to query.
  package func attend(
    _ queries: CacheQueries, to positions: Range<Int>, of head: CacheHead,
    into out: UnsafeMutablePointer<Float>, runStride: Int, stride: Int
  ) {
    let scratch = lathe_cache_scratch(head.width)
    withUnsafeTemporaryAllocation(byteCount: 4 * scratch, alignment: 64) { scratch in
      guard let scratch = scratch.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
      withUnsafePointer(to: head.head) { head in
        withUnsafePointer(to: queries.queries) { queries in
          table.pointee.attend(
            head, queries, positions.lowerBound, positions.count, scratch, out, runStride, stride)
        }
      }
    }
  }

  /// Puts together what `attend` made of one query on `runs` runs, `stride` floats apart.
  package func merge(
    _ parts: UnsafePointer<Float>, runs: Int, stride: Int, width: Int, dimension: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    table.pointee.merge_runs(parts, runs, stride, width, dimension, out)
  }
}
