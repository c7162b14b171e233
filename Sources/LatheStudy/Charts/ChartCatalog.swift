/// A chart of the report: what is drawn, and the same as a table.
public struct Chart: Sendable {
  /// The id of the graphic in the page; panels of a chart add a number.
  public var id: String
  /// The headline.
  public var title: String
  /// A sentence or two beneath it.
  public var caption: String
  /// The graphic, or the panels of it.
  public var panels: [String]
  /// The data as a table: the headings and the rows.
  public var header: [String]
  /// The rows of the table.
  public var rows: [[String]]
  /// Whether it takes the page's whole width.
  public var isWide: Bool
}

/// Something that is drawn of a study's results. One conforming type per file.
protocol ChartKind: Sendable {
  /// The id of its first chart; further ones add "-2", "-3", ….
  static var id: String { get }
  /// The charts, none where the results have not what it takes.
  static func charts(of results: StudyResults) -> [Chart]
}

/// Every chart. A new one is one file and one line here.
public enum ChartCatalog {
  static let all: [any ChartKind.Type] = [
    PerplexityByBits.self, DivergenceByBits.self, QualityBySize.self, DriftByDivergence.self,
    SpeedByBits.self, ErrorByLayer.self,
  ]

  /// All charts of `results`, their ids distinct.
  public static func charts(of results: StudyResults) -> [Chart] { all.flatMap { $0.charts(of: results) } }
}

extension ChartKind {
  /// The id of the chart of this kind that follows `count` others.
  static func id(after count: Int) -> String { count == 0 ? id : "\(id)-\(count + 1)" }
}

extension StudyResults {
  /// The lines of a chart: a model's quantized rows, by what they are but for their bits.
  func series(
    of model: String, point: (ResultRow) -> Plot.Point?
  ) -> [Plot.Series] {
    let rows = rows(of: model).filter { !$0.variant.isOriginal }
    var families: [String] = []
    for row in rows where !families.contains(row.variant.family) { families.append(row.variant.family) }
    return families.enumerated().compactMap { i, family in
      let points = rows.filter { $0.variant.family == family }.compactMap(point)
      return points.isEmpty ? nil : Plot.Series(name: family, style: i, points: points)
    }
  }

  /// The original's row of a model.
  func original(of model: String) -> ResultRow? { rows(of: model).first(where: \.variant.isOriginal) }

  /// " of MODEL" where there are several models.
  func suffix(_ model: String) -> String { models.count > 1 ? ", \(model)" : "" }
}
