import ArgumentParser
import Foundation
import LatheEvaluate
import LatheModel
import LatheQuantize
import LatheTensor
import LatheText

/// The options of `lathe eval --tasks`.
struct TaskOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Tasks and groups, with commas between; a file of one's own by its path.", valueName: "names"))
  var tasks: String?
  @Option(
    help: ArgumentHelp("With --tasks: examples before a question (default: the task's).", valueName: "k"))
  var numFewshot: Int?
  @Option(help: ArgumentHelp("With --tasks: what examples are drawn with.", valueName: "n")) var seed:
    UInt64 = 1234
  @Option(help: "With --tasks: whose rule for a prompt's beginning.") var preset: Preset = .lmEval
  @Option(
    help: ArgumentHelp(
      "With --tasks: where each answer is recorded; the same command continues.", valueName: "folder"))
  var out: String?
  @Flag(help: "With --tasks: record each answer, by default in evals-out/MODEL.") var logSamples = false

  enum Preset: String, ExpressibleByArgument, CaseIterable {
    case lmEval = "lm-eval"
    case llama3Paper = "llama3-paper"
  }

  func validate() throws {
    if let numFewshot, !(0...1000).contains(numFewshot) {
      throw ValidationError("--num-fewshot takes 0 to 1000")
    }
    if tasks == nil, numFewshot != nil || out != nil || logSamples || preset != .lmEval {
      throw ValidationError("--num-fewshot, --preset, --out and --log-samples go with --tasks")
    }
  }
}

/// Runs tasks on one model and prints their table.
struct TaskCommand {
  let path: String
  let reference: String?
  let options: TaskOptions
  let limit: Int?
  let data: String?
  let tokenizer: String?
  let activations: Activations
  let common: CommonOptions

  func run() throws {
    var catalog = try TaskCatalog.builtIn()
    let asked = (options.tasks ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    let names = try catalog.resolve(asked)
    let folder = try DataFolder(data)
    let team = common.makeTeam()
    let model = try Model(reading: path).prepared(for: activations, team: team)
    let tokenizer = try Tokenizer.forModel(at: path, override: tokenizer)
    let settings = TaskSettings(
      fewShot: options.numFewshot, limit: limit, seed: options.seed,
      beginning: options.preset == .lmEval ? .tokenizer : .none)
    let out = try record()
    var digest = out == nil ? "" : try Digest.ofModel(at: path)
    if out != nil, activations != .float { digest += " " + activations.rawValue }
    if out != nil, let reference { digest += " " + (try Digest.ofModel(at: reference)) }
    let other = try reference.map { (path) throws(Problem) in try Model(reading: path) }
    let runner = TaskRunner(
      model, reference: other, tokenizer: tokenizer, data: folder, settings: settings, team: team)
    var results: [String: TaskResult] = [:]
    var leaves: [EvaluationTask] = []
    for name in names {
      for task in try catalog.leaves(of: name) where !leaves.contains(task) { leaves.append(task) }
    }
    for (index, task) in leaves.enumerated() {
      var line: ProgressLine?
      results[task.name] = try runner.run(
        task, record: out.map { "\($0)/samples_\(task.name).jsonl" }, modelDigest: digest
      ) { (done, total) throws(Problem) in
        if line == nil { line = ProgressLine("[\(index + 1)/\(leaves.count)] \(task.name)", total: total) }
        line?.update(done)
      }
      line?.finish()
    }
    let report = TaskReport(names, results, catalog: catalog)
    let object = TaskResultsObject(report, configuration: configuration(tokenizer, digest))
    if let out { try AtomicFile.write(try Output.text(object) + "\n", to: out + "/results.json") }
    if common.json { return try Output.json(object) }
    Output.line(title(model))
    Output.line()
    Output.line(report.table)
    if let out { Output.line("\nrecorded in \(out)") }
  }

  private func title(_ model: Model) -> String {
    var parts = ["\(path), \(activations.rawValue) activations, \(common.makeTeam().count) threads"]
    if let limit { parts.append("the first \(limit) questions of each task") }
    if options.preset == .llama3Paper { parts.append("nothing added before prompts") }
    return parts.joined(separator: ", ")
  }

  /// The folder of the record, where one is asked for.
  private func record() throws(Problem) -> String? {
    let name = ((path as NSString).standardizingPath as NSString).lastPathComponent
    guard let folder = options.out ?? (options.logSamples ? "evals-out/\(name)" : nil) else { return nil }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw Problem(.cannotCreate, "the folder cannot be made", at: folder, cure: "check the path")
    }
    return folder
  }

  private func configuration(_ tokenizer: Tokenizer, _ digest: String) -> [String: String] {
    var values = [
      "model": path, "tokenizer": tokenizer.summary, "limit": limit.map { "\($0)" } ?? "none",
      "fewshot_seed": "\(options.seed)", "preset": options.preset.rawValue,
      "activations": activations.rawValue,
      "threads": "\(common.makeTeam().count)", "kernel": Kernels.best.name,
      "version": Lathe.configuration.version,
    ]
    if let reference { values["reference"] = reference }
    if !digest.isEmpty { values["model_digest"] = digest }
    return values
  }
}

struct Tasks: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the tasks that eval and study know, and whether their data is there.",
    usage: "lathe tasks [--data <folder>] [--all]")

  @Option(help: ArgumentHelp("Where tasks/ and corpora/ lie (default: $LATHE_DATA).", valueName: "folder"))
  var data: String?
  @Flag(help: "List the tasks of families one by one.") var all = false
  @Flag(help: "Print one JSON object on standard output.") var json = false

  private struct Entry: Encodable {
    let name, version, summary, output, data: String
    let metrics: [String]
    let fewshot: Int
  }

  func run() throws {
    let catalog = try TaskCatalog.builtIn()
    let folder = try? DataFolder(data)
    let families = Set(catalog.groups.filter { $0.weightsBySize }.flatMap(\.members))
    if json {
      return try Output.json([
        "tasks": catalog.tasks.map { task in
          Entry(
            name: task.name, version: task.version, summary: task.summary, output: task.output.rawValue,
            data: state(task, folder), metrics: task.metrics.map(\.rawValue), fewshot: task.fewShotCount)
        }
      ])
    }
    func line(_ name: String, _ shots: String, _ state: String, _ summary: String) {
      let pad = { (text: String, n: Int) in text + String(repeating: " ", count: max(1, n - text.count)) }
      Output.line((pad(name, 23) + pad(shots, 3) + pad(state, 8) + summary).prefix(80).description)
    }
    line("task", "k", "data", "")
    for task in catalog.tasks where all || !families.contains(task.name) {
      line(task.name, "\(task.fewShotCount)", state(task, folder), task.summary)
    }
    Output.line()
    line("group", "", "data", "")
    for group in catalog.groups {
      let leaves = try catalog.leaves(of: group.name)
      let there = leaves.count { state($0, folder) == "there" }
      line(group.name, "", there == leaves.count ? "there" : "\(there)/\(leaves.count)", group.summary)
    }
    if folder == nil { Output.note("\nwhere the data lies is not known: give --data, or set LATHE_DATA") }
  }

  private func state(_ task: EvaluationTask, _ folder: DataFolder?) -> String {
    guard let folder else { return "?" }
    return task.hasData(in: folder) ? "there" : "missing"
  }
}
