import Foundation
import LatheStudy
import LatheTensor
import Testing

@Suite struct ReportTests {
  private func results() throws -> StudyResults { try TinyStudy.shared.get() }

  /// Whether `text` is on the page; a failing expectation then does not print the whole page.
  private func has(_ page: String, _ text: String) -> Bool { page.contains(text) }

  @Test func figuresGoThroughTheDatabase() throws {
    let results = try results()
    #expect(
      results.rows.map(\.variant.label) == [
        "original", "rtn int4 g128", "gptq int4 g128", "rtn int2 g128", "gptq int2 g128",
      ])
    #expect(results.finishedCells == results.cells && results.cells == 15)
    for row in results.rows {
      let score = try #require(row.score(Metric.perplexity, under: "self-64-seed-2"))
      #expect(score.count == 189 && score.value > 1 && score.standardError ?? 0 > 0)
      #expect(row.size(Metric.fileBytes) ?? 0 > 1e6)
      #expect(row.score(Metric.decode, under: "speed-8-4")?.value ?? 0 > 0)
      #expect(row.weights.count == (row.variant.isOriginal ? 0 : 42))
      #expect(row.cells.allSatisfy { $0.provenance.version == "test" && !$0.provenance.command.isEmpty })
      if !row.variant.isOriginal {
        #expect(row.score(Metric.divergence, under: "self-64-seed-2")?.value ?? 0 > 0)
        #expect(row.weights.allSatisfy { $0.outputError != nil })
        #expect(
          row.cells.first?.provenance.calibration.contains("text the model wrote, 2 × 64 tokens, seed 1")
            == true)
      }
    }
  }

  @Test func thePageHasEveryChartAndRow() throws {
    let results = try results()
    let page = try HTMLReport.text(of: results)
    let charts = ChartCatalog.charts(of: results)
    let ids = [
      "perplexity-by-bits", "divergence-by-bits", "quality-by-size", "drift-by-divergence", "speed-by-bits",
      "speed-by-bits-2", "error-by-layer",
    ]
    #expect(charts.map(\.id) == ids)
    for chart in charts {
      #expect(has(page, "data-chart=\"\(chart.id)\""))
      #expect(!chart.rows.isEmpty && chart.rows.allSatisfy { $0.count == chart.header.count })
      for panel in chart.panels {
        #expect(panel.contains("role=\"img\"") && !panel.contains("nan") && !panel.contains("inf "))
      }
    }
    for row in results.rows { #expect(has(page, "<td>\(row.variant.label)</td>")) }
    #expect(has(page, "A tiny &lt;study&gt; &amp; its"))
    #expect(!has(page, "{{"))
    #expect(has(page, "exactly the KL divergence"))
    #expect(has(page, "self-64-seed-2"))
  }

  @Test func thePageNeedsNothingElse() throws {
    let page = try HTMLReport.text(of: results())
    for mark in ["http://", "https://", "src=", "@import", "url(", "<script", "<link rel=\"stylesheet"] {
      #expect(!has(page, mark), "\(mark)")
    }
  }

  @Test func namesCannotBreakThePage() throws {
    var results = try results()
    results.rows[1].variant.label = "</svg><script>alert(1)</script>"
    results.study.title = "<b>"
    let page = try HTMLReport.text(of: results)
    #expect(!has(page, "<script>") && !has(page, "<b>"))
  }

  @Test func aPartialRunHasAReport() throws {
    var results = try results()
    results.finishedCells = 3
    for i in 1..<results.rows.count {
      (results.rows[i].cells, results.rows[i].scores, results.rows[i].weights) = ([], [], [])
    }
    #expect(try HTMLReport.text(of: results).contains("3 of 15 cells are finished"))
    #expect(MarkdownReport.text(of: results).contains("3 of 15 cells"))
    #expect(ChartCatalog.charts(of: results).isEmpty)
    #expect(TerminalTable.text(of: results).contains("original"))
  }

  @Test func theTerminalTableHasEightyColumns() throws {
    var results = try results()
    let usual = TerminalTable.text(of: results)
    for line in usual.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
    #expect(results.rows.allSatisfy { usual.contains($0.variant.label) })
    results.rows[2].variant.label = "a recipe with quite a long name, set actOrder"
    for i in results.rows[3].scores.indices { results.rows[3].scores[i].value *= 1e5 }
    for i in results.rows[4].scores.indices { results.rows[4].scores[i].value *= 1e-5 }
    let text = TerminalTable.text(of: results)
    for line in text.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
    #expect(text.contains("*"))
    #expect(results.rows.allSatisfy { text.contains($0.variant.label.prefix(7)) })
  }

  @Test func markdownAndValuesHaveEveryRow() throws {
    let results = try results()
    let markdown = MarkdownReport.text(of: results)
    for row in results.rows { #expect(markdown.contains("| \(row.variant.label) |")) }
    #expect(
      CSVReport.text(of: results).split(separator: "\r\n").count == 1
        + results.rows.reduce(0) { $0 + $1.scores.count })
  }

  @Test func valuesAreQuoted() throws {
    var results = try results()
    results.rows[0].variant.label = "a, \"b\"\nc"
    let text = CSVReport.text(of: results)
    #expect(text.contains("tiny,\"a, \"\"b\"\"\nc\","))
    #expect(text.contains("\"text the model wrote, 2 × 64 tokens"))
  }

  @Test func theObjectHasEveryRow() throws {
    try TinyStudy.inFolder { folder in
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let results = try results()
      let files = try ReportFiles(of: results, in: folder)
      let data = try JSONEncoder().encode(ResultsObject(results, directory: folder, reports: files))
      let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      #expect((object["rows"] as? [[String: Any]])?.count == 5)
      #expect(FileManager.default.fileExists(atPath: files.html))
      #expect(!FileManager.default.fileExists(atPath: files.html + ".tmp"))
    }
  }

  @Test func onlyWhatIsNotBeatenIsOnTheFront() {
    let points: [(x: Double, y: Double)] = [(3, 1), (1, 5), (2, 5), (2, 3), (4, 1), (5, 0.5), (2, 4)]
    #expect(ParetoFront.indices(of: points) == [1, 3, 0, 5])
    #expect(ParetoFront.indices(of: []).isEmpty)
  }

  @Test func noiseIsNotMarked() throws {
    var results = try results()
    func marks(_ values: [Double], _ error: Double) -> Set<String> {
      for (i, value) in values.enumerated() {
        for j in results.rows[i + 1].scores.indices
        where results.rows[i + 1].scores[j].metric == Metric.perplexity {
          results.rows[i + 1].scores[j].value = value
          results.rows[i + 1].scores[j].standardError = error
        }
      }
      let keys = BestMarks.best(results.rows, smallestIsBest: true) {
        $0.score(Metric.perplexity, under: "self-64-seed-2")
      }
      return Set(results.rows.filter { keys.contains($0.variant.key) }.map(\.variant.label))
    }
    #expect(marks([10, 9, 30, 40], 0.1) == ["gptq int4 g128", "rtn int2 g128"])
    #expect(marks([10, 9, 30, 40], 1) == ["rtn int2 g128"])
    #expect(marks([9, 9, 30, 31], 0.6) == [])
  }
}
