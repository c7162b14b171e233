/// Perplexity against the bits a weight of the blocks really costs: a line for each method.
enum PerplexityByBits: ChartKind {
  static let id = "perplexity-by-bits"

  static func charts(of results: StudyResults) -> [Chart] {
    var charts: [Chart] = []
    for model in results.models {
      for name in results.perplexities.map(\.protocolName) {
        let series = results.series(of: model) { row in
          guard let bits = row.size(Metric.blockBits), let score = row.score(Metric.perplexity, under: name)
          else { return nil }
          return Plot.Point(
            x: bits, y: score.value, error: score.standardError,
            tooltip:
              "\(row.variant.label): \(Figures.withError(score.value, score.standardError)) at \(Figures.fixed(bits, 3)) bits"
          )
        }
        if series.isEmpty { continue }
        let original = results.original(of: model)?.score(Metric.perplexity, under: name)
        let plot = Plot(
          title: "Perplexity by real bits\(results.suffix(model))",
          summary:
            "Perplexity under \(name) against the bits a weight of the blocks costs, a line for each method.",
          xTitle: "real bits a weight of the blocks", yTitle: "perplexity, \(name)", series: series,
          reference: original.map { ($0.value, "original \(Figures.significant($0.value, 4))") })
        let id = id(after: charts.count)
        charts.append(
          Chart(
            id: id, title: plot.title,
            caption:
              "Under \(name). Lower is better; bars are standard errors. Scales and zero points count as bits.",
            panels: [plot.svg(id: id)], header: ["recipe", "bits, blocks", "perplexity (\(name))"],
            rows: results.rows(of: model).compactMap { row in
              guard let bits = row.size(Metric.blockBits),
                let score = row.score(Metric.perplexity, under: name)
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
