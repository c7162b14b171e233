internal import Foundation
public import LatheTensor
internal import Mustache

/// The report as one page that needs nothing else: styles and graphics are in it, and nothing is fetched.
public enum HTMLReport {
  /// The page.
  ///
  /// - Throws: `Problem` of kind `internal` where a template is broken.
  public static func text(of results: StudyResults) throws(Problem) -> String {
    let library: MustacheLibrary
    let page: MustacheTemplate
    do {
      library = MustacheLibrary(templates: [
        "table": try MustacheTemplate(string: text(PackageResources.table_mustache))
      ])
      page = try MustacheTemplate(string: text(PackageResources.report_mustache))
    } catch {
      throw Problem(.internal, "a template of the report is broken (\(error))")
    }
    return page.render(content(results), library: library)
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  private static func content(_ results: StudyResults) -> [String: Any] {
    var content: [String: Any] = [
      "css": text(PackageResources.report_css), "name": results.study.name, "title": results.study.title,
      "isPartial": results.finishedCells < results.cells, "finished": results.finishedCells,
      "cells": results.cells,
      "facts": facts(results), "glance": Glance.sections(of: results), "charts": charts(results),
      "selfWritten": selfWritten(results), "tables": tables(results), "tasks": tasks(results),
      "pairs": pairs(results), "published": published(results), "provenance": provenance(results),
    ]
    if let summary = results.study.summary { content["summary"] = summary }
    return content
  }

  // MARK: Parts

  private static func published(_ results: StudyResults) -> [[String: Any]] {
    PublishedTable.tables(of: results).enumerated().map { i, table in
      [
        "index": i + 1, "title": table.title, "note": table.note, "header": table.header,
        "rows": rows(table.rows),
      ]
    }
  }

  private static func facts(_ results: StudyResults) -> [[String: Any]] {
    let sources = results.rows.filter(\.isCurrent).flatMap(\.cells).map(\.provenance)
    func all(_ values: [String]) -> String {
      var seen: [String] = []
      for value in values where !seen.contains(value) { seen.append(value) }
      return seen.joined(separator: "; ")
    }
    let calibration = all(sources.map(\.calibration).filter { $0 != "none" })
    let parameters = results.models.compactMap { model in
      results.original(of: model)?.size("parameters").map {
        "\(model), \(Figures.significant($0 / 1e6, 3)) M parameters"
      }
    }
    let names = results.study.measures.map(\.protocolName).joined(separator: "; ")
    let dates = sources.map(\.date).sorted()
    var pairs = [
      (
        "Models",
        parameters.isEmpty ? results.models.joined(separator: ", ") : parameters.joined(separator: "; ")
      ),
      ("Calibration", calibration.isEmpty ? "none" : calibration), ("Protocols", names),
      ("Tokenizer", all(sources.map(\.tokenizer))),
      ("Machine", all(sources.map { "\($0.processor), \($0.threads) threads, \($0.kernels) kernels" })),
      ("System", all(sources.map(\.system))), ("Program", all(sources.map { "lathe \($0.version)" })),
    ]
    if let first = dates.first, let last = dates.last {
      pairs.append(("Measured", Figures.period(first, last)))
    }
    return pairs.map(fact)
  }

  private static func fact(_ pair: (String, String)) -> [String: Any] { ["name": pair.0, "value": pair.1] }

  private static func charts(_ results: StudyResults) -> [[String: Any]] {
    let charts = ChartCatalog.charts(of: results)
    let halves = charts.count { !$0.isWide }
    return charts.enumerated().map { i, chart in
      // Of an odd number of charts side by side, the last has a row of its own.
      let isAlone = !chart.isWide && halves % 2 == 1 && i == charts.lastIndex { !$0.isWide }
      return [
        "id": chart.id, "title": chart.title, "caption": chart.caption,
        "class": chart.isWide ? "wide" : isAlone ? "wide alone" : "half",
        "panelClass": chart.panels.count > 1 ? "panels" : "panel",
        "graphics": chart.panels.joined(separator: "\n"),
        "header": chart.header, "rows": rows(chart.rows),
      ]
    }
  }

  private static func rows(_ rows: [[String]]) -> [[String: Any]] {
    rows.map { row in ["cells": row.map { ["text": $0] as [String: Any] }] }
  }

  private static func selfWritten(_ results: StudyResults) -> [[String: Any]] {
    var sections: [[String: Any]] = []
    for model in results.models {
      for table in DriftTable.tables(of: results, model: model) {
        sections.append([
          "index": sections.count + 1, "title": "Log-perplexity and divergence\(results.suffix(model))",
          "header": table.header, "rows": rows(table.rows),
        ])
      }
    }
    return sections
  }

  private static func tables(_ results: StudyResults) -> [[String: Any]] {
    ComparisonTable.tables(of: results).enumerated().map { i, table in
      var bits: Double?
      let rows: [[String: Any]] = table.rows.enumerated().map { number, row in
        var content: [String: Any] = [:]
        let cells: [[String: Any]] = table.columns.enumerated().map { i, column in
          var cell: [String: Any] = [
            "text": (column.figure(row).map(column.text) ?? "–") + table.noise(i, row)
          ]
          if table.best[i].contains(row.variant.key) { cell["mark"] = "best" }
          return cell
        }
        content["cells"] = [["text": row.variant.label]] + cells
        if row.variant.isOriginal {
          content["kind"] = "original"
        } else if number > 0, row.variant.nominalBits != bits {
          content["kind"] = "begins"
        }
        bits = row.variant.nominalBits
        return content
      }
      let name = [table.protocolName, table.speedName].compactMap { $0 }.joined(separator: ", ")
      return [
        "index": i + 1, "title": "\(table.model) under \(name.isEmpty ? "no measure" : name)",
        "caption": table.columns.map { "\($0.title): \($0.explanation)" }.joined(separator: ". ") + ".",
        "header": ["recipe"] + table.columns.map(\.title), "rows": rows,
        "note":
          "Shaded: best of its nominal bits. Figures whose standard errors overlap share the mark, and where all do, none has it."
          + ComparisonTable.noiseNote,
      ] as [String: Any]
    }
  }

  private static func tasks(_ results: StudyResults) -> [[String: Any]] {
    TaskTable.tables(of: results).enumerated().map { i, table in
      var bits: Double?
      let rows: [[String: Any]] = table.rows.enumerated().map { number, row in
        var content: [String: Any] = [:]
        let cells: [[String: Any]] = table.columns.indices.map { i in
          let noise = table.isInsideNoise(i, row) ? " ≈" : ""
          var cell: [String: Any] = ["text": (table.columns[i].text(row) ?? "–") + noise]
          if table.best[i].contains(row.variant.key) { cell["mark"] = "best" }
          return cell
        }
        content["cells"] = [["text": row.variant.label]] + cells
        if row.variant.isOriginal {
          content["kind"] = "original"
        } else if number > 0, row.variant.nominalBits != bits {
          content["kind"] = "begins"
        }
        bits = row.variant.nominalBits
        return content
      }
      return [
        "index": i + 1, "title": "\(table.model), \(table.title)",
        "header": ["recipe"] + table.columns.map(\.title),
        "rows": rows,
        "note":
          "Shares in per cent. Shaded: best of its nominal bits, and what cannot be told from it. \(TaskTable.note)",
      ] as [String: Any]
    }
  }

  private static func pairs(_ results: StudyResults) -> [[String: Any]] {
    PairTable.tables(of: results).enumerated().map { i, table in
      ["index": i + 1, "title": table.title, "header": table.header, "rows": rows(table.rows)]
        as [String: Any]
    }
  }

  private static func provenance(_ results: StudyResults) -> [[String: Any]] {
    results.rows.filter { !$0.cells.isEmpty }.map { row in
      [
        "row": "\(row.variant.model), \(row.variant.label)", "key": row.variant.key,
        "earlier": !row.isCurrent,
        "cells": row.cells.map { cell in
          let source = cell.provenance
          return [
            "title": "\(cell.kind), \(cell.protocolName)", "command": source.command,
            "facts": [
              ("Model", "\(source.model), digest \(source.modelDigest)"), ("Tokenizer", source.tokenizer),
              ("Calibration", source.calibration), ("Seeds", source.seeds),
              (
                "Machine",
                "\(source.processor), \(source.threads) threads, \(source.kernels) kernels, \(source.system)"
              ),
              ("Program", "lathe \(source.version)"),
              ("Measured", "\(source.date), in \(Figures.duration(cell.seconds))"),
              ("Cell", cell.key),
            ].map(fact), "header": ["figure", "value", "standard error", "n", "protocol"],
            "rows": rows(
              row.scores.filter { $0.cell == cell.key }.map { score in
                [
                  score.metric, Figures.significant(score.value, 6),
                  score.standardError.map { Figures.significant($0, 3) } ?? "–",
                  score.count.map { "\($0)" } ?? "–", score.protocolName,
                ]
              }),
          ] as [String: Any]
        },
      ]
    }
  }
}
