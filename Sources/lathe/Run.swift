import ArgumentParser
import LatheModel
import LatheTensor
import LatheText

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a text.", usage: "lathe run <model> --prompt <prompt> [<options>]")

  @Argument(help: "The model.") var model: String
  @Option(help: "The text to continue.") var prompt: String
  @Option(help: "The number of new tokens at most.") var maxTokens = 128
  @Option(help: "Divides the logits; 0 always takes the likeliest token.") var temperature: Float = 0.8
  @Option(help: "Keep this many likeliest tokens; 0 keeps all.") var topK = 40
  @Option(help: "Keep the likeliest tokens whose probabilities reach this sum.") var topP: Float = 0.95
  @Option(help: "Drop tokens less likely than this share of the likeliest.") var minP: Float = 0.05
  @Option(help: "Divide the logits of recent tokens; 1 changes nothing.") var repetitionPenalty: Float = 1
  @Option(help: "Equal seeds give equal texts.") var seed: UInt64 = 0
  @Option(help: "How weights meet their inputs: int8, which rounds them and is fast, or float.")
  var activations = Activations.int8
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
  }

  private struct Result: Encodable {
    let text, prompt: String
    let ids: [Int32]
    let stop: StopReason
    let tokensPerSecond: Double
    enum CodingKeys: String, CodingKey {
      case text, prompt, ids, stop
      case tokensPerSecond = "decode_tokens_per_second"
    }
  }

  func run() throws {
    let team = common.makeTeam()
    let model = try Model(reading: self.model).prepared(for: activations, team: team)
    let tokenizer = try Tokenizer.forModel(at: self.model, override: tokenizer.tokenizer)
    var tokens = try tokenizer.encode(prompt)
    if tokens.isEmpty, let first = tokenizer.beginningOfSequence { tokens = [first] }
    let context = model.configuration.contextLength
    if tokens.count + maxTokens > context {
      Output.note("note: \(tokens.count) + \(maxTokens) tokens pass the \(context) the model was trained for")
    }
    let inference = Inference(model, team: team)
    var options = SamplingOptions()
    (options.temperature, options.topK, options.topP, options.minP) = (temperature, topK, topP, minP)
    (options.repetitionPenalty, options.seed) = (repetitionPenalty, seed)
    var stream = StreamDecoder(tokenizer)
    // The decoder drops the space that begins a text; the prompt's last token keeps the one between words.
    var text = "", ids: [Int32] = []
    for token in tokens { _ = stream.append(token) }
    if !common.json { Output.piece(prompt) }
    let clock = ContinuousClock()
    var first: ContinuousClock.Instant?
    let end = tokenizer.endOfSequence.union(try ModelSize.endTokens(at: self.model))
    let stop = try inference.generate(after: tokens, limit: maxTokens, sampling: options, end: end) { token in
      if first == nil { first = clock.now }
      let piece = stream.append(token)
      ids.append(token)
      text += piece
      if !common.json { Output.piece(piece) }
      return true
    }
    let rest = stream.finish()
    text += rest
    let seconds = first.map { $0.duration(to: clock.now) / .seconds(1) } ?? 0
    let speed = ids.count > 1 ? Double(ids.count - 1) / max(seconds, 1e-9) : 0
    if common.json {
      try Output.json(Result(text: text, prompt: prompt, ids: ids, stop: stop, tokensPerSecond: speed))
    } else {
      Output.line(rest)
      Output.note(
        "\(ids.count) tokens, \(Format.number(speed, 1)) a second (\(stop == .end ? "end of text" : "limit reached"))"
      )
    }
  }
}
