import ArgumentParser
import LatheModel
import LatheTensor
import LatheText

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a text.", usage: "lathe run <model> --prompt <prompt> ... [<options>]",
    discussion:
      "Several prompts are continued together, every weight read once for all, and printed at the end. A draft, a"
      + " smaller model with the same vocabulary, proposes tokens that the model checks several at a time; what is"
      + " written is as likely as without it, and the same where --temperature is 0. The closing note says the share"
      + " of its proposals that was kept.")

  @Argument(help: "The model.") var model: String
  @Option(help: "A text to continue; may be given several times.") var prompt: [String]
  @Option(help: "The number of new tokens at most.") var maxTokens = 128
  @Option(help: "Divides the logits; 0 always takes the likeliest token.") var temperature: Float = 0.8
  @Option(help: "Keep this many likeliest tokens; 0 keeps all.") var topK = 40
  @Option(help: "Keep the likeliest tokens whose probabilities reach this sum.") var topP: Float = 0.95
  @Option(help: "Drop tokens less likely than this share of the likeliest.") var minP: Float = 0.05
  @Option(help: "Divide the logits of recent tokens; 1 changes nothing.") var repetitionPenalty: Float = 1
  @Option(help: "Equal seeds give equal texts.") var seed: UInt64 = 0
  @Option(help: "How weights meet their inputs: int8, which rounds them and is fast, or float.")
  var activations = Activations.int8
  @Option(help: "How keys and values are held.") var cacheType = CacheType.f16
  @Option(help: ArgumentHelp("A smaller model that proposes tokens.", valueName: "model")) var draft: String?
  @Option(help: "The tokens it proposes at a time.") var draftTokens = 4
  @OptionGroup var tokenizer: TokenizerOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard maxTokens >= 0, maxTokens <= 1 << 20 else {
      throw ValidationError("--max-tokens takes 0 to 1048576")
    }
    guard temperature >= 0, temperature.isFinite else {
      throw ValidationError("--temperature takes 0 or more")
    }
    guard topK >= 0 else { throw ValidationError("--top-k takes 0 or more") }
    guard (0...1).contains(topP), (0...1).contains(minP) else {
      throw ValidationError("--top-p and --min-p take 0 to 1")
    }
    guard repetitionPenalty > 0, repetitionPenalty.isFinite else {
      throw ValidationError("--repetition-penalty takes more than 0")
    }
    guard (1...64).contains(draftTokens) else { throw ValidationError("--draft-tokens takes 1 to 64") }
    guard draft == nil || prompt.count == 1 else { throw ValidationError("--draft takes one --prompt") }
  }

  private struct Result: Encodable {
    let text, prompt: String
    let ids: [Int32]
    let stop: StopReason
    let tokensPerSecond: Double
    var acceptance: Double?
    enum CodingKeys: String, CodingKey {
      case text, prompt, ids, stop
      case tokensPerSecond = "decode_tokens_per_second"
      case acceptance = "draft_acceptance"
    }
  }

  func run() throws {
    let team = common.makeTeam()
    let model = try Model(reading: self.model).prepared(for: activations, team: team)
    let tokenizer = try Tokenizer.forModel(at: self.model, override: tokenizer.tokenizer)
    let prompts = try prompt.map { try tokens(of: $0, model, tokenizer) }
    let context = (prompts.map(\.count).max() ?? 0) + maxTokens
    let inference = Inference(model, team: team, context: context)
    let end = tokenizer.endOfSequence.union(try ModelSize.endTokens(at: self.model))
    if prompts.count == 1 {
      try stream(
        prompts[0], inference, tokenizer, end: end, draft: try openDraft(tokenizer, inference, context))
    } else {
      try together(prompts, inference, tokenizer, end: end)
    }
  }

  private var sampling: SamplingOptions {
    var options = SamplingOptions()
    (options.temperature, options.topK, options.topP, options.minP) = (temperature, topK, topP, minP)
    (options.repetitionPenalty, options.seed) = (repetitionPenalty, seed)
    return options
  }

  private func tokens(of prompt: String, _ model: Model, _ tokenizer: Tokenizer) throws -> [Int32] {
    var tokens = try tokenizer.encode(prompt)
    if tokens.isEmpty, let first = tokenizer.beginningOfSequence { tokens = [first] }
    if let note = model.configuration.note(onContext: tokens.count + maxTokens) {
      Output.note("note: \(note)")
    }
    return tokens
  }

  private func openDraft(_ tokenizer: Tokenizer, _ inference: Inference, _ context: Int) throws -> Draft? {
    guard let draft else { return nil }
    let other = try Tokenizer.forModel(at: draft, override: self.tokenizer.tokenizer)
    guard tokenizer.hasTokens(of: other) else {
      throw Problem(
        .usage, "the draft's tokenizer has other tokens than the model's", at: draft,
        cure: "take a draft of the same family")
    }
    let model = try Model(reading: draft).prepared(for: activations, team: inference.team)
    return try Draft(
      Inference(model, team: inference.team, context: context + draftTokens), tokens: draftTokens)
  }

  /// Continues one text, and prints it as it comes.
  private func stream(
    _ tokens: [Int32], _ inference: Inference, _ tokenizer: Tokenizer, end: Set<Int32>, draft: Draft?
  ) throws {
    var stream = StreamDecoder(tokenizer)
    // The decoder drops the space that begins a text; the prompt's last token keeps the one between words.
    var text = "", ids: [Int32] = []
    for token in tokens { _ = stream.append(token) }
    if !common.json { Output.piece(prompt[0]) }
    let clock = ContinuousClock()
    // Weights are laid out for the second token: the pace is that of what follows it, if anything does.
    var times: [ContinuousClock.Instant] = []
    let stop = try inference.generate(
      after: tokens, limit: maxTokens, sampling: sampling, end: end, cacheType: cacheType, draft: draft
    ) { token in
      let piece = stream.append(token)
      ids.append(token)
      if ids.count <= 2 { times.append(clock.now) }
      text += piece
      if !common.json { Output.piece(piece) }
      return true
    }
    let rest = stream.finish()
    text += rest
    let before = min(times.count, ids.count - 1)
    let seconds = before > 0 ? times[before - 1].duration(to: clock.now) / .seconds(1) : 0
    let speed = before > 0 ? Double(ids.count - before) / max(seconds, 1e-9) : 0
    if common.json {
      try Output.json(
        Result(
          text: text, prompt: prompt[0], ids: ids, stop: stop, tokensPerSecond: speed,
          acceptance: draft?.acceptance))
    } else {
      Output.line(rest)
      let share = draft.map { ", \(Format.number(100 * $0.acceptance, 1)) % of the draft accepted" } ?? ""
      let reason = stop == .end ? "end of text" : "limit reached"
      Output.note("\(ids.count) tokens, \(Format.number(speed, 1)) a second\(share) (\(reason))")
    }
  }

  /// Continues several texts at once, and prints them when all have ended.
  private func together(
    _ prompts: [[Int32]], _ inference: Inference, _ tokenizer: Tokenizer, end: Set<Int32>
  ) throws {
    var ids = [[Int32]](repeating: [], count: prompts.count)
    let clock = ContinuousClock()
    var first: ContinuousClock.Instant?
    let stops = try inference.generate(
      afterEach: prompts, limit: maxTokens, sampling: sampling, end: end, cacheType: cacheType
    ) { text, token in
      if first == nil { first = clock.now }
      ids[text].append(token)
    }
    let seconds = first.map { $0.duration(to: clock.now) / .seconds(1) } ?? 0
    // The first tokens come from the prompts.
    let count = ids.reduce(0) { $0 + $1.count }, decoded = ids.reduce(0) { $0 + max(0, $1.count - 1) }
    let speed = Double(decoded) / max(seconds, 1e-9)
    let results = prompts.indices.map { index in
      var stream = StreamDecoder(tokenizer)
      for token in prompts[index] { _ = stream.append(token) }
      let text = ids[index].reduce(into: "") { $0 += stream.append($1) } + stream.finish()
      return Result(
        text: text, prompt: prompt[index], ids: ids[index], stop: stops[index], tokensPerSecond: speed)
    }
    if common.json { return try Output.json(results) }
    for (index, result) in results.enumerated() {
      let reason = result.stop == .end ? "end of text" : "limit reached"
      Output.line("==> text \(index + 1), \(result.ids.count) tokens, \(reason) <==")
      Output.line(result.prompt + result.text)
    }
    Output.note("\(count) tokens in \(results.count) texts, \(Format.number(speed, 1)) a second")
  }
}
