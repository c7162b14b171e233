/// The report in Markdown, with tables as GitHub draws them.
public enum MarkdownReport {
  /// The text.
  public static func text(of results: StudyResults) -> String {
    var lines = ["# \(results.study.title)", ""]
    if let summary = results.study.summary { lines += [summary, ""] }
    if results.finishedCells < results.cells {
      lines += ["**\(results.finishedCells) of \(results.cells) cells are finished.**", ""]
    }
    for table in ComparisonTable.tables(of: results) {
      let name = [table.protocolName, table.speedName].compactMap { $0 }.joined(separator: ", ")
      lines += ["## \(table.model) under \(name.isEmpty ? "no measure" : name)", ""]
      lines += markdown(
        ["recipe"] + table.columns.map(\.title),
        table.rows.map { row in
          [row.variant.label]
            + table.columns.enumerated().map { i, column in
              let text = (column.figure(row).map(column.text) ?? "–") + table.noise(i, row)
              return table.best[i].contains(row.variant.key) ? "**\(text)**" : text
            }
        })
      lines += [
        "",
        "Bold: best of its nominal bits; figures whose standard errors overlap share it."
          + ComparisonTable.noiseNote,
      ]
      lines += table.columns.map { "- \($0.title): \($0.explanation)" } + [""]
    }
    for table in TaskTable.tables(of: results) {
      lines += ["## \(table.model), \(table.title)", ""]
      lines += markdown(
        ["recipe"] + table.columns.map(\.title),
        table.rows.map { row in
          [row.variant.label]
            + table.columns.indices.map { i in
              let text = (table.columns[i].text(row) ?? "–") + (table.isInsideNoise(i, row) ? " ≈" : "")
              return table.best[i].contains(row.variant.key) ? "**\(text)**" : text
            }
        })
      lines += [
        "",
        "Shares in per cent. Bold: best of its nominal bits, and what cannot be told from it. "
          + TaskTable.note, "",
      ]
    }
    for table in PairTable.tables(of: results) {
      lines += ["## \(table.title)", ""] + markdown(table.header, table.rows) + [""]
    }
    for model in results.models {
      for table in DriftTable.tables(of: results, model: model) {
        lines += ["## Log-perplexity and divergence\(results.suffix(model))", ""]
        lines += [
          "On text sampled from the original itself, log-perplexity rises in expectation by exactly the KL divergence.",
          "",
        ]
        lines += markdown(table.header, table.rows) + [""]
      }
    }
    for table in PublishedTable.tables(of: results) {
      lines += ["## \(table.title)", "", table.note, ""] + markdown(table.header, table.rows) + [""]
    }
    lines += ["## Provenance", ""]
    lines += markdown(
      ["row", "cell", "protocol", "digest", "date", "command"],
      results.rows.flatMap { row in
        row.cells.map { cell in
          [
            "\(row.variant.model), \(row.variant.label)" + (row.isCurrent ? "" : " (of an earlier plan)"),
            cell.kind,
            cell.protocolName, cell.key, cell.provenance.date, "`\(cell.provenance.command)`",
          ]
        }
      })
    if let last = results.rows.first(where: \.isCurrent)?.cells.last?.provenance {
      lines += [
        "",
        "\(last.processor), \(last.threads) threads, \(last.kernels) kernels, \(last.system), lathe \(last.version).",
        "Tokenizer: \(last.tokenizer). Model digest: \(last.modelDigest).",
      ]
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func markdown(_ header: [String], _ rows: [[String]]) -> [String] {
    func line(_ cells: [String]) -> String {
      "| "
        + cells.map { $0.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|") }
        .joined(separator: " | ") + " |"
    }
    let rule = "|" + header.indices.map { $0 == 0 ? "---|" : "--:|" }.joined()
    return [line(header), rule] + rows.map(line)
  }
}
