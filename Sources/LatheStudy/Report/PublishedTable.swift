/// Measured figures beside published ones, recipe by recipe.
struct PublishedTable {
  let title: String
  let note: String
  let header: [String]
  let rows: [[String]]

  /// The tables of a study: one for each model, none where the plan names no publication.
  static func tables(of results: StudyResults) -> [PublishedTable] {
    guard let published = results.study.published else { return [] }
    return results.models.map { model in
      let measured = results.rows(of: model)
      let rows = published.rows.compactMap { row -> [String]? in
        guard
          let found = measured.first(where: {
            row.recipe == "original" ? $0.variant.isOriginal : $0.variant.label == row.recipe
          })
        else { return nil }
        return [row.recipe]
          + zip(published.columns, row.figures).map { column, figure in
            (Self.measured(found, column) ?? "–") + " / " + (figure.isEmpty ? "–" : figure)
          }
      }
      return PublishedTable(
        title: "Measured and published\(results.suffix(model))",
        note:
          "Each cell: measured here / printed in \(published.source). A dash stands for what was not measured.",
        header: ["recipe"] + published.columns, rows: rows)
    }
  }

  /// The figure that a column of a publication means: perplexity under a protocol of that name, or a task's accuracy in
  /// per cent.
  private static func measured(_ row: ResultRow, _ column: String) -> String? {
    if let perplexity = row.score(Metric.perplexity, under: column) {
      return Figures.significant(perplexity.value, 4)
    }
    let accuracy = row.scores.last {
      $0.metric == "\(column):acc"
        || $0.metric == "acc" && ($0.protocolName == column || $0.protocolName.hasPrefix(column + " "))
    }
    return accuracy.map { Figures.fixed(100 * $0.value, 1) }
  }
}
