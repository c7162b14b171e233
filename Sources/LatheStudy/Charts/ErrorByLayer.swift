internal import Foundation
internal import LatheModel

/// Where in the model the error is: a map of layers and roles for each recipe, all in one scale of shades.
enum ErrorByLayer: ChartKind {
  static let id = "error-by-layer"

  static func charts(of results: StudyResults) -> [Chart] {
    var charts: [Chart] = []
    for model in results.models {
      let rows = results.rows(of: model).filter { !$0.weights.isEmpty }
      if let chart = chart(results, model, rows, id(after: charts.count)) { charts.append(chart) }
    }
    return charts
  }

  private static func chart(_ results: StudyResults, _ model: String, _ rows: [ResultRow], _ id: String)
    -> Chart?
  {
    let weights = rows.flatMap(\.weights)
    if weights.isEmpty { return nil }
    // One kind of error for all panels, or their shades could not be compared.
    let hasOutputs = weights.allSatisfy { $0.outputError != nil }
    func error(_ weight: WeightRecord) -> Double { hasOutputs ? weight.outputError ?? 0 : weight.weightError }
    let errors = weights.map(error).filter { $0 > 0 && $0.isFinite }
    let shades = HeatMap.Shades(low: errors.min() ?? 1e-6, high: errors.max() ?? 1)
    let layers = (weights.map(\.layer).max() ?? 0) + 1
    let what = hasOutputs ? "output error ‖(W − Ŵ)X‖² / ‖WX‖²" : "weight error ‖W − Ŵ‖² / ‖W‖²"
    var panels: [String] = []
    for row in rows {
      let map = HeatMap(
        title: row.variant.label, layers: layers, roles: Role.allCases.map(\.rawValue), shades: shades
      ) {
        layer, role in
        row.weights.first { $0.layer == layer && $0.role.rawValue == role }.map(error)
      }
      panels.append(
        map.svg(id: "\(id)-panel-\(panels.count + 1)", summary: "\(what) of \(row.variant.label)"))
    }
    panels.append(shades.legend(id: "\(id)-legend"))
    return Chart(
      id: id, title: "Error by layer and role\(results.suffix(model))",
      caption: "Relative \(what)" + (hasOutputs ? " on the calibration text" : "")
        + ". Each square is a weight: darker is worse, on one logarithmic scale for all recipes.",
      panels: panels, header: ["recipe"] + Role.allCases.map { "\($0.rawValue), mean" } + ["worst weight"],
      rows: rows.map { row in
        let worst = row.weights.max { error($0) < error($1) }
        return [row.variant.label]
          + Role.allCases.map { role in
            let own = row.weights.filter { $0.role == role }.map(error)
            return own.isEmpty ? "-" : Figures.significant(own.reduce(0, +) / Double(own.count), 3)
          } + [worst.map { "\($0.layer).\($0.role.rawValue): \(Figures.significant(error($0), 3))" } ?? "-"]
      }, isWide: true)
  }
}

/// Squares in rows and columns, shaded by value.
struct HeatMap {
  /// How values become shades, by their logarithms.
  struct Shades {
    let low, high: Double

    /// From 0.06, hardly visible, to 1.
    func opacity(_ value: Double) -> Double {
      guard value > 0, high > low else { return 0.06 }
      let share = (log10(value) - log10(low)) / (log10(high) - log10(low))
      return 0.06 + 0.94 * min(max(share, 0), 1)
    }

    /// The scale itself as a graphic.
    func legend(id: String) -> String {
      var svg = SVG()
      let steps = 24, width = 200.0 / Double(steps)
      for i in 0..<steps {
        let value = low * pow(high / low, (Double(i) + 0.5) / Double(steps))
        svg.element(
          "rect",
          [
            "class": "heat", "x": SVG.number(40 + Double(i) * width), "y": "26",
            "width": SVG.number(width + 0.3),
            "height": "16", "fill-opacity": Figures.fixed(opacity(value), 3),
          ])
      }
      svg.text("error (log scale)", 140, 17, anchor: "middle", style: "title")
      svg.text(Figures.significant(low, 2), 40, 58, anchor: "middle", style: "tick")
      svg.text(Figures.significant(high, 2), 240, 58, anchor: "middle", style: "tick")
      return svg.document(
        id: id, width: 280, height: 66, title: "Scale of shades",
        description: "From \(Figures.significant(low, 2)) to \(Figures.significant(high, 2))")
    }
  }

  let title: String
  let layers: Int
  let roles: [String]
  let shades: Shades
  let value: (Int, String) -> Double?

  func svg(id: String, summary: String) -> String {
    var svg = SVG()
    let left = 44.0, top = 30.0, width = 228.0, cell = 19.0
    let column = width / Double(layers)
    let gap = column > 8 ? 1.5 : 0.4
    svg.text(title, left, 17, style: "legend")
    for (i, role) in roles.enumerated() {
      let y = top + Double(i) * cell
      svg.text(role, left - 6, y + 13.5, anchor: "end", style: "tick")
      for layer in 0..<layers {
        guard let error = value(layer, role) else { continue }
        svg.element(
          "rect",
          [
            "class": "heat", "x": SVG.number(left + Double(layer) * column), "y": SVG.number(y), "rx": "1.5",
            "width": SVG.number(column - gap), "height": SVG.number(cell - 1.5),
            "fill-opacity": Figures.fixed(shades.opacity(error), 3),
          ], tooltip: "layer \(layer), \(role): \(Figures.significant(error, 3))")
      }
    }
    let bottom = top + Double(roles.count) * cell
    let step = max(1, (layers + 7) / 8)
    for layer in stride(from: 0, to: layers, by: step) {
      svg.text(
        "\(layer)", left + (Double(layer) + 0.5) * column, bottom + 13, anchor: "middle", style: "tick")
    }
    svg.text("layer", left + width / 2, bottom + 29, anchor: "middle", style: "title")
    return svg.document(id: id, width: 280, height: bottom + 36, title: title, description: summary)
  }
}
