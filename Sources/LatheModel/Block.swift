internal import LatheTensor

/// One block of a decoder: two norms and seven weights.
public struct Block: Sendable {
  /// The scales of the norm before attention.
  public var attentionNorm: [Float]
  /// The scales of the norm before the feed-forward part.
  public var feedForwardNorm: [Float]
  /// The weights.
  public var weights: [Role: Linear]

  /// A block of the given parts.
  public init(attentionNorm: [Float], feedForwardNorm: [Float], weights: [Role: Linear]) {
    (self.attentionNorm, self.feedForwardNorm, self.weights) = (attentionNorm, feedForwardNorm, weights)
  }
}

extension Inference {
  /// Runs one block on the hidden states of a text's first tokens, in place.
  package func run(
    _ block: Block, on hidden: UnsafeMutablePointer<Float>, tokens: Int, cache: KeyValueCache,
    upTo last: BlockInput? = nil, observer: Observer? = nil
  ) {
    run(block, on: hidden, tokens: tokens, start: 0, cache: cache[0], upTo: last, observer: observer)
  }

  /// What sees the inputs of a block's weights: the place, the values (row after row), the number of rows.
  package typealias Observer = (BlockInput, UnsafePointer<Float>, Int) -> Void

  /// Runs one block on `tokens` hidden states in place.
  ///
  /// - Parameters:
  ///   - start: the position of the first token; the cache holds what lies before.
  ///   - last: the last input that is needed: the rest of the block is not computed, and `hidden` not to be used.
  ///   - observer: sees every input on the way.
  ///   - packing: who continues whom, where the rows are not one text's.
  func run(
    _ block: Block, on hidden: UnsafeMutablePointer<Float>, tokens: Int, start: Int, cache: LayerCache,
    upTo last: BlockInput? = nil, observer: Observer? = nil, packing: PackedAttention? = nil
  ) {
    reserve(tokens)
    rotary.grow(to: start + tokens)
    cache.reserve(start + tokens, keeping: start)
    let c = configuration
    let normed = scratch.normed.pointer, attended = scratch.attended.pointer, gate = scratch.gate.pointer
    guard let q = block.weights[.query], let k = block.weights[.key], let v = block.weights[.value],
      let o = block.weights[.output], let gateWeight = block.weights[.gate],
      let upWeight = block.weights[.up],
      let down = block.weights[.down]
    else { preconditionFailure("a block without all its weights passed validation") }

    normalize(hidden, block.attentionNorm, tokens, into: normed)
    observer?(.attention, normed, tokens)
    stepTimer?(.rest)
    if last == .attention { return }
    let queries = scratch.queries.pointer
    let keys = cache.keys + start * c.keyValueWidth
    Linear.multiply(
      [(q, queries), (k, keys), (v, cache.values + start * c.keyValueWidth)], by: normed, tokens: tokens,
      team: team, inputs: roundedInputs)
    stepTimer?(.projections)
    if let packing {
      for (rows, start) in zip(packing.pack.rows, packing.pack.starts) {
        let query = queries + rows.lowerBound * c.queryWidth
        rotate(query, keys + rows.lowerBound * c.keyValueWidth, rows.count, start)
      }
      packing(queries: queries, cache: cache, configuration: c, into: attended, team: team)
    } else {
      rotate(queries, keys, tokens, start)
      attention(queries: queries, cache: cache, tokens: tokens, start: start, into: attended)
    }
    // Of the last block, only the rows whose logits are wanted go on.
    let tokens = packing?.keep(hidden, attended, c) ?? tokens
    observer?(.attentionOutput, attended, tokens)
    stepTimer?(.attention)
    if last == .attentionOutput { return }
    o(attended, tokens: tokens, into: normed, team: team, inputs: roundedInputs)
    stepTimer?(.projections)
    add(normed, to: hidden, tokens * c.hiddenSize)

    normalize(hidden, block.feedForwardNorm, tokens, into: normed)
    observer?(.feedForward, normed, tokens)
    stepTimer?(.rest)
    if last == .feedForward { return }
    Linear.multiply(
      [(gateWeight, gate), (upWeight, scratch.up.pointer)], by: normed, tokens: tokens, team: team,
      inputs: roundedInputs)
    stepTimer?(.gateUp)
    split(tokens * c.feedForwardSize) { range in
      Kernels.best.siluMultiply(
        gate + range.lowerBound, by: scratch.up.pointer + range.lowerBound, range.count)
    }
    observer?(.feedForwardHidden, gate, tokens)
    stepTimer?(.rest)
    if last == .feedForwardHidden { return }
    down(gate, tokens: tokens, into: normed, team: team, inputs: roundedInputs)
    stepTimer?(.down)
    add(normed, to: hidden, tokens * c.hiddenSize)
  }

  func normalize(
    _ x: UnsafePointer<Float>, _ weight: [Float], _ tokens: Int, into out: UnsafeMutablePointer<Float>
  ) {
    let n = configuration.hiddenSize
    for t in 0..<tokens {
      Kernels.best.rmsNorm(
        x + t * n, weight: weight, epsilon: configuration.normEpsilon, into: out + t * n, n)
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

  private func add(_ b: UnsafePointer<Float>, to a: UnsafeMutablePointer<Float>, _ n: Int) {
    split(n) { range in Kernels.best.add(b + range.lowerBound, to: a + range.lowerBound, range.count) }
  }

  /// Splits element-wise work, if there is enough of it to be worth waking a thread.
  private func split(_ n: Int, _ body: (Range<Int>) -> Void) {
    if n < 1 << 15 { body(0..<n) } else { team.split(n, grain: 4096, body) }
  }
}
