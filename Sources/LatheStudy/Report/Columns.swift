/// A column of the tables people compare rows by.
///
/// Terminal, Markdown and HTML show the same columns; a new one is one line in `columns`.
struct Column: Sendable {
  /// The heading, and one short enough for a terminal.
  let title, short: String
  /// What heads it in full: the protocol and the unit.
  let explanation: String
  let smallestIsBest: Bool?
  let figure: @Sendable (ResultRow) -> Score?
  /// The figure at length, and in a terminal.
  let text, brief: @Sendable (Score) -> String

  /// The columns of sizes.
  static let sizes: [Column] = [
    Column(
      title: "bits, nominal", short: "", explanation: "bits of a code alone, as papers count them",
      smallestIsBest: nil,
      figure: { $0.variant.nominalBits.map { Score("nominal_bits", $0, under: "exact") } },
      text: { Figures.significant($0.value, 3) }, brief: { Figures.significant($0.value, 3) }),
    Column(
      title: "bits, blocks", short: "block",
      explanation: "bits a weight of the blocks, scales and zero points counted",
      smallestIsBest: true, figure: { $0.score(Metric.blockBits, under: "exact") },
      text: { Figures.fixed($0.value, 3) },
      brief: { $0.value < 10 ? Figures.fixed($0.value, 3) : Figures.significant($0.value, 4) }),
    Column(
      title: "bits, model", short: "model",
      explanation: "bits a weight over the whole model, embedding included",
      smallestIsBest: true, figure: { $0.score(Metric.modelBits, under: "exact") },
      text: { Figures.fixed($0.value, 3) },
      brief: { $0.value < 10 ? Figures.fixed($0.value, 3) : Figures.significant($0.value, 4) }),
    Column(
      title: "file, MiB", short: "MiB", explanation: "the files of the weights", smallestIsBest: true,
      figure: { $0.score(Metric.fileBytes, under: "exact") },
      text: { Figures.mebibytes($0.value) }, brief: { Figures.significant($0.value / 1_048_576, 3) }),
  ]

  /// The columns of a measure of perplexity.
  static func perplexity(_ name: String) -> [Column] {
    [
      Column(
        title: "perplexity", short: "ppl", explanation: "perplexity under \(name), ± standard error",
        smallestIsBest: true,
        figure: { $0.score(Metric.perplexity, under: name) },
        text: { Figures.withError($0.value, $0.standardError) }, brief: { Figures.significant($0.value, 4) }),
      Column(
        title: "KL, nats", short: "KL",
        explanation: "mean divergence from the original under \(name), nats a token",
        smallestIsBest: true, figure: { $0.score(Metric.divergence, under: name) },
        text: { Figures.withError($0.value, $0.standardError) }, brief: { Figures.significant($0.value, 3) }),
      Column(
        title: "top-1, %", short: "top-1",
        explanation: "positions where the original has the same likeliest token",
        smallestIsBest: false, figure: { $0.score(Metric.agreement, under: name) },
        text: { Figures.fixed(100 * $0.value, 2) }, brief: { Figures.fixed(100 * $0.value, 1) }),
    ]
  }

  /// The columns of a measure of speed.
  static func speed(_ measure: SpeedMeasure) -> [Column] {
    let name = Measure.speed(measure).protocolName
    return [
      Column(
        title: "prefill, t/s", short: "prefill", explanation: "tokens a second reading \(measure.prompt)",
        smallestIsBest: false, figure: { $0.score(Metric.prefill, under: name) },
        text: { Figures.fixed($0.value, 0) }, brief: { Figures.fixed($0.value, 0) }),
      Column(
        title: "decode, t/s", short: "decode", explanation: "tokens a second writing \(measure.generate)",
        smallestIsBest: false, figure: { $0.score(Metric.decode, under: name) },
        text: { Figures.fixed($0.value, 0) }, brief: { Figures.fixed($0.value, 0) }),
    ]
  }
}

/// A table of one model under one measure of perplexity: what all forms of the report show.
struct ComparisonTable {
  let model: String
  let protocolName: String?
  let speedName: String?
  let columns: [Column]
  let rows: [ResultRow]
  let best: [Set<String>]
  let original: ResultRow?

  /// The mark of a perplexity that the windows do not tell from the original's, each window against itself.
  func noise(_ column: Int, _ row: ResultRow) -> String {
    guard let protocolName, columns[column].title == "perplexity", !row.variant.isOriginal, let original,
      let a = original.answers(AnswerRecord.text, AnswerRecord.nll, protocolName),
      let b = row.answers(AnswerRecord.text, AnswerRecord.nll, protocolName), a.count == b.count, a.count > 1
    else { return "" }
    let differences = zip(a, b).map { Double($1) - Double($0) }, n = Double(a.count)
    let mean = differences.reduce(0, +) / n
    let squares = differences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return abs(mean) <= 1.96 * (squares / (n - 1) / n).squareRoot() ? " ≈" : ""
  }

  static let noiseNote =
    " ≈ inside the noise of the original: 1.96 paired standard errors of the windows' differences hold zero."

  /// The tables of a study: for each model one a measure of perplexity, or one at all.
  static func tables(of results: StudyResults) -> [ComparisonTable] {
    results.models.flatMap { model in
      let rows = results.rows(of: model).filter { !$0.cells.isEmpty }
      let names = results.perplexities.map(\.protocolName)
      let speed = results.speeds.first
      return (names.isEmpty ? [nil] : names.map(Optional.some)).map { name in
        let columns =
          Column.sizes + (name.map(Column.perplexity) ?? []) + (speed.map(Column.speed) ?? [])
        return ComparisonTable(
          model: model, protocolName: name, speedName: speed.map { Measure.speed($0).protocolName },
          columns: columns, rows: rows,
          best: columns.map { column in
            column.smallestIsBest.map { BestMarks.best(rows, smallestIsBest: $0, column.figure) } ?? []
          }, original: results.original(of: model))
      }
    }
  }

  static let note =
    "* best of its nominal bits; figures whose standard errors overlap share the mark, and where all do, none has it."
}
