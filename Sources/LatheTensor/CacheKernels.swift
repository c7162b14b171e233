internal import CLatheKernels

/// The keys and values of one head, from position 0 on, as kernels see them.
package struct CacheHead {
  fileprivate var head: LatheCacheHead

  /// The positions that lie together, and those that are attended to at a time.
  package static let block = 16
  package static let run = Int(LATHE_CACHE_RUN)

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

extension Kernels {
  /// Writes the keys and values of one position.
  package func store(
    _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, at position: Int, in head: CacheHead
  ) {
    withUnsafePointer(to: head.head) { table.pointee.cache_store($0, position, key, value) }
  }

  /// Keys as floats, transposed: element e of position i at `out[e · stride + i]`.
  package func keys(
    _ positions: Range<Int>, of head: CacheHead, into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    withUnsafePointer(to: head.head) {
      table.pointee.cache_keys($0, positions.lowerBound, positions.count, out, stride)
    }
  }

  /// Values as floats, `width` a position; where they are floats they are not copied.
  package func values(
    _ positions: Range<Int>, of head: CacheHead, scratch: UnsafeMutablePointer<Float>
  ) -> UnsafePointer<Float> {
    if head.head.kind == UInt32(LATHE_CACHE_f32) {
      let floats = UnsafeRawPointer(head.head.values).assumingMemoryBound(to: Float.self)
      return floats + positions.lowerBound * head.width
    }
    withUnsafePointer(to: head.head) {
      table.pointee.cache_values($0, positions.lowerBound, positions.count, scratch)
    }
    return UnsafePointer(scratch)
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
