import Foundation
import LatheStudy
import LatheTensor
import LatheTestSupport
import Testing

/// A study whose measures are tasks of its own, on questions made here.
@Suite struct TaskMeasureTests {
  private static func write(_ folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    func write(_ text: String, _ name: String) throws {
      try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/" + name))
    }
    try write(
      """
      {"task": "words", "output": "multiple_choice", "data": {"validation": {"file": "words.jsonl"}},
       "prompt": "{{before}}", "choices": ["{{right}}", "{{wrong}}"], "target": "{{answer}}",
       "metrics": ["acc", "acc_norm"]}
      """, "words.json")
    let nouns = ["house", "door", "lady", "horse", "letter", "garden", "river", "captain"]
    let lines = (0..<24).map { i in
      #"{"before": "She looked at the \#(nouns[i % 8]) and", "right": "smiled", "wrong": "\#(nouns[(i * 3 + 1) % 8])", "#
        + #""answer": \#(i % 2)}"#
    }
    try write(lines.joined(separator: "\n") + "\n", "words.jsonl")
  }

  private static func run(
    _ plan: String, in folder: String, report: @escaping (StudyEvent) throws(Problem) -> Void = { _ in }
  ) throws -> Int {
    let study = try Study(text: plan, folder: folder)
    let run = try RunFolder(at: folder + "/run")
    let store = try ResultStore(at: RunFolder.database(in: folder + "/run"))
    let options = RunOptions(threads: 2, version: "test", command: "lathe study", data: folder)
    return try StudyRunner(study, in: run, store: store, options: options, report: report).run()
  }

  private static func plan(_ tasks: String) -> String {
    """
    name: words
    models: [{path: "\(TinyStudy.model)", label: tiny}]
    recipes: [{method: rtn, bits: [8, 2], group: 128}, {method: rtn, bits: 2, group: 64}]
    measures:
      - tasks: \(tasks)
    """
  }

  @Test(
    "tasks are measures: figures, differences to the original, marks in every form of the report; once only")
  func study() throws {
    try TinyStudy.inFolder { folder in
      try Self.write(folder)
      let plan = Self.plan("{names: [words.json], limit: 20, num_fewshot: 0}")
      #expect(try Self.run(plan, in: folder) == 8)
      #expect(try Self.run(plan, in: folder) == 0)
      let results = try TinyStudy.results(in: folder + "/run")
      let name = "words, 0-shot (first 20)"
      for row in results.rows {
        let score = try #require(row.score("acc", under: name))
        #expect(score.count == 20 && score.standardError != nil)
        #expect((row.score("acc_vs_original", under: name) == nil) == row.variant.isOriginal)
        #expect((row.score("acc_mcnemar_p", under: name) == nil) == row.variant.isOriginal)
      }
      // At eight bits nothing flips.
      let eight = try #require(results.rows.first { $0.variant.nominalBits == 8 })
      #expect(eight.score("acc_vs_original", under: name)?.value == 0)
      #expect(eight.score("acc_mcnemar_p", under: name)?.value == 1)
      let html = try HTMLReport.text(of: results), markdown = MarkdownReport.text(of: results)
      for text in [html, markdown] {
        #expect(text.contains(name) && text.contains(" ≈") && text.contains("inside the noise"))
        #expect(text.contains("pairs by words"))
      }
      let terminal = TerminalTable.text(of: results)
      #expect(terminal.contains("≈") && terminal.split(separator: "\n").allSatisfy { $0.count <= 80 })
      #expect(CSVReport.text(of: results).contains("acc_vs_original"))
    }
  }

  @Test("a run killed inside a task goes on with the next question")
  func killed() throws {
    try TinyStudy.inFolder { folder in
      try Self.write(folder)
      let plan = Self.plan("[words.json]")
      var kills = 0
      while kills < 40 {
        var events = 0
        do throws(Problem) {
          do {
            _ = try Self.run(plan, in: folder) { (event) throws(Problem) in
              events += 1
              if events == 5 { throw Problem(.tryAgain, "killed") }
            }
            break
          } catch let problem as Problem { throw problem } catch { throw Problem(.internal, "\(error)") }
        } catch {
          try #require(error.what == "killed", "\(error)")
          kills += 1
        }
      }
      #expect(kills > 1)
      let results = try TinyStudy.results(in: folder + "/run")
      #expect(results.finishedCells == 8)
      #expect(results.rows.allSatisfy { $0.score("acc", under: "words")?.count == 24 })
    }
  }

  @Test("aliases of protocols are measures of perplexity; what is unknown is told with its line")
  func plans() throws {
    let study = try Study(
      text: Self.plan("{names: [commonsense, wikitext2_gptq_2048], limit: 4}"), folder: TestData.packageFolder
    )
    #expect(study.measures.count == 2)
    #expect(study.measures.map(\.protocolName).contains("gptq-wikitext2-2048 (first 4 windows)"))
    for (tasks, words) in [
      ("[nonsense]", "unknown task"), ("{limit: 3}", "need names"),
      ("{names: [piqa], shots: 2}", "unknown key"),
      ("{names: [piqa], preset: none}", "preset must be"), ("[piqa, piqa]", "occurs twice"),
    ] {
      let problem = #expect(throws: Problem.self) {
        try Study(text: Self.plan(tasks), folder: TestData.packageFolder)
      }
      #expect(problem?.description.contains(words) == true, "\(problem?.description ?? "")")
      #expect(problem?.place?.contains("plan:") == true)
    }
  }
}
