internal import Foundation
internal import LatheEvaluate
internal import LatheModel
internal import LatheQuantize
internal import LatheTensor

/// One task or group on one model: its figures, its answers, and how they differ from the original's.
struct TaskCell {
  let measure: TaskMeasure
  let source: ModelSource
  let data: String?
  let team: ThreadTeam
  /// Where answers are recorded.
  let records: String

  /// What the figures depend on besides the model: definitions, data, settings, tokenizer.
  func identity() throws(Problem) -> String {
    let folder = try DataFolder(data)
    var parts = ["\(measure.protocolName) \(measure.seed) \(source.tokenizerDigest)"]
    for task in try measure.catalog().leaves(of: measure.name) {
      var files: [String] = []
      for file in try task.dataFiles(in: folder, withExamples: (measure.fewShot ?? task.fewShotCount) > 0) {
        files.append(Digest.of(try Bytes(mapping: file)))
      }
      parts.append("\(task.name) \(task.definitionDigest) \(files.joined(separator: " "))")
    }
    return Digest.of(parts.joined(separator: "\n"))
  }

  /// Runs the tasks on `model`.
  ///
  /// - Parameters:
  ///   - key: the cell's; records of a run that was killed are found by it.
  ///   - original: the key of the original model's cell, whose answers the differences are taken to.
  func run(
    _ model: Model, key: String, original: String?, report: ModelSource.Report
  ) throws(Problem) -> (scores: [Score], answers: [AnswerRecord]) {
    let catalog = try measure.catalog()
    let tasks = try catalog.leaves(of: measure.name)
    let runner = TaskRunner(
      model, tokenizer: source.tokenizer, data: try DataFolder(data), settings: measure.settings, team: team)
    try makeFolder(records + "/" + key)
    var results: [String: TaskResult] = [:]
    try withoutActuallyEscaping(report) { (report) throws(Problem) in
      for task in tasks {
        results[task.name] = try runner.run(task, record: file(key, task), modelDigest: key) {
          (done, total) throws(Problem) in try report(.advanced(done, of: total))
        }
      }
    }
    var scores: [Score] = []
    let table = TaskReport([measure.name], results, catalog: catalog)
    for row in table.rows {
      let prefix = row.name == measure.name ? "" : row.name + ":"
      for figure in row.figures {
        scores.append(
          Score(
            prefix + figure.metric, figure.value, figure.standardError, over: figure.count,
            under: measure.protocolName))
      }
    }
    var answers: [AnswerRecord] = []
    for task in tasks {
      guard let result = results[task.name] else { continue }
      for metric in task.metrics {
        let values = result.samples.map { Float($0.values[metric.rawValue] ?? .nan) }
        if values.contains(where: \.isNaN) { continue }
        answers.append(AnswerRecord(cell: key, task: task.name, metric: metric.rawValue, values: values))
      }
    }
    if let original { scores += try differences(tasks, results, original, prefix: tasks.count > 1) }
    return (scores, answers)
  }

  private func file(_ key: String, _ task: EvaluationTask) -> String {
    "\(records)/\(key)/samples_\(task.name).jsonl"
  }

  private func makeFolder(_ path: String) throws(Problem) {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw Problem(.cannotCreate, "the folder of answers cannot be made", at: path)
    }
  }

  /// The differences to the original's answers, where they are recorded.
  private func differences(
    _ tasks: [EvaluationTask], _ results: [String: TaskResult], _ original: String, prefix: Bool
  ) throws(Problem) -> [Score] {
    var scores: [Score] = []
    for task in tasks {
      let path = file(original, task)
      guard let result = results[task.name], result.samples.count > 1,
        FileManager.default.fileExists(atPath: path),
        let base = try TaskRecords(at: path).tasks.first?.samples
      else { continue }
      for found in try Comparing.compare(task.name, base, result.samples, margin: 0.01) {
        let name = (prefix ? task.name + ":" : "") + found.metric
        scores.append(
          Score(
            name + "_vs_original", found.difference, found.standardError, over: found.count,
            under: measure.protocolName))
        if let p = found.pValue {
          scores.append(Score(name + "_mcnemar_p", p, over: found.count, under: measure.protocolName))
        }
      }
    }
    return scores
  }
}
