/// Tokens a second against real bits: writing, which waits for memory, and reading, which waits for arithmetic.
enum SpeedByBits: ChartKind {
  static let id = "speed-by-bits"

  static func charts(of results: StudyResults) -> [Chart] {
    var charts: [Chart] = []
    for model in results.models {
      for measure in results.speeds {
        let sides = [
          (Metric.decode, "Decode", "writing \(measure.generate) tokens"),
          (Metric.prefill, "Prefill", "reading \(measure.prompt) tokens"),
        ]
        for (metric, name, what) in sides {
          let id = id(after: charts.count)
          if let chart = chart(results, model, measure, metric, name, what, id) { charts.append(chart) }
        }
      }
    }
    return charts
  }

  private static func chart(
    _ results: StudyResults, _ model: String, _ measure: SpeedMeasure, _ metric: String, _ side: String,
    _ what: String,
    _ id: String
  ) -> Chart? {
    let name = Measure.speed(measure).protocolName
    let series = results.series(of: model) { row in
      guard let bits = row.size(Metric.blockBits), let score = row.score(metric, under: name) else {
        return nil
      }
      return Plot.Point(
        x: bits, y: score.value, error: score.standardError,
        tooltip:
          "\(row.variant.label): \(Figures.withError(score.value, score.standardError)) tokens a second")
    }
    if series.isEmpty { return nil }
    let original = results.original(of: model)?.score(metric, under: name)
    let plot = Plot(
      title: "\(side) speed by real bits\(results.suffix(model))",
      summary: "Tokens a second \(what) against the bits a weight of the blocks costs.",
      xTitle: "real bits a weight of the blocks", yTitle: "tokens a second", series: series,
      reference: original.map { ($0.value, "original \(Figures.significant($0.value, 4))") },
      yLogarithmic: false,
      yFromZero: true)
    let sources = results.rows(of: model).flatMap(\.cells).filter { $0.protocolName == name }.map(
      \.provenance)
    let machine = sources.last.map { " \($0.processor), \($0.threads) threads, \($0.kernels) kernels." } ?? ""
    return Chart(
      id: id, title: plot.title,
      caption: "Median of \(measure.repetitions), \(what), under \(name). Higher is better.\(machine)",
      panels: [plot.svg(id: id)], header: ["recipe", "bits, blocks", "tokens a second (\(name))"],
      rows: results.rows(of: model).compactMap { row in
        guard let bits = row.size(Metric.blockBits), let score = row.score(metric, under: name) else {
          return nil
        }
        return [
          row.variant.label, Figures.fixed(bits, 3), Figures.withError(score.value, score.standardError),
        ]
      }, isWide: false)
  }
}
