/// The tables of a study for a terminal of 80 columns.
public enum TerminalTable {
  private static let width = 80

  /// The text, lines of at most 80 columns.
  public static func text(of results: StudyResults) -> String {
    var lines: [String] = []
    for table in ComparisonTable.tables(of: results) {
      lines += heading(table) + [""]
      // A blank after each figure, where a mark may stand.
      // Columns without a short heading are for pages.
      let shown = table.columns.enumerated().filter { !$1.short.isEmpty }
      var cells = [[""] + shown.map { $1.short + " " }]
      for row in table.rows {
        cells.append(
          [row.variant.label]
            + shown.map { i, column in
              let text = column.figure(row).map(column.brief) ?? "-"
              return text + (table.best[i].contains(row.variant.key) ? "*" : " ")
            })
      }
      lines += aligned(cells) + [""]
    }
    let tasks = TaskTable.tables(of: results)
    for table in tasks {
      lines += wrap("\(table.model): \(table.title); per cent, ± standard error") + [""]
      var cells = [[""] + table.columns.map { short($0.short) + "  " }]
      for row in table.rows {
        cells.append(
          [row.variant.label]
            + table.columns.indices.map { i in
              (table.columns[i].brief(row) ?? "-") + (table.best[i].contains(row.variant.key) ? "*" : " ")
                + (table.isInsideNoise(i, row) ? "≈" : " ")
            })
      }
      lines += aligned(cells) + [""]
    }
    lines += wrap(ComparisonTable.note)
    if !tasks.isEmpty { lines += wrap(TaskTable.note) }
    return lines.joined(separator: "\n")
  }

  /// The first column to the left, in the room that the others leave it.
  private static func aligned(_ cells: [[String]]) -> [String] {
    let widths = cells[0].indices.map { i in cells.map { $0[i].count }.max() ?? 0 }
    let others = widths.dropFirst().reduce(0) { $0 + $1 + 1 }
    let first = min(widths[0], max(width - others, 8))
    return cells.map { row in
      var line = row[0].count > first ? row[0].prefix(first - 1) + "…" : pad(row[0], first)
      for (cell, width) in zip(row, widths).dropFirst() {
        line += " " + String(repeating: " ", count: width - cell.count) + cell
      }
      while line.last == " " { line.removeLast() }
      return String(line.prefix(width))
    }
  }

  /// A heading that leaves room for the others.
  private static func short(_ title: String) -> String { title.count > 8 ? title.prefix(7) + "…" : title }

  private static func heading(_ table: ComparisonTable) -> [String] {
    var text = "\(table.model): bits a weight (blocks, whole model), file size"
    if let name = table.protocolName { text += "; perplexity, KL (nats a token) and top-1 (%) under \(name)" }
    if let name = table.speedName { text += "; tokens a second under \(name)" }
    return wrap(text)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func wrap(_ text: String) -> [String] {
    var lines: [String] = [""]
    for word in text.split(separator: " ") {
      let last = lines[lines.count - 1]
      if !last.isEmpty, last.count + 1 + word.count > width {
        lines.append(String(word.prefix(width)))
      } else {
        lines[lines.count - 1] = last.isEmpty ? String(word.prefix(width)) : last + " " + word
      }
    }
    return lines
  }
}
