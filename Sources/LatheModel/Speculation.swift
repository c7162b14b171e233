public import LatheTensor

/// A small model that proposes tokens for a larger one to check, several in one pass.
///
/// Speculative decoding (Leviathan et al., arXiv:2211.17192). The larger model reads the proposals together, as rows of one
/// product. Up to four proposals are read by the arithmetic of a single token, to the bit, and a greedy text is the same; beyond
/// that logits may differ in the last places, and two tokens that tie to within those may be exchanged.
public final class Draft {
  let inference: Inference
  /// The tokens proposed at a time, at most.
  public let tokens: Int
  /// The tokens proposed so far.
  public fileprivate(set) var proposed = 0
  /// Those of them that were kept.
  public fileprivate(set) var accepted = 0

  /// A draft of `tokens` tokens at a time, 1 to 64, by a model of the same vocabulary.
  ///
  /// - Throws: `Problem` of kind `usage` where the number is out of range.
  public init(_ inference: Inference, tokens: Int = 4) throws(Problem) {
    guard (1...64).contains(tokens) else {
      throw Problem(.usage, "a draft takes 1 to 64 tokens, not \(tokens)")
    }
    (self.inference, self.tokens) = (inference, tokens)
  }

  /// The share of proposals that was kept.
  public var acceptance: Double { proposed > 0 ? Double(accepted) / Double(proposed) : 0 }

  /// Throws where `model` cannot check the proposals.
  func check(against model: Inference) throws(Problem) {
    let own = inference.configuration.vocabularySize, other = model.configuration.vocabularySize
    guard own == other else {
      throw Problem(
        .usage, "the draft knows \(own) tokens, the model \(other)",
        cure: "take a draft with the model's vocabulary")
    }
  }
}

extension Inference {
  func speculate(
    after prompt: [Int32], limit: Int, sampling: SamplingOptions, end: Set<Int32>, cacheType: CacheType,
    draft: Draft, _ body: (Int32) -> Bool
  ) throws(Problem) -> StopReason {
    try draft.check(against: self)
    guard limit > 0 else { return .length }
    let room = prompt.count + limit + draft.tokens
    let cache = makeCache(capacity: room, type: cacheType)
    let draftCache = draft.inference.makeCache(capacity: room, type: cacheType)
    var sampler = Sampler(sampling)
    var first = logits(after: prompt, cache: cache)
    // The last token is always one that the model has not read.
    var tokens = prompt + [sampler.next(&first, after: prompt)]
    if end.contains(tokens[prompt.count]) || !body(tokens[prompt.count]) { return .end }
    while tokens.count - prompt.count < limit {
      let left = limit - (tokens.count - prompt.count)
      let proposals = draft.propose(
        min(draft.tokens, left - 1), after: tokens, cache: draftCache, sampler: &sampler)
      let made = check(proposals, after: tokens, cache: cache, sampler: &sampler)
      draft.proposed += proposals.count
      draft.accepted += made.count - 1
      for token in made {
        if end.contains(token) || !body(token) { return .end }
        tokens.append(token)
      }
      // Both remember what is part of the text, and no more.
      cache.truncate(to: tokens.count - 1)
      draftCache.truncate(to: tokens.count - 1)
    }
    return .length
  }

  /// Reads the last of `tokens` and the proposals, and returns the proposals that hold and one token more.
  private func check(
    _ proposals: [(token: Int32, from: Distribution)], after tokens: [Int32], cache: KeyValueCache,
    sampler: inout Sampler
  ) -> [Int32] {
    let rows = logits(atEach: [tokens[tokens.count - 1]] + proposals.map(\.token), cache: cache)
    let width = configuration.vocabularySize
    var made: [Int32] = []
    for row in 0...proposals.count {
      var logits = Array(rows[row * width..<(row + 1) * width])
      guard row < proposals.count else {
        made.append(sampler.next(&logits, after: tokens + made))
        break
      }
      let (token, from) = proposals[row]
      made.append(sampler.settle(token, from: from, by: sampler.distribution(&logits, after: tokens + made)))
      if made[row] != token { break }
    }
    return made
  }
}

extension Draft {
  /// Up to `count` tokens that may come after `tokens`, and what each was drawn from.
  fileprivate func propose(
    _ count: Int, after tokens: [Int32], cache: KeyValueCache, sampler: inout Sampler
  ) -> [(token: Int32, from: Distribution)] {
    var proposals: [(token: Int32, from: Distribution)] = []
    var text = tokens
    for _ in 0..<count {
      var logits = inference.logits(after: Array(text[cache.count...]), cache: cache)
      let distribution = sampler.distribution(&logits, after: text)
      let token = sampler.draw(distribution)
      proposals.append((token, distribution))
      text.append(token)
    }
    return proposals
  }
}
