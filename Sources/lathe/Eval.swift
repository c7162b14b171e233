import ArgumentParser
import LatheEvaluate
import LatheModel
import LatheTensor
import LatheText

struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract:
      "Measure what a model can do by tasks; or its perplexity, and the divergence from a reference.",
    usage: "lathe eval <model> --tasks <names> | --protocol <name> | --text <file>",
    discussion:
      "Tasks are listed by lathe tasks. Protocols:\n"
      + ProtocolCatalog.all.map { "\($0.name): \($0.summary)" }.joined(separator: "\n"))

  @Argument(help: "The model.") var model: String
  @Option(name: .customLong("protocol"), help: "A named protocol.") var protocolName: String?
  @Option(help: ArgumentHelp("A text file to measure on.", valueName: "file")) var text: String?
  @Option(help: ArgumentHelp("With --text: the tokens in a window.", valueName: "n")) var window: Int?
  @Option(help: "With --text: a token that begins a sequence before every window, the first, or none.")
  var bos: Beginning?
  @Option(help: ArgumentHelp("A model whose distributions are the measure.", valueName: "model"))
  var reference: String?
  @Option(help: ArgumentHelp("Measure this many windows, or questions of a task, at most.", valueName: "n"))
  var limit: Int?
  @Option(help: "Without --tasks: how keys and values are held.") var cacheType = CacheType.f32
  @Option(help: ArgumentHelp("Where corpora/ and tasks/ lie (default: $LATHE_DATA).", valueName: "folder"))
  var data: String?
  @Option(help: "How weights meet their inputs: float, or int8, which rounds them.")
  var activations = Activations.float
  @OptionGroup var tasks: TaskOptions
  @OptionGroup var tokenizer: TokenizerOptions
  @OptionGroup var common: CommonOptions

  enum Beginning: String, ExpressibleByArgument, CaseIterable { case every, first, none }

  func validate() throws {
    guard [protocolName, text, tasks.tasks].count(where: { $0 != nil }) == 1 else {
      throw ValidationError("give one of --tasks, --protocol and --text")
    }
    if text == nil, window != nil || bos != nil { throw ValidationError("--window and --bos go with --text") }
    if tasks.tasks != nil, cacheType != .f32 {
      throw ValidationError("--cache-type goes with --text and --protocol")
    }
    if let limit, limit < 1 { throw ValidationError("--limit takes 1 or more") }
    if let window, window < 2 { throw ValidationError("--window takes 2 or more") }
  }

  private struct Result: Encodable {
    let measured: PerplexityResult
    let bits: Double
    let fileBytes, peakMemory: Int
    let tokenizer: String
    let activations: Activations

    enum Key: String, CodingKey {
      case bits = "bits_per_weight"
      case fileBytes = "file_bytes"
      case peakMemory = "peak_memory_bytes"
      case tokenizer, activations
    }

    func encode(to encoder: any Encoder) throws {
      try measured.encode(to: encoder)
      try measured.divergence?.encode(to: encoder)
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(bits, forKey: .bits)
      try container.encode(fileBytes, forKey: .fileBytes)
      try container.encode(peakMemory, forKey: .peakMemory)
      try container.encode(tokenizer, forKey: .tokenizer)
      try container.encode(activations, forKey: .activations)
    }
  }

  func run() throws {
    if tasks.tasks != nil {
      return try TaskCommand(
        path: model, reference: reference, options: tasks, limit: limit, data: data,
        tokenizer: tokenizer.tokenizer, activations: activations, common: common
      ).run()
    }
    let team = common.makeTeam()
    let model = try Model(reading: self.model).prepared(for: activations, team: team)
    let tokenizer = try Tokenizer.forModel(at: self.model, override: tokenizer.tokenizer)
    var measure =
      try protocolName.map { (name) throws(Problem) in try ProtocolCatalog.named(name) }
      ?? .text(
        window: window ?? min(model.configuration.exactContext, 2048),
        beginning: PerplexityProtocol.Beginning(rawValue: (bos ?? .first).rawValue) ?? .first)
    if let limit { measure.limit = min(limit, measure.limit ?? .max) }
    let bytes =
      try text.map { (path) throws(Problem) in try Bytes(mapping: path) }
      ?? DataFolder(data).text(for: measure)
    do throws(Problem) {
      try score(measure, bytes, model, tokenizer, team)
    } catch {
      throw error.located(at: text ?? measure.name)
    }
  }

  private func score(
    _ measure: PerplexityProtocol, _ text: Bytes, _ model: Model, _ tokenizer: Tokenizer,
    _ team: ThreadTeam
  ) throws(Problem) {
    let windows = try measure.windows(of: text, tokenizer)
    if let note = model.configuration.note(onContext: measure.window) { Output.note("note: \(note)") }
    let other = try reference.map { (path) throws(Problem) in try Model(reading: path) }
    let progress = ProgressLine("window", total: windows.count)
    let result = try Perplexity(model, reference: other, team: team, cacheType: cacheType)
      .measure(windows, protocolName: measure.name, firstScored: measure.firstScored) { done, soFar in
        progress.update(done, "perplexity \(Format.number(soFar, 4))")
      }
    progress.finish()
    report(
      Result(
        measured: result, bits: model.bitsPerWeight, fileBytes: try ModelSize.fileBytes(at: self.model),
        peakMemory: Speed.peakMemory, tokenizer: tokenizer.summary, activations: activations))
  }

  private func report(_ result: Result) {
    if common.json {
      try? Output.json(result)
      return
    }
    let m = result.measured
    Output.line("protocol           \(m.protocolName)")
    if result.activations != .float { Output.line("activations        \(result.activations.rawValue)") }
    Output.line("tokens scored      \(m.tokens) in \(m.windows) windows of \(m.window)")
    Output.line(
      "perplexity         \(Format.number(m.perplexity, 4)) ± \(Format.number(m.perplexity * m.standardError, 4))"
    )
    Output.line("nll                \(Format.number(m.nll, 6)) nats a token")
    if let d = m.divergence {
      Output.line("reference          perplexity \(Format.number(d.referencePerplexity, 4))")
      Output.line(
        "KL divergence      mean \(Format.number(d.mean, 6)) ± \(Format.number(d.standardError, 6)) nats")
      Output.line(
        "                   median \(Format.error(d.median)), 90 % \(Format.error(d.percentile90)),"
          + " 95 % \(Format.error(d.percentile95)), 99 % \(Format.error(d.percentile99))")
      Output.line(
        "                   99.9 % \(Format.error(d.percentile999)), max \(Format.error(d.maximum))")
      Output.line(
        "Δp of the token    RMS \(Format.number(100 * d.probabilityChangeRMS, 3)) ±"
          + " \(Format.number(100 * d.probabilityChangeRMSError, 3)) %,"
          + " mean \(Format.number(100 * d.probabilityChange, 3)) %")
      Output.line("top-1 agreement    \(Format.number(100 * d.topAgreement, 2)) %")
    }
    Output.line("bits per weight    \(Format.number(result.bits, 3)) (whole model)")
    Output.line("file               \(Format.bytes(result.fileBytes))")
    Output.line("peak memory        \(Format.bytes(result.peakMemory))")
  }
}
