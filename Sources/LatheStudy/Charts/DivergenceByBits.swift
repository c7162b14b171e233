/// Divergence from the original against real bits: the finer measure of what quantization costs.
enum DivergenceByBits: ChartKind {
  static let id = "divergence-by-bits"

  static func charts(of results: StudyResults) -> [Chart] {
    var charts: [Chart] = []
    for model in results.models {
      for name in results.perplexities.map(\.protocolName) {
        let series = results.series(of: model) { row in
          guard let bits = row.size(Metric.blockBits), let score = row.score(Metric.divergence, under: name),
            score.value > 0
          else { return nil }
          return Plot.Point(
            x: bits, y: score.value, error: score.standardError,
            tooltip:
              "\(row.variant.label): \(Figures.withError(score.value, score.standardError)) nats at \(Figures.fixed(bits, 3)) bits"
          )
        }
        if series.isEmpty { continue }
        let plot = Plot(
          title: "KL divergence by real bits\(results.suffix(model))",
          summary:
            "Mean divergence from the original under \(name) against the bits a weight of the blocks costs.",
          xTitle: "real bits a weight of the blocks", yTitle: "KL divergence, nats a token", series: series,
          yLogarithmic: true)
        let id = id(after: charts.count)
        charts.append(
          Chart(
            id: id, title: plot.title,
            caption:
              "How far the next-token distributions moved from the original's, under \(name). Lower is better.",
            panels: [plot.svg(id: id)], header: ["recipe", "bits, blocks", "KL, nats (\(name))"],
            rows: results.rows(of: model).compactMap { row in
              guard let bits = row.size(Metric.blockBits),
                let score = row.score(Metric.divergence, under: name)
              else { return nil }
              return [
                row.variant.label, Figures.fixed(bits, 3),
                Figures.withError(score.value, score.standardError),
              ]
            }, isWide: false))
      }
    }
    return charts
  }
}
