internal import LatheEncoding
public import LatheTensor

/// Runs a model: tokens in, logits out.
///
/// A value owns the scratch memory of one run at a time; it is not shared between threads. Arithmetic is in
/// single precision on the packed weights.
public final class Inference {
  /// The sizes of the model it runs.
  public let configuration: Configuration
  /// The threads it works with.
  public let team: ThreadTeam
  /// Tokens run together at most; longer inputs go in pieces of this many.
  public static let batch = 512

  let model: Model
  private let rotary: RotaryTable
  private let attention: Attention
  private var scratch: Scratch

  /// A run of `model`.
  public init(_ model: Model, team: ThreadTeam) {
    self.model = model
    self.team = team
    configuration = model.configuration
    rotary = RotaryTable(model.configuration.rotary, dimension: model.configuration.headDimension)
    attention = Attention(model.configuration, team: team)
    scratch = Scratch(model.configuration, tokens: 1)
  }

  /// An empty cache for this model.
  public func makeCache(capacity: Int = 64) -> KeyValueCache {
    KeyValueCache(configuration, capacity: capacity)
  }

  /// Reads `tokens` and returns the logits that follow the last one, one for each token of the vocabulary.
  ///
  /// - Precondition: `tokens` is not empty and every id is in the vocabulary (`checkTokens`).
  public func logits(after tokens: [Int32], cache: KeyValueCache) -> [Float] {
    var last = [Float](repeating: 0, count: configuration.hiddenSize)
    for start in stride(from: 0, to: tokens.count, by: Self.batch) {
      let piece = tokens[start..<min(start + Self.batch, tokens.count)]
      let hidden = hiddenStates(piece, cache: cache)
      if start + piece.count == tokens.count {
        last.withUnsafeMutableBufferPointer { buffer in
          buffer.baseAddress?.update(
            from: hidden + (piece.count - 1) * configuration.hiddenSize, count: configuration.hiddenSize)
        }
      }
    }
    var logits = [Float](repeating: 0, count: configuration.vocabularySize)
    logits.withUnsafeMutableBufferPointer { out in
      last.withUnsafeMutableBufferPointer { x in
        if let x = x.baseAddress, let out = out.baseAddress { head(x, tokens: 1, into: out) }
      }
    }
    return logits
  }

  /// Reads `tokens` from an empty context; the logits at each position are taken from the result, a run at a time.
  package func readLogits(of tokens: [Int32], cache: KeyValueCache) -> LogitsReader {
    cache.truncate(to: 0)
    return LogitsReader(self, tokens, cache)
  }

  /// Throws where an id is not in the vocabulary.
  ///
  /// - Throws: `Problem` of kind `badData`.
  public func checkTokens(_ tokens: some Sequence<Int32>) throws(Problem) {
    for token in tokens where token < 0 || token >= configuration.vocabularySize {
      throw Problem(
        .badData, "token \(token) is not one of the model's \(configuration.vocabularySize)",
        cure: "the tokenizer and the model do not belong together")
    }
  }

  // MARK: Steps

  /// The embeddings of `tokens`, `tokens.count` × hiddenSize.
  package func embed(_ tokens: some Collection<Int32>, into out: UnsafeMutablePointer<Float>) {
    for (i, token) in tokens.enumerated() {
      model.embedding.encoding.decode(
        model.embedding, rows: Int(token)..<Int(token) + 1, into: out + i * configuration.hiddenSize,
        with: .best)
    }
  }

  /// The hidden states after the last block; valid until the next call.
  fileprivate func hiddenStates(_ tokens: ArraySlice<Int32>, cache: KeyValueCache) -> UnsafeMutablePointer<
    Float
  > {
    reserve(tokens.count)
    embed(tokens, into: scratch.hidden.pointer)
    for (layer, block) in model.blocks.enumerated() {
      run(block, on: scratch.hidden.pointer, tokens: tokens.count, start: cache.count, cache: cache[layer])
    }
    cache.count += tokens.count
    return scratch.hidden.pointer
  }

  /// Logits of `tokens` hidden states, which are normalized in place.
  fileprivate func head(
    _ hidden: UnsafeMutablePointer<Float>, tokens: Int, into out: UnsafeMutablePointer<Float>
  ) {
    normalize(hidden, model.finalNorm, tokens, into: hidden)
    model.effectiveHead(hidden, tokens: tokens, into: out, team: team)
  }

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
  package func run(
    _ block: Block, on hidden: UnsafeMutablePointer<Float>, tokens: Int, start: Int, cache: LayerCache,
    upTo last: BlockInput? = nil, observer: Observer? = nil
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
    if last == .attention { return }
    let queries = scratch.queries.pointer
    let keys = cache.keys + start * c.keyValueWidth
    q(normed, tokens: tokens, into: queries, team: team)
    k(normed, tokens: tokens, into: keys, team: team)
    v(normed, tokens: tokens, into: cache.values + start * c.keyValueWidth, team: team)
    rotate(queries, keys, tokens, start)
    attention(queries: queries, cache: cache, tokens: tokens, start: start, into: attended)
    observer?(.attentionOutput, attended, tokens)
    if last == .attentionOutput { return }
    o(attended, tokens: tokens, into: normed, team: team)
    add(normed, to: hidden, tokens * c.hiddenSize)

    normalize(hidden, block.feedForwardNorm, tokens, into: normed)
    observer?(.feedForward, normed, tokens)
    if last == .feedForward { return }
    gateWeight(normed, tokens: tokens, into: gate, team: team)
    upWeight(normed, tokens: tokens, into: scratch.up.pointer, team: team)
    split(tokens * c.feedForwardSize) { range in
      Kernels.best.siluMultiply(
        gate + range.lowerBound, by: scratch.up.pointer + range.lowerBound, range.count)
    }
    observer?(.feedForwardHidden, gate, tokens)
    if last == .feedForwardHidden { return }
    down(gate, tokens: tokens, into: normed, team: team)
    add(normed, to: hidden, tokens * c.hiddenSize)
  }

  private func normalize(
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

  private func reserve(_ tokens: Int) {
    if tokens > scratch.tokens { scratch = Scratch(configuration, tokens: tokens) }
  }
}

/// Hands out the logits of a text, a run of positions at a time, so that no more than a run's are held.
///
/// Two models with one vocabulary give runs of equal length, and can be read side by side.
package final class LogitsReader {
  private let inference: Inference
  private let tokens: [Int32]
  private let cache: KeyValueCache
  private let run: Int
  private let logits: FloatBuffer
  private var hidden: UnsafeMutablePointer<Float>?
  private var batch = 0..<0
  private var position = 0

  fileprivate init(_ inference: Inference, _ tokens: [Int32], _ cache: KeyValueCache) {
    (self.inference, self.tokens, self.cache) = (inference, tokens, cache)
    let vocabulary = inference.configuration.vocabularySize
    // At most 64 MiB of logits at a time, whatever the vocabulary.
    run = max(1, min(Inference.batch, tokens.count, (1 << 24) / vocabulary))
    logits = FloatBuffer(run * vocabulary)
  }

  /// The first position of the next run, the number of positions, and their logits, row by row, valid until the next call.
  package func next() -> (first: Int, count: Int, logits: UnsafePointer<Float>)? {
    guard position < tokens.count else { return nil }
    if position == batch.upperBound {
      batch = position..<min(position + Inference.batch, tokens.count)
      hidden = inference.hiddenStates(tokens[batch], cache: cache)
    }
    guard let hidden else { return nil }
    let count = min(run, batch.upperBound - position)
    let from = hidden + (position - batch.lowerBound) * inference.configuration.hiddenSize
    inference.head(from, tokens: count, into: logits.pointer)
    defer { position += count }
    return (position, count, UnsafePointer(logits.pointer))
  }
}

/// The memory a block's intermediate values live in.
private struct Scratch {
  let tokens: Int
  let hidden, normed, queries, attended, gate, up: FloatBuffer

  init(_ c: Configuration, tokens: Int) {
    self.tokens = tokens
    hidden = FloatBuffer(tokens * c.hiddenSize)
    normed = FloatBuffer(tokens * c.hiddenSize)
    queries = FloatBuffer(tokens * c.queryWidth)
    attended = FloatBuffer(tokens * c.queryWidth)
    gate = FloatBuffer(tokens * c.feedForwardSize)
    up = FloatBuffer(tokens * c.feedForwardSize)
  }
}
