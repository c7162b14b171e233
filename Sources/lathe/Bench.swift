import ArgumentParser
import LatheEvaluate
import LatheModel
import LatheTensor

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure how fast models read and write.", usage: "lathe bench <model> ... [<options>]",
    discussion: """
      Options that take a list take numbers and ranges, separated by commas: 128,512 or first-last, \
      first-last+step, first-last*factor. Every combination is measured. pp512 reads 512 tokens at once, tg128 \
      writes 128 one by one; GB/s is the rate at which all threads together read memory, measured between \
      the repetitions, and share what decode reached of it.
      """)

  enum OutputForm: String, ExpressibleByArgument, CaseIterable { case md, csv, jsonl }

  @Argument(help: "The models.") var models: [String]
  @Option(
    name: .shortAndLong, help: ArgumentHelp("The tokens of the prompt (default: 512).", valueName: "list"))
  var prompt: String?
  @Option(
    name: [.customShort("n"), .long],
    help: ArgumentHelp("The tokens to write (default: 128).", valueName: "list"))
  var generate: String?
  @Option(
    name: .shortAndLong, help: ArgumentHelp("The tokens in the cache before (default: 0).", valueName: "list")
  )
  var depth: String?
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The numbers of threads (default: one a core).", valueName: "list"))
  var threads: String?
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("float, or int8, which rounds inputs (default: int8).", valueName: "list"))
  var activations: String?
  @Option(
    name: [.customShort("c"), .long],
    help: ArgumentHelp("f32, f16, int8, int4: keys and values (default: f16).", valueName: "list"))
  var cacheType: String?
  @Option(help: ArgumentHelp("The texts written together (default: 1).", valueName: "list"))
  var parallel: String?
  @Option(name: .shortAndLong, help: "How often to measure, after one run to warm up.") var repetitions = 5
  @Option(name: .shortAndLong, help: "md, csv or jsonl, a row for each test as soon as it is done.")
  var output = OutputForm.md
  @Flag(help: "Tell for each group of weights the bytes, and the time beside that of reading alone.")
  var roofline = false
  @Flag(help: "Print one JSON object: for one model, one prompt and one number of tokens to write.")
  var json = false

  /// What each dimension was given, by its name.
  private var lists: [String: String] {
    [
      "prompt": prompt, "generate": generate, "depth": depth, "threads": threads, "activations": activations,
      "cache-type": cacheType, "parallel": parallel,
    ].compactMapValues { $0 }
  }

  func run() throws {
    let sweep = try BenchSweep(lists, repetitions: repetitions)
    if json, !sweep.isSingle || models.count > 1 {
      throw Problem(
        .usage, "--json takes one model and one value of each list", cure: "say --output jsonl for a sweep")
    }
    let version = Lathe.configuration.version
    let progress = ProgressLine("repetition", total: sweep.total(models: models.count))
    var done = 0, rows: [BenchRow] = []
    for model in models {
      try sweep.run(at: model) {
        progress.update(done, $0)
        done += 1
      } row: { row in
        progress.finish()
        rows.append(row)
        if !json { print(row, isFirst: rows.count == 1, sweep, version) }
      }
    }
    progress.finish()
    try finish(rows, sweep, version)
  }

  private func print(_ row: BenchRow, isFirst: Bool, _ sweep: BenchSweep, _ version: String) {
    switch output {
    case .md:
      if isFirst {
        Output.line("\(Machine.processor), \(Machine.cores) cores, \(Format.bytes(Machine.memory))")
        Output.line("lathe \(version) \(Machine.build), \(Kernels.best.name) kernels")
        Output.line("\n" + BenchRow.markdownHeading(sweep))
      }
      Output.line(row.markdown(sweep))
    case .csv:
      if isFirst { Output.line(row.csvHeading(version: version)) }
      Output.line(row.csv(version: version))
    case .jsonl: try? Output.json(row.object(version: version))
    }
  }

  /// What comes after the rows.
  private func finish(_ rows: [BenchRow], _ sweep: BenchSweep, _ version: String) throws {
    let rooflines = roofline ? try models.map { try sweep.roofline(at: $0) } : []
    if json {
      var object = BenchRow.object(joining: rows, version: version)
      if let first = rooflines.first { object["roofline"] = first.value }
      return try Output.json(object)
    }
    for (path, roofline) in zip(models, rooflines) {
      switch output {
      case .md: Output.line("\n\(path)\n\n\(roofline.text)")
      case .csv: break
      case .jsonl: try Output.json(["model": BenchValue.text(path), "roofline": roofline.value])
      }
    }
    guard output == .md else { return }
    Output.line()
    var told: Set<String> = []
    for row in rows where told.insert(row.path).inserted {
      Output.line(
        "\(row.path): \(Format.bytes(row.fileBytes)), first token after "
          + "\(Format.number(row.firstTokenSeconds, 3)) s,\n  peak memory \(Format.bytes(row.peakMemory))"
          + (row.exactWeights.map { ", \($0)" } ?? ""))
    }
  }
}
