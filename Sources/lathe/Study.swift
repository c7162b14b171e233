import ArgumentParser
import Foundation
import LatheStudy
import LatheTensor

struct StudyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "study",
    abstract: "Measure models under recipes by a plan, and write the comparison as a report.",
    usage: "lathe study <plan> [--out <folder>] [--data <folder>] [<options>]",
    discussion: """
      A plan is a YAML file; Studies/demo.yml is one:

        name: demo
        models: [{path: MODEL, label: NAME, tokenizer: FILE}]
        calibration: {text: self | FILE | PROTOCOL, samples: 48, length: 512, seed: 1}
        recipes:
          - {method: [rtn, gptq], bits: [8, 4, 3, 2], group: 128, symmetric: false, set: {clip: true}}
          - {label: mixed, rules: [{sites: "*.down", method: gptq, bits: 8}, {method: gptq, bits: 4}]}
          - {preset: [awq-w4g128, quip-w2]}
          - {method: rtn, encoding: [q4_k, nf4]}
          - {file: recipe.yml}
        published: {file: FIGURES.csv, source: WHERE}
        measures:
          - perplexity: {protocol: gptq-wikitext2-2048, windows: 16, divergence: true}
          - perplexity: {text: self | FILE, window: 512, windows: 32, bos: first, seed: 2}
          - speed: {prompt: 256, generate: 64, repetitions: 3}
          - tasks: {names: [commonsense, mmlu], limit: 100, num_fewshot: 5}

      Lists in a recipe stand for every combination. The same command continues a run that was interrupted; finished
      cells are never measured again. The directory then holds report.html, report.md, results.csv and results.sqlite.
      """)

  @Argument(help: "The plan.") var plan: String
  @Option(help: ArgumentHelp("The directory of the run (default: studies-out/NAME).", valueName: "folder"))
  var out: String?
  @Option(help: ArgumentHelp("Where corpora/ and tasks/ lie (default: $LATHE_DATA).", valueName: "folder"))
  var data: String?
  @OptionGroup var common: CommonOptions

  func run() throws {
    let study = try Study(reading: plan)
    let path = out ?? "studies-out/\(study.name)"
    let folder = try RunFolder(at: path)
    let store = try ResultStore(at: RunFolder.database(in: path))
    let threads = common.makeTeam().count
    let options = RunOptions(
      threads: threads, version: Lathe.configuration.version,
      command: "lathe study \(plan) --out \(path) --threads \(threads)", data: data)
    let reporter = StudyReporter()
    try StudyRunner(study, in: folder, store: store, options: options) { (event) throws(Problem) in
      reporter.show(event)
    }
    .run()
    reporter.finish()
    try ReportOutput.write(store: store, folder: path, json: common.json)
  }
}

/// Renders what a run directory holds, and prints the summary.
enum ReportOutput {
  static func write(store: ResultStore, folder: String, json: Bool) throws {
    let results = try StudyResults(of: store)
    let files = try ReportFiles(of: results, in: folder)
    if json { return try Output.json(ResultsObject(results, directory: folder, reports: files)) }
    Output.line(TerminalTable.text(of: results))
    Output.line()
    if results.finishedCells < results.cells {
      Output.line("\(results.finishedCells) of \(results.cells) cells are finished: lathe study continues")
    }
    Output.line("report: \(files.html)")
  }
}

/// One line for each cell: what it is, how long it took, how many remain and how long they may take.
final class StudyReporter {
  private var total = 0, done = 0, finishedBefore = 0
  /// The time spent on finished cells of a kind, and their number.
  private var spent: [String: (seconds: Double, count: Int)] = [:]
  private var progress: ProgressLine?
  private var title = ""
  private let start = ContinuousClock().now

  func show(_ event: StudyEvent) {
    switch event {
    case .planned(let cells, let finished):
      (total, done, finishedBefore) = (cells, finished, finished)
      let before = finished > 0 ? ", \(finished) of them finished by an earlier run" : ""
      Output.note("\(cells) cells\(before)")
    case .writing(let what, let done, let count):
      progress?.finish()
      progress = nil
      if done < count { Output.note("  \(what)") }
    case .began(let kind, let about):
      title = "[\(done + 1)/\(total)] \(kind) \(about): \(kind == "quantize" ? "block" : "window")"
      progress = nil
    case .advanced(let part, let parts):
      if progress == nil { progress = ProgressLine(title, total: parts) }
      progress?.update(part)
    case .finished(let kind, let about, let seconds):
      progress?.finish()
      done += 1
      let before = spent[kind] ?? (0, 0)
      spent[kind] = (before.seconds + seconds, before.count + 1)
      let rest = done < total ? ", \(total - done) remain, about \(Format.duration(estimate)) left" : ""
      Output.note("[\(done)/\(total)] \(kind) \(about): \(Format.duration(seconds))\(rest)")
    }
  }

  /// The rest at the pace so far, kind by kind as they recur.
  private var estimate: Double {
    let seconds = spent.values.reduce(0) { $0 + $1.seconds / Double($1.count) }
    return seconds / Double(spent.count) * Double(total - done)
  }

  func finish() {
    progress?.finish()
    let passed = (ContinuousClock().now - start) / .seconds(1)
    Output.note("\(done - finishedBefore) cells in \(Format.duration(passed))")
  }
}
