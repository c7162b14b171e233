/// The figures of a study as comma-separated values (RFC 4180), one figure a row.
public enum CSVReport {
  /// The text.
  public static func text(of results: StudyResults) -> String {
    var lines = [
      row([
        "model", "recipe", "nominal_bits", "metric", "value", "standard_error", "n", "protocol",
        "current_plan",
        "model_digest", "tokenizer", "calibration", "seeds", "threads", "kernels", "processor", "system",
        "date", "version",
        "command",
      ])
    ]
    for result in results.rows {
      let cells = Dictionary(uniqueKeysWithValues: result.cells.map { ($0.key, $0.provenance) })
      for score in result.scores {
        guard let source = cells[score.cell] else { continue }
        lines.append(
          row([
            result.variant.model, result.variant.label, result.variant.nominalBits.map { "\($0)" } ?? "",
            score.metric,
            "\(score.value)", score.standardError.map { "\($0)" } ?? "", score.count.map { "\($0)" } ?? "",
            score.protocolName, "\(result.isCurrent)", source.modelDigest, source.tokenizer,
            source.calibration,
            source.seeds, "\(source.threads)", source.kernels, source.processor, source.system, source.date,
            source.version, source.command,
          ]))
      }
    }
    return lines.map { $0 + "\r\n" }.joined()
  }

  /// One row; a field with a comma, a quote or a line break is put in quotes.
  static func row(_ fields: [String]) -> String {
    fields.map { field in
      guard field.unicodeScalars.contains(where: { ",\"\n\r".unicodeScalars.contains($0) }) else {
        return field
      }
      return "\"" + field.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
        + "\""
    }
    .joined(separator: ",")
  }
}
