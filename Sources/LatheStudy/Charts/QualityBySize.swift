/// What a file of a given size buys: divergence (or perplexity) against bytes, with the front of what is not beaten.
enum QualityBySize: ChartKind {
  static let id = "quality-by-size"

  static func charts(of results: StudyResults) -> [Chart] {
    var charts: [Chart] = []
    for model in results.models {
      for measure in results.perplexities {
        let metric = measure.measuresDivergence ? Metric.divergence : Metric.perplexity
        if let chart = chart(results, model, measure.protocolName, metric, id(after: charts.count)) {
          charts.append(chart)
        }
      }
    }
    return charts
  }

  private static func chart(
    _ results: StudyResults, _ model: String, _ name: String, _ metric: String, _ id: String
  ) -> Chart? {
    func coordinates(_ row: ResultRow) -> (x: Double, y: Double)? {
      guard let bytes = row.size(Metric.fileBytes), let score = row.score(metric, under: name),
        score.value > 0
      else { return nil }
      return (bytes / 1_048_576, score.value)
    }
    let rows = results.rows(of: model).filter { !$0.variant.isOriginal && coordinates($0) != nil }
    if rows.isEmpty { return nil }
    let all = rows.compactMap(coordinates)
    let front = ParetoFront.indices(of: all)
    let onFront = Set(front.map { rows[$0].variant.key })
    let series = results.series(of: model) { row in
      guard let place = coordinates(row), let score = row.score(metric, under: name) else { return nil }
      let isOn = onFront.contains(row.variant.key)
      return Plot.Point(
        x: place.x, y: place.y, error: score.standardError, label: isOn ? row.variant.label : nil,
        tooltip:
          "\(row.variant.label): \(Figures.withError(score.value, score.standardError)) in \(Figures.fixed(place.x, 2)) MiB"
          + (isOn ? ", on the Pareto front" : ""))
    }.map { series in
      var series = series
      series.isJoined = false
      return series
    }
    let what = metric == Metric.divergence ? "KL divergence, nats a token" : "perplexity, \(name)"
    let plot = Plot(
      title: "Quality by file size\(results.suffix(model))",
      summary: "\(what) under \(name) against the size of the weights' files; the Pareto front is drawn.",
      xTitle: "size of the weights' files, MiB", yTitle: what, series: series, front: front.map { all[$0] },
      frontName: "Pareto front", xLogarithmic: nil, yLogarithmic: metric == Metric.divergence ? true : nil)
    let size = results.original(of: model)?.size(Metric.fileBytes)
    let originalSize = size.map { " The original takes \(Figures.mebibytes($0)) MiB." } ?? ""
    return Chart(
      id: id, title: plot.title,
      caption:
        "No recipe is both smaller and closer to the original than one on the Pareto front. Under \(name).\(originalSize)",
      panels: [plot.svg(id: id)], header: ["recipe", "file, MiB", what, "on the front"],
      rows: rows.compactMap { row in
        guard let place = coordinates(row), let score = row.score(metric, under: name) else { return nil }
        return [
          row.variant.label, Figures.fixed(place.x, 2), Figures.withError(score.value, score.standardError),
          onFront.contains(row.variant.key) ? "yes" : "",
        ]
      }, isWide: false)
  }
}
