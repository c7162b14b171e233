/// The tables of a study for a terminal of 80 columns.
public enum TerminalTable {
  private static let labelWidth = 17

  /// The text, lines of at most 80 columns.
  public static func text(of results: StudyResults) -> String {
    var lines: [String] = []
    for table in ComparisonTable.tables(of: results) {
      lines += heading(table) + [""]
      let widths = table.columns.map { $0.short == "KL" || $0.short == "ppl" ? 8 : $0.short == "prefill" ? 7 : 6 }
      lines.append(line("", table.columns.map { $0.short + " " }, widths))
      for row in table.rows {
        let cells = table.columns.enumerated().map { i, column in
          let text = column.figure(row).map(column.brief) ?? "-"
          return text + (table.best[i].contains(row.variant.key) ? "*" : " ")
        }
        lines.append(line(row.variant.label, cells, widths))
      }
      lines.append("")
    }
    lines += wrap(ComparisonTable.note)
    return lines.joined(separator: "\n")
  }

  private static func heading(_ table: ComparisonTable) -> [String] {
    var text = "\(table.model): bits a weight (blocks, whole model), file size"
    if let name = table.protocolName { text += "; perplexity, KL (nats a token) and top-1 (%) under \(name)" }
    if let name = table.speedName { text += "; tokens a second under \(name)" }
    return wrap(text)
  }

  private static func line(_ label: String, _ cells: [String], _ widths: [Int]) -> String {
    var line = label.count > labelWidth ? label.prefix(labelWidth - 1) + "…" : pad(label, labelWidth)
    for (cell, width) in zip(cells, widths) {
      line += " " + String(repeating: " ", count: max(0, width - cell.count)) + cell
    }
    while line.last == " " { line.removeLast() }
    return line
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func wrap(_ text: String) -> [String] {
    var lines: [String] = [""]
    for word in text.split(separator: " ") {
      let last = lines[lines.count - 1]
      if !last.isEmpty, last.count + 1 + word.count > 80 {
        lines.append(String(word.prefix(80)))
      } else {
        lines[lines.count - 1] = last.isEmpty ? String(word.prefix(80)) : last + " " + word
      }
    }
    return lines
  }
}
