/// The first thing a reader sees: at each width, the recipe that stays closest to the original.
enum Glance {
  static func sections(of results: StudyResults) -> [[String: Any]] {
    guard let measure = results.perplexities.first else { return [] }
    return results.models.enumerated().compactMap { i, model in
      section(results, model, measure.protocolName, number: i + 1)
    }
  }

  private static func section(
    _ results: StudyResults, _ model: String, _ name: String, number: Int
  ) -> [String: Any]? {
    let original = results.original(of: model)
    guard let base = original?.score(Metric.perplexity, under: name)?.value else { return nil }
    let rows = results.rows(of: model).filter {
      !$0.variant.isOriginal && $0.score(Metric.perplexity, under: name) != nil
    }
    var widths: [Double] = []
    for row in rows { if let bits = row.variant.nominalBits, !widths.contains(bits) { widths.append(bits) } }
    let tiles: [[String: Any]] = widths.compactMap { bits in
      let candidates = rows.filter { $0.variant.nominalBits == bits }
      guard let best = candidates.min(by: { cost($0, name) < cost($1, name) }) else { return nil }
      return tile(best, original, base, name, bits)
    }
    if tiles.isEmpty { return nil }
    return [
      "index": number, "title": "At a glance\(results.suffix(model))",
      "caption":
        "At each width the recipe that stays closest to the original, whose perplexity under \(name) is "
        + "\(Figures.significant(base, 4)).", "tiles": tiles,
    ]
  }

  private static func cost(_ row: ResultRow, _ name: String) -> Double {
    row.score(Metric.divergence, under: name)?.value ?? row.score(Metric.perplexity, under: name)?.value
      ?? .infinity
  }

  private static func tile(
    _ row: ResultRow, _ original: ResultRow?, _ base: Double, _ name: String, _ bits: Double
  ) -> [String: Any] {
    let rise = 100 * ((row.score(Metric.perplexity, under: name)?.value ?? base) / base - 1)
    var small: [String] = []
    if let divergence = row.score(Metric.divergence, under: name)?.value {
      small.append("KL \(Figures.significant(divergence, 3)) nats")
    }
    if let agreement = row.score(Metric.agreement, under: name)?.value {
      small.append("same top token at \(Figures.fixed(100 * agreement, 1)) %")
    }
    if let bytes = row.size(Metric.fileBytes) {
      let share =
        original?.size(Metric.fileBytes).map { " (\(Figures.fixed(100 * bytes / $0, 0)) % of the original)" }
        ?? ""
      small.append("\(Figures.mebibytes(bytes)) MiB\(share)")
    }
    let exact = row.size(Metric.blockBits).map { ", really \(Figures.fixed($0, 3))" } ?? ""
    return [
      "bits": "\(bits == bits.rounded() ? "\(Int(bits))" : "\(bits)") bits\(exact)",
      "recipe": row.variant.label,
      "big": (rise >= 0 ? "+" : "−") + Figures.significant(abs(rise), rise < 0.1 ? 1 : 3) + " %",
      "unit": "perplexity, \(name)",
      "small": small.joined(separator: " · "),
    ]
  }
}

/// For text the model wrote itself: the rise of log-perplexity beside the divergence it estimates.
struct DriftTable {
  let protocolName: String
  let header: [String]
  let rows: [[String]]

  static func tables(of results: StudyResults, model: String) -> [DriftTable] {
    results.perplexities.filter { $0.isSelfWritten && $0.measuresDivergence }.compactMap { measure in
      let name = measure.protocolName
      let rows = results.rows(of: model).compactMap { row -> [String]? in
        guard let rise = row.rise(under: name), let kl = row.score(Metric.divergence, under: name) else {
          return nil
        }
        return [
          row.variant.label, Figures.fixed(rise, 5), Figures.withError(kl.value, kl.standardError),
          Figures.fixed(rise - kl.value, 5), kl.count.map { "\($0)" } ?? "-",
        ]
      }
      if rows.isEmpty { return nil }
      return DriftTable(
        protocolName: name,
        header: ["recipe", "Δ ln perplexity (\(name))", "KL, nats (\(name))", "difference", "tokens"],
        rows: rows)
    }
  }
}
