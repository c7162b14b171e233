internal import LatheTensor

/// One block of a decoder: two norms and seven weights.
public struct Block: Sendable {
  /// The scales of the norm before attention.
  public var attentionNorm: [Float]
  /// The scales of the norm before the feed-forward part.
  public var feedForwardNorm: [Float]
  /// The scales of the norms that each head's queries and keys pass before they are turned, where there are such.
  public var queryNorm, keyNorm: [Float]?
  /// The weights.
  public var weights: [Role: Linear]

  /// A block of the given parts.
  public init(attentionNorm: [Float], feedForwardNorm: [Float], weights: [Role: Linear]) {
    (self.attentionNorm, self.feedForwardNorm, self.weights) = (attentionNorm, feedForwardNorm, weights)
  }

  /// The scales of a norm; nil where the block has no such norm.
  public subscript(norm: BlockNorm) -> [Float]? {
    get {
      switch norm {
      case .attention: attentionNorm
      case .feedForward: feedForwardNorm
      case .query: queryNorm
      case .key: keyNorm
      }
    }
    set {
      switch norm {
      case .attention: attentionNorm = newValue ?? []
      case .feedForward: feedForwardNorm = newValue ?? []
      case .query: queryNorm = newValue
      case .key: keyNorm = newValue
      }
    }
  }

  /// The scales of all norms together.
  var normCount: Int { BlockNorm.allCases.reduce(0) { $0 + (self[$1]?.count ?? 0) } }
}

extension Inference {
  /// Runs one block, number `layer`, on the hidden states of a text's first tokens, in place.
  package func run(
    _ block: Block, at layer: Int, on hidden: UnsafeMutablePointer<Float>, tokens: Int, cache: KeyValueCache,
    upTo last: BlockInput? = nil, observer: Observer? = nil
  ) {
    let text = TextRows(rows: 0..<tokens, start: 0, cache: cache[layer])
    run(block, at: layer, on: hidden, tokens: tokens, context: .texts([text]), upTo: last, observer: observer)
  }

  /// What sees the inputs of a block's weights: the place, the values (row after row), the number of rows.
  package typealias Observer = (BlockInput, UnsafePointer<Float>, Int) -> Void

  /// Runs one block on `tokens` hidden states in place.
  ///
  /// - Parameters:
  ///   - layer: the block's number, which tells its sizes.
  ///   - context: what each row continues.
  ///   - last: the last input that is needed: the rest of the block is not computed, and `hidden` not to be used.
  ///   - observer: sees every input on the way.
  func run(
    _ block: Block, at layer: Int, on hidden: UnsafeMutablePointer<Float>, tokens: Int, context: RowContext,
    upTo last: BlockInput? = nil, observer: Observer? = nil
  ) {
    reserve(tokens)
    let attention = attention[layer], c = attention.configuration
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
    let queries = scratch.queries.pointer, keys = scratch.keys.pointer, values = scratch.values.pointer
    Linear.multiply(
      [(q, queries), (k, keys), (v, values)], by: normed, tokens: tokens, team: team, inputs: roundedInputs)
    stepTimer?(.projections)
    attend(in: context, block, attention)
    // Of the last block, only the rows whose logits are wanted go on.
    let tokens = context.keep(hidden, attended, c) ?? tokens
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

  private func add(_ b: UnsafePointer<Float>, to a: UnsafeMutablePointer<Float>, _ n: Int) {
    split(n) { range in Kernels.best.add(b + range.lowerBound, to: a + range.lowerBound, range.count) }
  }

  /// Splits element-wise work, if there is enough of it to be worth waking a thread.
  private func split(_ n: Int, _ body: (Range<Int>) -> Void) {
    if n < 1 << 13 { body(0..<n) } else { team.share(n, grain: 2048, body) }
  }
}
