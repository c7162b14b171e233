internal import Foundation

/// The results of several tasks and the groups they belong to, in lm-evaluation-harness's order and names.
public struct TaskReport: Sendable {
  /// A row: a task's or a group's figures.
  public struct Row: Sendable {
    /// The name.
    public let name: String
    /// The name as the table shows it, deeper ones further in.
    public let title: String
    /// The version.
    public let version: String
    /// The number of examples; nil for a group of different ones.
    public let fewShot: Int?
    /// Whether it is a group.
    public let isGroup: Bool
    /// The figures.
    public let figures: [TaskFigure]
  }

  /// The rows, groups before their tasks.
  public let rows: [Row]

  /// The rows of what was asked for.
  ///
  /// - Parameters:
  ///   - names: the tasks and groups asked for.
  ///   - results: by task.
  public init(_ names: [String], _ results: [String: TaskResult], catalog: TaskCatalog) {
    var rows: [Row] = []
    func add(_ name: String, depth: Int) {
      let indent = depth == 0 ? "" : String(repeating: " ", count: depth) + "- "
      if let result = results[name] {
        rows.append(
          Row(
            name: name, title: indent + result.task.alias, version: result.task.version.shortVersion,
            fewShot: result.fewShot,
            isGroup: false, figures: result.figures))
        return
      }
      guard let group = catalog.group(name), depth < 8 else { return }
      let leaves = ((try? catalog.leaves(of: name)) ?? []).compactMap { results[$0.name] }
      let shots = Set(leaves.map(\.fewShot))
      let figures = group.metrics.compactMap { metric in
        TaskStatistics.group(
          leaves.compactMap { $0.figures.first { $0.metric == metric.rawValue } },
          weightsBySize: group.weightsBySize)
      }
      rows.append(
        Row(
          name: name, title: indent + group.alias, version: group.version,
          fewShot: shots.count == 1 ? shots.first : nil, isGroup: true, figures: figures))
      for member in group.members { add(member, depth: depth + 1) }
    }
    for name in names { add(name, depth: 0) }
    self.rows = rows
  }

  // MARK: The table

  /// The table, in lm-evaluation-harness's columns.
  public var table: String {
    var cells: [[String]] = [["Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"]]
    for row in rows {
      var (title, version) = (row.title, row.version)
      for figure in row.figures.sorted(by: { $0.metric < $1.metric }) {
        let higher = TaskMetric(rawValue: figure.metric)?.higherIsBetter ?? false
        let error = figure.standardError.map { String(format: "%.4f", $0) } ?? "N/A"
        cells.append([
          title, version, "none", row.fewShot.map { "\($0)" } ?? "", figure.metric, higher ? "↑" : "↓",
          String(format: "%.4f", figure.value), "±", error,
        ])
        (title, version) = ("", "")
      }
    }
    let widths = cells[0].indices.map { column in max(cells.map { $0[column].count }.max() ?? 0, 3) }
    let isRight = [false, true, false, true, false, false, true, false, true]
    func line(_ row: [String]) -> String {
      "|"
        + zip(zip(row, widths), isRight).map { cell, right in
          let space = String(repeating: " ", count: cell.1 - cell.0.count)
          return right ? space + cell.0 : cell.0 + space
        }.joined(separator: "|") + "|"
    }
    let rule =
      "|"
      + zip(widths, isRight).map { width, right in
        right ? String(repeating: "-", count: max(0, width - 1)) + ":" : String(repeating: "-", count: width)
      }.joined(separator: "|") + "|"
    return ([line(cells[0]), rule] + cells.dropFirst().map(line)).joined(separator: "\n")
  }
}

/// The results as lm-evaluation-harness writes them, and the settings they were made with.
public struct TaskResultsObject: Encodable {
  /// A member whose name is made of a metric's.
  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private let report: TaskReport
  private let configuration: [String: String]
  private let fewShot: [String: Int]

  /// The object of `report`.
  ///
  /// - Parameter configuration: what else made the figures: model, digest, seed, limit.
  public init(_ report: TaskReport, configuration: [String: String]) {
    (self.report, self.configuration) = (report, configuration)
    fewShot = Dictionary(
      report.rows.compactMap { row in row.fewShot.map { (row.name, $0) } }, uniquingKeysWith: { $1 })
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    var results = container.nestedContainer(keyedBy: Key.self, forKey: Key(stringValue: "results"))
    for row in report.rows { try encode(row, in: &results) }
    var groups = container.nestedContainer(keyedBy: Key.self, forKey: Key(stringValue: "groups"))
    for row in report.rows where row.isGroup { try encode(row, in: &groups) }
    var versions = container.nestedContainer(keyedBy: Key.self, forKey: Key(stringValue: "versions"))
    for row in report.rows {
      let key = Key(stringValue: row.name)
      if let number = Double(row.version) {
        try versions.encode(number, forKey: key)
      } else {
        try versions.encode(row.version, forKey: key)
      }
    }
    try container.encode(fewShot, forKey: Key(stringValue: "n-shot"))
    try container.encode(configuration, forKey: Key(stringValue: "config"))
  }

  private func encode(_ row: TaskReport.Row, in container: inout KeyedEncodingContainer<Key>) throws {
    var figures = container.nestedContainer(keyedBy: Key.self, forKey: Key(stringValue: row.name))
    try figures.encode(
      row.title.trimmingCharacters(in: CharacterSet(charactersIn: " -")), forKey: Key(stringValue: "alias"))
    for figure in row.figures {
      try figures.encode(figure.value, forKey: Key(stringValue: "\(figure.metric),none"))
      let key = Key(stringValue: "\(figure.metric)_stderr,none")
      if let error = figure.standardError {
        try figures.encode(error, forKey: key)
      } else {
        try figures.encode("N/A", forKey: key)
      }
    }
    try figures.encode(row.figures.first?.count ?? 0, forKey: Key(stringValue: "sample_len"))
  }
}

extension String {
  /// A version as tables show it: "1.0" is 1.
  fileprivate var shortVersion: String { hasSuffix(".0") ? String(dropLast(2)) : self }
}
