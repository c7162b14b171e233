public import LatheTensor

/// Texts that are continued together: a step reads every weight once for all of them.
///
/// A text joins when it is added and leaves when it ends; the others go on.
///
/// ```swift
/// let batch = BatchedGeneration(inference)
/// for prompt in prompts { try batch.add(prompt, limit: 100, sampling: SamplingOptions(), end: end) }
/// while batch.count > 0 {
///   for event in batch.step() { ... }
/// }
/// ```
public final class BatchedGeneration {
  /// What a step did to one text.
  public struct Event: Sendable, Hashable {
    /// The text, by the number that `add` returned.
    public var text: Int
    /// Its next token; nil where it ended with one of its `end` tokens.
    public var token: Int32?
    /// Why it left, if it did.
    public var stop: StopReason?
  }

  private struct Text {
    let number: Int
    let cache: KeyValueCache
    var sampler: Sampler
    let end: Set<Int32>
    var tokens: [Int32]
    var left: Int
    var logits: [Float]

    mutating func next() -> Int32 { sampler.next(&logits, after: tokens) }
  }

  private let inference: Inference
  private let cacheType: CacheType
  private var texts: [Text] = []
  private var added = 0

  /// An empty batch.
  ///
  /// - Parameter cacheType: how keys and values are held.
  public init(_ inference: Inference, cacheType: CacheType = .f32) {
    (self.inference, self.cacheType) = (inference, cacheType)
  }

  /// The number of texts that go on.
  public var count: Int { texts.count }

  /// Reads a prompt, whose text goes on from the next step.
  ///
  /// - Parameters:
  ///   - limit: the number of new tokens at most.
  ///   - end: tokens that end the text; they are not handed out.
  /// - Returns: the number of the text, from 0 in the order of addition.
  /// - Throws: `Problem` where the prompt is empty or has foreign tokens, or the limit is below 1.
  @discardableResult
  public func add(
    _ prompt: [Int32], limit: Int, sampling: SamplingOptions, end: Set<Int32>
  ) throws(Problem) -> Int {
    guard limit > 0 else { throw Problem(.usage, "a text needs at least one token to write") }
    try inference.checkPrompt(prompt)
    // Room for many texts is made as they grow.
    let cache = inference.makeCache(capacity: prompt.count + min(limit, 256), type: cacheType)
    let logits = inference.logits(after: prompt, cache: cache)
    texts.append(
      Text(
        number: added, cache: cache, sampler: Sampler(sampling), end: end, tokens: prompt, left: limit,
        logits: logits))
    added += 1
    return added - 1
  }

  /// Ends a text before its time; nothing happens where it has ended.
  public func remove(_ number: Int) { texts.removeAll { $0.number == number } }

  /// Gives every text its next token, and reads those of the texts that go on.
  ///
  /// - Returns: an event for each text, in the order of addition.
  public func step() -> [Event] {
    let chosen = sample()
    var events: [Event] = [], staying: [Text] = []
    for (index, token) in chosen.enumerated() {
      var text = texts[index]
      let ends = text.end.contains(token)
      text.left -= 1
      text.tokens.append(token)
      let stop: StopReason? = ends ? .end : text.left == 0 ? .length : nil
      events.append(Event(text: text.number, token: ends ? nil : token, stop: stop))
      if stop == nil { staying.append(text) }
    }
    texts = staying
    let width = inference.configuration.vocabularySize
    let logits = inference.logits(
      afterEach: texts.map { $0.tokens[$0.tokens.count - 1] }, caches: texts.map(\.cache))
    for index in texts.indices { texts[index].logits = Array(logits[index * width..<(index + 1) * width]) }
    return events
  }

  /// The next token of each text; threads take different ones.
  private func sample() -> [Int32] {
    var tokens = [Int32](repeating: 0, count: texts.count)
    tokens.withUnsafeMutableBufferPointer { tokens in
      texts.withUnsafeMutableBufferPointer { texts in
        let (places, texts) = (tokens, texts)
        let work = { (index: Int) in places[index] = texts[index].next() }
        if texts.count * inference.configuration.vocabularySize < 1 << 15 {
          for index in texts.indices { work(index) }
        } else {
          inference.team.run(texts.count, work)
        }
      }
    }
    return tokens
  }
}

extension Inference {
  /// Continues several prompts together.
  ///
  /// - Parameters:
  ///   - limit: the number of new tokens of each at most; at least 1.
  ///   - sampling: how tokens are chosen, for each text alike.
  ///   - body: receives the number of a prompt and a token.
  /// - Returns: why each text ended.
  /// - Throws: `Problem` where a prompt is empty or has foreign tokens.
  @discardableResult
  public func generate(
    afterEach prompts: [[Int32]], limit: Int, sampling: SamplingOptions, end: Set<Int32>,
    cacheType: CacheType = .f32, _ body: (Int, Int32) -> Void
  ) throws(Problem) -> [StopReason] {
    var reasons = [StopReason](repeating: .length, count: prompts.count)
    guard limit > 0 else { return reasons }
    let batch = BatchedGeneration(self, cacheType: cacheType)
    for prompt in prompts { try batch.add(prompt, limit: limit, sampling: sampling, end: end) }
    while batch.count > 0 {
      for event in batch.step() {
        if let token = event.token { body(event.text, token) }
        if let stop = event.stop { reasons[event.text] = stop }
      }
    }
    return reasons
  }
}
