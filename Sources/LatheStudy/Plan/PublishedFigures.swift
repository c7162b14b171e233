public import LatheTensor

/// What a publication says of the same recipes, to be set beside what was measured.
public struct PublishedFigures: Codable, Hashable, Sendable {
  /// Where the figures come from.
  public var source: String
  /// What is measured, column by column: protocols of perplexity, or tasks.
  public var columns: [String]
  /// The figures of each recipe, as printed; "" where there is none.
  public var rows: [Row]

  /// The figures of one recipe.
  public struct Row: Codable, Hashable, Sendable {
    /// The recipe's label; "original" for the unquantized model.
    public var recipe: String
    /// One figure for each column.
    public var figures: [String]
  }

  /// Reads figures from comma-separated lines: a heading that begins with "recipe", then a line for each recipe; lines
  /// that begin with "#" are comments.
  ///
  /// - Throws: `Problem` that names the line.
  public init(reading path: String, source: String) throws(Problem) {
    self.source = source
    var columns: [String] = [], rows: [Row] = []
    for (number, line) in try Bytes(mapping: path).text.split(
      separator: "\n", omittingEmptySubsequences: false
    )
    .enumerated() {
      let trimmed = line.last == "\r" ? line.dropLast() : line
      if trimmed.isEmpty || trimmed.hasPrefix("#") { continue }
      let cells = trimmed.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      if columns.isEmpty {
        guard cells.first == "recipe", cells.count > 1 else {
          throw Problem(
            .badData, "the heading does not begin with \"recipe\"", at: "\(path):\(number + 1)",
            cure: "say recipe,COLUMN,…")
        }
        columns = Array(cells.dropFirst())
        continue
      }
      guard cells.count == columns.count + 1 else {
        throw Problem(
          .badData, "the line has \(cells.count) cells where the heading has \(columns.count + 1)",
          at: "\(path):\(number + 1)")
      }
      for cell in cells.dropFirst() where !cell.isEmpty && Double(cell) == nil {
        throw Problem(.badData, "\"\(cell.prefix(40))\" is not a number", at: "\(path):\(number + 1)")
      }
      rows.append(Row(recipe: cells[0], figures: Array(cells.dropFirst())))
    }
    guard !rows.isEmpty else { throw Problem(.badData, "there are no figures", at: path) }
    (self.columns, self.rows) = (columns, rows)
  }
}
