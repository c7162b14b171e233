internal import Foundation
public import LatheTensor

/// The files a report consists of.
public struct ReportFiles: Sendable {
  /// The page, the Markdown text and the table of figures.
  public let html, markdown, csv: String

  /// Writes the report of `results` into `folder`, each file in one step.
  ///
  /// - Throws: `Problem` where a file cannot be written.
  public init(of results: StudyResults, in folder: String) throws(Problem) {
    (html, markdown, csv) = (folder + "/report.html", folder + "/report.md", folder + "/results.csv")
    try AtomicFile.write(try HTMLReport.text(of: results), to: html)
    try AtomicFile.write(MarkdownReport.text(of: results), to: markdown)
    try AtomicFile.write(CSVReport.text(of: results), to: csv)
  }
}

/// The results as one object, for `--json`.
public struct ResultsObject: Encodable {
  private enum CodingKeys: String, CodingKey {
    case study, title, directory, rows, cells
    case finishedCells = "finished_cells"
    case reports
  }
  let study, title, directory: String
  let cells, finishedCells: Int
  let reports: [String]
  let rows: [Row]

  struct Row: Encodable {
    private enum CodingKeys: String, CodingKey {
      case model, recipe, original, scores, provenance
      case nominalBits = "nominal_bits"
      case isCurrent = "current_plan"
      case digest = "key"
    }
    let model, recipe, digest: String
    let original, isCurrent: Bool
    let nominalBits: Double?
    let scores: [Figure]
    let provenance: [String: Provenance]
  }

  struct Figure: Encodable {
    private enum CodingKeys: String, CodingKey {
      case metric, value, n
      case standardError = "standard_error"
      case protocolName = "protocol"
    }
    let metric, protocolName: String
    let value: Double
    let standardError: Double?
    let n: Int?
  }

  /// The object of `results`, which lie in `directory`.
  public init(_ results: StudyResults, directory: String, reports: ReportFiles) {
    (study, title, self.directory) = (results.study.name, results.study.title, directory)
    (cells, finishedCells) = (results.cells, results.finishedCells)
    self.reports = [reports.html, reports.markdown, reports.csv]
    rows = results.rows.map { row in
      Row(
        model: row.variant.model, recipe: row.variant.label, digest: row.variant.key,
        original: row.variant.isOriginal,
        isCurrent: row.isCurrent, nominalBits: row.variant.nominalBits,
        scores: row.scores.map {
          Figure(
            metric: $0.metric, protocolName: $0.protocolName, value: $0.value,
            standardError: $0.standardError, n: $0.count)
        },
        provenance: Dictionary(row.cells.map { ("\($0.kind) \($0.protocolName)", $0.provenance) }) {
          _, last in last
        })
    }
  }
}
