/// For text the original wrote: the rise of log-perplexity against the divergence, which it equals but for chance.
enum DriftByDivergence: ChartKind {
  static let id = "drift-by-divergence"

  static func charts(of results: StudyResults) -> [Chart] {
    var charts: [Chart] = []
    for model in results.models {
      for table in DriftTable.tables(of: results, model: model) {
        if let chart = chart(results, model, table, id(after: charts.count)) { charts.append(chart) }
      }
    }
    return charts
  }

  private static func chart(_ results: StudyResults, _ model: String, _ table: DriftTable, _ id: String)
    -> Chart?
  {
    let name = table.protocolName
    let series = results.series(of: model) { row in
      guard let rise = row.rise(under: name), let score = row.score(Metric.divergence, under: name), rise > 0,
        score.value > 0
      else { return nil }
      return Plot.Point(
        x: score.value, y: rise,
        tooltip:
          "\(row.variant.label): Δ ln perplexity \(Figures.significant(rise, 3)), KL \(Figures.significant(score.value, 3)) nats"
      )
    }.map { series in
      var series = series
      series.isJoined = false
      return series
    }
    let all = series.flatMap(\.points).flatMap { [$0.x, $0.y] }
    guard let low = all.min(), let high = all.max() else { return nil }
    let plot = Plot(
      title: "Two measures of one quantity\(results.suffix(model))",
      summary:
        "The rise of log-perplexity against KL divergence under \(name), and the line where they are equal.",
      xTitle: "KL divergence, nats a token", yTitle: "Δ ln perplexity", series: series,
      front: [(low, low), (high, high)], frontName: "equal", xLogarithmic: true, yLogarithmic: true)
    return Chart(
      id: id, title: plot.title,
      caption:
        "On text the original wrote, log-perplexity rises in expectation by exactly the KL divergence. Under \(name); "
        + "rises that chance made negative are in the table only.",
      panels: [plot.svg(id: id)], header: table.header, rows: table.rows, isWide: false)
  }
}
