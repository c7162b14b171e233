internal import Synchronization
public import LatheTensor
internal import LatheText

/// Why a text ended.
public enum StopReason: String, Codable, Sendable {
  /// The model said so.
  case end
  /// As many tokens as were asked for.
  case length
}

extension Inference {
  /// Continues `prompt`, a token at a time.
  ///
  /// - Parameters:
  ///   - limit: the number of new tokens at most.
  ///   - end: tokens that end the text; they are not handed out.
  ///   - cacheType: how keys and values are held.
  ///   - draft: a smaller model that proposes tokens, several of which are then read in one pass. The text follows the
  ///     same distribution as without; taken greedily it is the same text.
  ///   - body: receives each token; returning false stops.
  /// - Throws: `Problem` where the prompt is empty or has foreign tokens, or the draft has another vocabulary.
  @discardableResult
  public func generate(
    after prompt: [Int32], limit: Int, sampling: SamplingOptions, end: Set<Int32>,
    cacheType: CacheType = .f32, draft: Draft? = nil, _ body: (Int32) -> Bool = { _ in true }
  ) throws(Problem) -> StopReason {
    try checkPrompt(prompt)
    if let draft {
      return try speculate(
        after: prompt, limit: limit, sampling: sampling, end: end, cacheType: cacheType, draft: draft, body)
    }
    let cache = makeCache(capacity: prompt.count + limit, type: cacheType)
    var sampler = Sampler(sampling)
    var tokens = prompt
    var logits = limit > 0 ? logits(after: prompt, cache: cache) : []
    for made in 0..<limit {
      let token = sampler.next(&logits, after: tokens)
      if end.contains(token) { return .end }
      if !body(token) { return .end }
      tokens.append(token)
      if made + 1 < limit { logits = self.logits(after: [token], cache: cache) }
    }
    return .length
  }

  /// Throws where a text cannot begin with `prompt`.
  func checkPrompt(_ prompt: [Int32]) throws(Problem) {
    guard !prompt.isEmpty else {
      throw Problem(.usage, "the prompt is empty and the model has no token to begin with")
    }
    try checkTokens(prompt)
  }
}

/// Text that a model wrote by sampling from its own distribution, nothing cut off.
///
/// On such text another model's log-perplexity exceeds the writer's, on average, by exactly its KL divergence from it.
public enum SelfWrittenText {
  /// `count` runs of `length` tokens, each beginning with `first`; the threads write different runs.
  ///
  /// - Throws: `Problem` where `first` is not in the vocabulary.
  public static func write(
    _ model: Model, first: Int32, count: Int, length: Int, seed: UInt64, threads: Int,
    progress: @Sendable (Int) -> Void = { _ in }
  ) throws(Problem) -> [[Int32]] {
    try Inference(model, team: ThreadTeam(count: 1)).checkTokens([first])
    let runs = Runs(count)
    ThreadTeam(count: threads).run(count) { index in
      // A team of one: each run is written by a single thread.
      let inference = Inference(model, team: ThreadTeam(count: 1))
      let cache = inference.makeCache(capacity: length)
      var sampler = Sampler(.pure(seed: seed &* 1_000_003 &+ UInt64(index)))
      var tokens = [first]
      while tokens.count < length {
        var logits = inference.logits(after: [tokens[tokens.count - 1]], cache: cache)
        tokens.append(sampler.next(&logits))
      }
      progress(runs.put(tokens, at: index))
    }
    return runs.all
  }

  private final class Runs: Sendable {
    private let places: Mutex<(runs: [[Int32]], done: Int)>
    init(_ count: Int) { places = Mutex((Array(repeating: [], count: count), 0)) }
    func put(_ tokens: [Int32], at index: Int) -> Int {
      places.withLock {
        $0.runs[index] = tokens
        $0.done += 1
        return $0.done
      }
    }
    var all: [[Int32]] { places.withLock { $0.runs } }
  }
}
