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

  package let model: Model
  let rotary: RotaryTable
  /// That of each block.
  let attention: [Attention]
  private(set) var scratch: Scratch
  let roundedInputs = TileInputs()
  /// Told after each step what it was; nil costs nothing.
  package var stepTimer: ((StepGroup) -> Void)?

  /// A run of `model`.
  ///
  /// - Parameter context: the positions that texts may have; models with other frequencies for long texts choose by it.
  ///   nil for no more than the model was first trained for.
  public init(_ model: Model, team: ThreadTeam, context: Int? = nil) {
    self.model = model
    self.team = team
    configuration = model.configuration
    let c = model.configuration
    rotary = RotaryTable(c.rotary, dimension: c.headDimension, context: context)
    attention = (0..<c.layers).map { Attention(c[layer: $0], team: team) }
    scratch = Scratch(c, tokens: 1)
  }

  /// An empty cache for this model.
  ///
  /// - Parameters:
  ///   - capacity: the positions that room is made for at once.
  ///   - type: how keys and values are held.
  public func makeCache(capacity: Int = 64, type: CacheType = .f32) -> KeyValueCache {
    KeyValueCache(configuration, capacity: capacity, type: type)
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

  /// Reads one token of each of several texts, every weight once for all of them.
  ///
  /// - Parameters:
  ///   - tokens: the next token of each text.
  ///   - caches: what was read of each text; different ones, perhaps of different lengths.
  /// - Returns: the logits that follow each text, `tokens.count` × vocabularySize.
  /// - Precondition: as many caches as tokens, and every id is in the vocabulary (`checkTokens`).
  public func logits(afterEach tokens: [Int32], caches: [KeyValueCache]) -> [Float] {
    precondition(tokens.count == caches.count, "a cache for each token")
    guard !tokens.isEmpty else { return [] }
    return logits(of: hiddenStates(tokens.indices.map { (tokens[$0...$0], caches[$0]) }), count: tokens.count)
  }

  /// Reads `tokens`, at most `batch`, and returns the logits that follow each of them, `tokens.count` × vocabularySize.
  ///
  /// - Precondition: every id is in the vocabulary (`checkTokens`).
  public func logits(atEach tokens: [Int32], cache: KeyValueCache) -> [Float] {
    precondition(tokens.count <= Self.batch, "at most \(Self.batch) tokens")
    guard !tokens.isEmpty else { return [] }
    return logits(of: hiddenStates(tokens[...], cache: cache), count: tokens.count)
  }

  private func logits(of hidden: UnsafeMutablePointer<Float>, count: Int) -> [Float] {
    let size = count * configuration.vocabularySize
    return [Float](unsafeUninitializedCapacity: size) { out, filled in
      if let out = out.baseAddress { head(hidden, tokens: count, into: out) }
      filled = size
    }
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
    model.residualRotation?.apply(to: out, count: tokens.count)
    stepTimer?(.ends)
  }

  /// The hidden states after the last block; valid until the next call.
  func hiddenStates(_ tokens: ArraySlice<Int32>, cache: KeyValueCache) -> UnsafeMutablePointer<Float> {
    hiddenStates([(tokens, cache)])
  }

  /// The hidden states of several texts' next tokens, text after text; valid until the next call.
  ///
  /// - Precondition: the caches are different ones.
  func hiddenStates(
    _ texts: [(tokens: ArraySlice<Int32>, cache: KeyValueCache)]
  ) -> UnsafeMutablePointer<Float> {
    let tokens = texts.count == 1 ? texts[0].tokens : texts.flatMap(\.tokens)[...]
    reserve(tokens.count)
    embed(tokens, into: scratch.hidden.pointer)
    for (layer, block) in model.blocks.enumerated() {
      var row = 0
      let rows = texts.map { text in
        defer { row += text.tokens.count }
        return TextRows(
          rows: row..<row + text.tokens.count, start: text.cache.count, cache: text.cache[layer])
      }
      run(block, at: layer, on: scratch.hidden.pointer, tokens: tokens.count, context: .texts(rows))
    }
    for text in texts { text.cache.count += text.tokens.count }
    return scratch.hidden.pointer
  }

  /// Logits of `tokens` hidden states, which are normalized in place.
  func head(
    _ hidden: UnsafeMutablePointer<Float>, tokens: Int, into out: UnsafeMutablePointer<Float>
  ) {
    model.residualRotation?.invert(hidden, count: tokens)
    normalize(hidden, model.finalNorm, tokens, into: hidden)
    model.effectiveHead(hidden, tokens: tokens, into: out, team: team, inputs: roundedInputs)
    stepTimer?(.ends)
  }

  func reserve(_ tokens: Int) {
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
struct Scratch {
  let tokens: Int
  let hidden, normed, queries, keys, values, attended, gate, up: FloatBuffer

  init(_ c: Configuration, tokens: Int) {
    self.tokens = tokens
    hidden = FloatBuffer(tokens * c.hiddenSize)
    normed = FloatBuffer(tokens * c.hiddenSize)
    queries = FloatBuffer(tokens * c.queryWidth)
    keys = FloatBuffer(tokens * c.keyValueWidth)
    values = FloatBuffer(tokens * c.keyValueWidth)
    attended = FloatBuffer(tokens * c.queryWidth)
    gate = FloatBuffer(tokens * c.feedForwardSize)
    up = FloatBuffer(tokens * c.feedForwardSize)
  }
}
