internal import LatheTensor
internal import LatheText

/// How a prompt's beginning is marked.
public enum BeginningRule: String, Codable, Hashable, Sendable, CaseIterable {
  /// As the tokenizer does by itself: lm-evaluation-harness's rule.
  case tokenizer = "lm-eval"
  /// Nothing is added: the rule of the study "How good are low-bit quantized LLaMA3 models?".
  case none = "llama3-paper"
}

/// Tokens of which the last ones are scored.
struct ScoringRequest: Hashable, Sendable {
  /// What the model reads, and behind it the last token that is scored.
  var tokens: [Int32]
  /// The number of tokens scored, all at the end.
  var scored: Int

  /// What the model reads.
  var input: ArraySlice<Int32> { tokens.dropLast() }
  /// The number of tokens before the first that is scored.
  var given: Int { tokens.count - scored }
}

/// Turns texts into requests by lm-evaluation-harness's rules.
struct RequestBuilder: Sendable {
  let tokenizer: Tokenizer
  let rule: BeginningRule
  /// The most tokens the model reads at once.
  let context: Int
  private let beginningText: String?

  init(_ tokenizer: Tokenizer, rule: BeginningRule, context: Int) {
    (self.tokenizer, self.rule, self.context) = (tokenizer, rule, context)
    beginningText = tokenizer.beginningOfSequence.flatMap { tokenizer.piece(of: $0) }
  }

  private func encode(_ text: String) throws(Problem) -> [Int32] {
    let hasOne = beginningText.map { text.hasPrefix($0) } ?? false
    return try tokenizer.encode(text, addingSpecialTokens: rule == .tokenizer && !hasOne)
  }

  private func prefixToken() throws(Problem) -> Int32 {
    guard let token = tokenizer.beginningOfSequence ?? tokenizer.endOfSequence.min() else {
      throw Problem(.usage, "the tokenizer has no token that begins or ends a sequence")
    }
    return token
  }

  /// The requests of a question: each continuation after its prompt.
  func requests(_ prompts: [String], _ continuations: [String]) throws(Problem) -> [ScoringRequest] {
    var requests: [ScoringRequest] = []
    var known: (text: String, tokens: [Int32])?
    for (prompt, continuation) in zip(prompts, continuations) {
      if prompt.isEmpty {
        let tokens = try tokenizer.encode(continuation, addingSpecialTokens: false)
        let prefix = try prefixToken()
        requests.append(
          try request(
            tokens.first == prefix ? tokens[..<1] : [prefix],
            tokens.first == prefix ? tokens[1...] : tokens[...]))
        continue
      }
      // Spaces that end a prompt belong to the word that follows.
      let end = prompt.unicodeScalars.lastIndex { !$0.properties.isWhitespace }
      let cut = end.map { prompt.unicodeScalars.index(after: $0) } ?? prompt.startIndex
      let context = String(prompt[..<cut])
      if known?.text != context { known = (context, try encode(context)) }
      let whole = try encode(prompt + continuation)
      guard let given = known?.tokens else { continue }
      requests.append(try request(given[...], whole.dropFirst(given.count)))
    }
    return requests
  }

  private func request(_ given: ArraySlice<Int32>, _ scored: ArraySlice<Int32>) throws(Problem)
    -> ScoringRequest
  {
    guard !scored.isEmpty else {
      throw Problem(.badData, "an answer adds no token to its prompt", cure: "remove the record")
    }
    guard scored.count <= context else {
      throw Problem(
        .badData, "an answer of \(scored.count) tokens is longer than the model's context of \(context)",
        cure: "measure a model with a longer context, or remove the record")
    }
    // What does not fit is cut off at the beginning.
    let tokens = Array((given + scored).suffix(context + 1))
    guard tokens.count > scored.count else {
      throw Problem(.badData, "nothing stands before an answer", cure: "remove the record")
    }
    return ScoringRequest(tokens: tokens, scored: scored.count)
  }

  /// The requests of a whole text: windows side by side, each after one token; the last, shorter one is given as much of
  /// what stands before it as the context holds.
  func rolling(_ text: String) throws(Problem) -> [ScoringRequest] {
    let stream = [try prefixToken()] + (try encode(text))
    return stride(from: 1, to: stream.count, by: context).map { start in
      let end = min(start + context, stream.count)
      return ScoringRequest(tokens: Array(stream[max(0, end - context - 1)..<end]), scored: end - start)
    }
  }
}
