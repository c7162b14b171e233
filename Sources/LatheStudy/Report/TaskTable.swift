internal import LatheEvaluate

/// A column of a table of tasks: one figure of one task, or of a group.
struct TaskColumn: Sendable {
  let title: String
  /// A heading for a terminal.
  let short: String
  let protocolName: String
  /// The score's name: "acc", or "arc_easy:acc" for a member of a group.
  let score: String
  /// The metric's own name.
  let metric: String
  /// The tasks it is taken over.
  let tasks: [String]
  let weightsBySize: Bool

  private var isShare: Bool { TaskMetric(rawValue: metric)?.higherIsBetter ?? false }

  func figure(_ row: ResultRow) -> Score? { row.score(score, under: protocolName) }

  /// "61.2 ± 1.1", shares in per cent.
  func text(_ row: ResultRow) -> String? {
    figure(row).map { score in
      guard isShare else { return Figures.withError(score.value, score.standardError) }
      let error = score.standardError.map { " ± " + Figures.fixed(100 * $0, 1) } ?? ""
      return Figures.fixed(100 * score.value, 1) + error
    }
  }

  /// "61.2±1.1".
  func brief(_ row: ResultRow) -> String? {
    figure(row).map { score in
      guard isShare else { return Figures.significant(score.value, 4) }
      return Figures.fixed(100 * score.value, 1)
        + (score.standardError.map { "±" + Figures.fixed(100 * $0, 1) } ?? "")
    }
  }

  // MARK: Paired differences

  /// The difference of two rows' figures on the same questions.
  struct Difference {
    var value, standardError: Double
    var isInsideNoise: Bool
    var pValue: Double?
  }

  /// The second row's figure less the first's; nil where the two have not answered the same questions.
  ///
  /// Of text it is the difference of the mean log-likelihood. Right and wrong answers to one task are judged by McNemar's exact
  /// test, all else by 1.96 standard errors.
  func difference(_ first: ResultRow, _ second: ResultRow) -> Difference? {
    var parts: [[Double]] = []
    for task in tasks {
      guard let a = first.answers(task, metric, protocolName),
        let b = second.answers(task, metric, protocolName),
        a.count == b.count, a.count > 1
      else { return nil }
      parts.append(zip(a, b).map { Double($1) - Double($0) })
    }
    if weightsBySize { parts = [parts.flatMap(\.self)] }
    guard !parts.isEmpty else { return nil }
    let moments = parts.map { part in
      let n = Double(part.count), mean = part.reduce(0, +) / n
      return (mean, part.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (n - 1) / n)
    }
    let k = Double(parts.count)
    let value = moments.reduce(0) { $0 + $1.0 } / k
    let error = moments.reduce(0) { $0 + $1.1 }.squareRoot() / k
    guard isShare, tasks.count == 1, let part = parts.first else {
      return Difference(
        value: value, standardError: error, isInsideNoise: abs(value) <= 1.96 * error, pValue: nil)
    }
    let p = Comparing.mcNemar(part.count { $0 < 0 }, part.count { $0 > 0 })
    return Difference(value: value, standardError: error, isInsideNoise: p > 0.05, pValue: p)
  }

  /// The rows that are best of their nominal bits, and those that the questions do not tell from the best.
  func best(_ rows: [ResultRow]) -> Set<String> {
    var marked: Set<String> = []
    let known = rows.filter { !$0.variant.isOriginal && $0.variant.nominalBits != nil && figure($0) != nil }
    for group in Dictionary(grouping: known, by: { $0.variant.nominalBits ?? 0 }).values where group.count > 1
    {
      let sorted = group.sorted {
        let (a, b) = (figure($0)?.value ?? 0, figure($1)?.value ?? 0)
        return isShare ? a > b : a < b
      }
      let tied = sorted.enumerated().filter { index, row in
        index == 0 || (difference(sorted[0], row)?.isInsideNoise ?? false)
      }
      if tied.count < group.count { marked.formUnion(tied.map(\.element.variant.key)) }
    }
    return marked
  }
}

extension ResultRow {
  /// A task's figures question by question.
  func answers(_ task: String, _ metric: String, _ protocolName: String) -> [Float]? {
    answers.last { $0.protocolName == protocolName && $0.record.task == task && $0.record.metric == metric }?
      .record
      .values
  }
}

/// A table of one model's recipes under tasks: what all forms of the report show.
struct TaskTable {
  let model: String
  let title: String
  let columns: [TaskColumn]
  let rows: [ResultRow]
  let original: ResultRow?
  let best: [Set<String>]

  static let note =
    "≈ inside the noise of the original: the same questions do not tell the two apart (McNemar's exact test at 5 % for one"
    + " task, 1.96 paired standard errors for a group). ± is a standard error."

  /// Whether the figure of a row cannot be told from the original's.
  func isInsideNoise(_ column: Int, _ row: ResultRow) -> Bool {
    guard !row.variant.isOriginal, let original else { return false }
    return columns[column].difference(original, row)?.isInsideNoise ?? false
  }

  private init(_ results: StudyResults, _ model: String, _ title: String, _ columns: [TaskColumn]) {
    (self.model, self.title, self.columns) = (model, title, columns)
    let rows = results.rows(of: model).filter { row in columns.contains { $0.figure(row) != nil } }
    (self.rows, original) = (rows, results.original(of: model))
    best = columns.map { $0.best(rows) }
  }

  /// The tables of a study: for each group one a metric, and one for the tasks by themselves.
  static func tables(of results: StudyResults) -> [TaskTable] {
    var tables: [TaskTable] = []
    for model in results.models {
      var single: [TaskColumn] = []
      for measure in results.tasks {
        guard let catalog = try? measure.catalog() else { continue }
        if let task = catalog.task(measure.name) {
          single += task.metrics.map { columnOf(measure, task.name, $0.rawValue, catalog, isMember: false) }
        } else if let group = catalog.group(measure.name) {
          for metric in group.metrics {
            let columns =
              [columnOf(measure, group.name, metric.rawValue, catalog, isMember: false)]
              + group.members.filter { member in
                ((try? catalog.leaves(of: member)) ?? []).contains { $0.metrics.contains(metric) }
              }.map { columnOf(measure, $0, metric.rawValue, catalog, isMember: true) }
            tables.append(TaskTable(results, model, "\(measure.protocolName), \(metric.rawValue)", columns))
          }
        }
      }
      for start in stride(from: 0, to: single.count, by: 6) {
        let part = Array(single[start..<min(start + 6, single.count)])
        tables.append(TaskTable(results, model, "tasks", part))
      }
    }
    return tables.filter { !$0.rows.isEmpty }
  }

  private static func columnOf(
    _ measure: TaskMeasure, _ name: String, _ metric: String, _ catalog: TaskCatalog, isMember: Bool
  ) -> TaskColumn {
    let leaves = (try? catalog.leaves(of: name)) ?? [], group = catalog.group(name)
    // Groups average what each of their tasks measures.
    let alias = group?.alias ?? catalog.task(name)?.alias ?? name
    let title = isMember ? alias : group != nil ? "average" : "\(measure.protocolName), \(metric)"
    let marks = [
      "acc": "", "acc_norm": " n", "perplexity": " ppl", "word_perplexity": " w", "bits_per_byte": " bpb",
    ]
    let mark = isMember || group != nil ? "" : marks[metric] ?? " b"
    return TaskColumn(
      title: title, short: isMember || group != nil ? title : alias.prefix(8 - mark.count) + mark,
      protocolName: measure.protocolName, score: isMember ? "\(name):\(metric)" : metric,
      metric: metric,
      tasks: leaves.filter { $0.metrics.contains { $0.rawValue == metric } }.map(\.name),
      weightsBySize: group?.weightsBySize ?? false)
  }
}

/// Recipes of equal nominal bits, two at a time: which differences the questions show, and which are noise.
struct PairTable {
  let title: String
  let header = ["bits", "first", "second", "second − first, points", "p", "verdict"]
  let rows: [[String]]

  /// The pairs of a study: by its first group, or its first task, for each model.
  static func tables(of results: StudyResults) -> [PairTable] {
    results.models.compactMap { model in
      let tables = TaskTable.tables(of: results).filter { $0.model == model }
      guard let table = tables.first(where: { $0.columns[0].title == "average" }) ?? tables.first else {
        return nil
      }
      let column = table.columns[0]
      var rows: [[String]] = []
      let candidates = table.rows.filter { !$0.variant.isOriginal && $0.variant.nominalBits != nil }
      for (index, first) in candidates.enumerated() {
        for second in candidates[(index + 1)...] where first.variant.nominalBits == second.variant.nominalBits
        {
          guard let found = column.difference(first, second), rows.count < 200 else { continue }
          let bits = first.variant.nominalBits ?? 0
          rows.append([
            bits == bits.rounded() ? "\(Int(bits))" : "\(bits)", first.variant.label, second.variant.label,
            Figures.fixed(100 * found.value, 2) + " ± " + Figures.fixed(100 * found.standardError, 2),
            found.pValue.map { Figures.significant($0, 2) } ?? "–",
            found.isInsideNoise ? "inside the noise" : "a difference",
          ])
        }
      }
      return rows.isEmpty ? nil : PairTable(title: "\(model), pairs by \(column.protocolName)", rows: rows)
    }
  }
}
