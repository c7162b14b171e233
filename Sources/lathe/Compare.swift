import ArgumentParser
import LatheEvaluate
import LatheTensor

struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare two models' answers, question by question.",
    usage: "lathe compare <folder> <folder> [--margin <share>] [--json]",
    discussion: """
      The folders are those that lathe eval --tasks … --out wrote. For each figure: the paired difference (second less \
      first) with its 95 % interval by bootstrap; for right and wrong answers the questions that only one of the two \
      got right, and the exact McNemar test. Perplexity and KL are paired by page or window.
      """)

  @Argument(help: "The first model's records.") var first: String
  @Argument(help: "The second model's records.") var second: String
  @Option(help: ArgumentHelp("Differences below this count as none.", valueName: "share")) var margin = 0.01
  @Flag(help: "Print one JSON object on standard output.") var json = false

  func validate() throws {
    guard margin > 0, margin < 1 else { throw ValidationError("--margin takes a share between 0 and 1") }
  }

  func run() throws {
    let a = try TaskRecords(at: first), b = try TaskRecords(at: second)
    var results: [PairedComparison] = []
    for (name, samples) in a.tasks {
      guard let other = b.tasks.first(where: { $0.name == name }) else { continue }
      results += try Comparing.compare(name, samples, other.samples, margin: margin)
    }
    guard !results.isEmpty else {
      throw Problem(
        .usage, "the two folders have no task in common", cure: "run the same tasks on both models")
    }
    if json { return try Output.json(["comparisons": results]) }
    Output.line("A \(first)\nB \(second)\n")
    let pad = { (text: String, n: Int) in String(repeating: " ", count: max(0, n - text.count)) + text }
    Output.line("task           metric      n        A        B    B - A  95 % interval         p")
    for r in results {
      let name = String(r.task.prefix(14))
      let metric = String(short(r.metric))
      Output.line(
        name + String(repeating: " ", count: 15 - name.count) + metric
          + String(repeating: " ", count: 8 - metric.count) + pad("\(r.count)", 5) + pad(figure(r.first), 9)
          + pad(figure(r.second), 9) + pad(signed(r.difference), 9) + "  "
          + pad(signed(r.low), 8) + " " + pad(signed(r.high), 8) + pad(r.pValue.map(probability) ?? "", 6))
      let flips = r.onlyFirst.map { "only A right \($0), only B right \(r.onlySecond ?? 0); " } ?? ""
      Output.line("          \(flips)\(verdict(r))")
    }
    Output.line("\nn: questions, pages or windows. p: exact McNemar test. Equal within \(margin): by two")
    Output.line("one-sided tests at 5 %.")
  }

  private func short(_ metric: String) -> String {
    let names = ["perplexity": "ppl", "word_perplexity": "word ppl", "bits_per_byte": "bits/B"]
    return names[metric] ?? String(metric.prefix(8))
  }

  private func verdict(_ r: PairedComparison) -> String {
    var words = r.isInsideNoise ? "inside the noise" : "a difference"
    if r.isEquivalent { words += ", equal within \(margin)" }
    return words
  }

  private func figure(_ value: Double) -> String {
    let size = abs(value)
    if size >= 99_999 { return Format.error(value) }
    return Format.number(value, size < 10 ? 4 : size < 100 ? 3 : size < 1000 ? 2 : 1)
  }

  private func signed(_ value: Double) -> String { (value < 0 ? "" : "+") + figure(value) }

  private func probability(_ p: Double) -> String { p < 0.001 ? "<.001" : Format.number(p, 3) }
}
