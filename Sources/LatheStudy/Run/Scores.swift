internal import Foundation
internal import LatheEncoding
internal import LatheEvaluate
internal import LatheModel
internal import LatheQuantize
internal import LatheTensor

extension Score {
  init(_ metric: String, _ value: Double, _ error: Double? = nil, over count: Int? = nil, under name: String)
  {
    self.init(cell: "", metric: metric, value: value, standardError: error, count: count, protocolName: name)
  }

  /// The figures of a measurement of perplexity.
  static func list(_ result: PerplexityResult) -> [Score] {
    let name = result.protocolName, tokens = result.tokens
    var scores = [
      Score(
        Metric.perplexity, result.perplexity, result.perplexity * result.standardError, over: tokens,
        under: name),
      Score(Metric.nll, result.nll, result.standardError, over: tokens, under: name),
      Score("windows", Double(result.windows), under: name),
    ]
    guard let divergence = result.divergence else { return scores }
    let agreement = divergence.topAgreement
    // Each position agrees or does not: a proportion's standard error.
    let deviation = (agreement * (1 - agreement) / Double(tokens)).squareRoot()
    scores += [
      Score(Metric.divergence, divergence.mean, divergence.standardError, over: tokens, under: name),
      Score("kl_median", divergence.median, over: tokens, under: name),
      Score("kl_p90", divergence.percentile90, over: tokens, under: name),
      Score("kl_p95", divergence.percentile95, over: tokens, under: name),
      Score("kl_p99", divergence.percentile99, over: tokens, under: name),
      Score("kl_p99_9", divergence.percentile999, over: tokens, under: name),
      Score("kl_max", divergence.maximum, over: tokens, under: name),
      Score("delta_p_mean", divergence.probabilityChange, over: tokens, under: name),
      Score(
        "delta_p_rms", divergence.probabilityChangeRMS, divergence.probabilityChangeRMSError, over: tokens,
        under: name),
      Score(Metric.agreement, agreement, deviation, over: tokens, under: name),
      Score(Metric.referencePerplexity, divergence.referencePerplexity, over: tokens, under: name),
    ]
    return scores
  }

  /// The figures of a measurement of speed.
  static func list(_ result: SpeedResult, under name: String, repetitions: Double) -> [Score] {
    let root = repetitions.squareRoot()
    return [
      Score(
        Metric.prefill, result.prefill, result.prefillDeviation / root, over: result.repetitions, under: name),
      Score(
        Metric.decode, result.decode, result.decodeDeviation / root, over: result.repetitions, under: name),
    ]
  }
}

extension AnswerRecord {
  /// The name under which a text's windows are kept, and what is kept of them.
  static let text = "text", nll = "nll", divergence = "kl"

  /// The means of a text's windows: what two models' paired comparison needs.
  static func windows(_ blocks: [PerplexityBlock], cell: String) -> [AnswerRecord] {
    var records = [
      AnswerRecord(
        cell: cell, task: text, metric: nll, values: blocks.map { Float($0.nll / Double($0.tokens)) })
    ]
    if blocks.allSatisfy({ $0.divergence != nil }) {
      records.append(
        AnswerRecord(
          cell: cell, task: text, metric: divergence,
          values: blocks.map { Float(($0.divergence ?? 0) / Double($0.tokens)) }))
    }
    return records
  }
}

extension WeightRecord {
  init(_ variant: String, _ outcome: WeightOutcome) {
    self.init(
      variant: variant, layer: outcome.site.layer, role: outcome.site.role, method: outcome.method,
      encoding: outcome.encoding.encoding.label, bitsPerWeight: outcome.bitsPerWeight,
      weightError: outcome.weightError, outputError: outcome.outputError, seconds: outcome.seconds)
  }
}

extension BlockOutcome {
  /// What became of every block of a finished model, as its journal tells; nil where it does not tell of all.
  static func journal(in folder: String, blocks: Int) -> [BlockOutcome]? {
    guard let bytes = try? Bytes(mapping: folder + "/journal.jsonl") else { return nil }
    let outcomes = bytes.text.split(separator: "\n").compactMap {
      try? JSONDecoder().decode(BlockOutcome.self, from: Data($0.utf8))
    }
    return outcomes.map(\.layer) == Array(0..<blocks) ? outcomes : nil
  }
}

extension Study {
  /// The plan as JSON with sorted keys: equal plans give equal text.
  func json() throws(Problem) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    } catch {
      throw Problem(.internal, "cannot write the plan as JSON (\(error))")
    }
  }
}

/// The commands that give the figures of a study again, one by one where a command can say it.
struct Commands {
  let study: Study
  let options: RunOptions

  func describe(_ model: StudyModel) -> String { "lathe inspect \(quote(model.path))" }

  func quantize(_ model: StudyModel, _ recipe: StudyRecipe) -> String {
    guard let settings = recipe.options else { return options.command }
    var command = "lathe quantize \(quote(model.path)) \(name(model, recipe)) \(settings)"
    if let text = study.calibration {
      command += " --calibration \(quote(text.text)) --samples \(text.samples) --length \(text.length)"
      if let seed = text.seed { command += " --seed \(seed)" }
    }
    return command + tail(model)
  }

  func measure(_ measure: Measure, _ model: StudyModel, _ recipe: StudyRecipe?) -> String {
    let path = recipe.map { name(model, $0) } ?? quote(model.path)
    switch measure {
    case .task(let task):
      var command = "lathe eval \(path) --tasks \(quote(task.file ?? task.name))"
      if let limit = task.limit { command += " --limit \(limit)" }
      if let fewShot = task.fewShot { command += " --num-fewshot \(fewShot)" }
      if task.seed != 1234 { command += " --seed \(task.seed)" }
      if task.beginning != .tokenizer { command += " --preset \(task.beginning.rawValue)" }
      return command + tail(model)
    case .speed(let speed):
      return "lathe bench \(path) --prompt \(speed.prompt) --generate \(speed.generate)"
        + " --repetitions \(speed.repetitions) --threads \(options.threads)"
    case .perplexity(let text):
      var command = "lathe eval \(path)"
      switch text.text {
      case .selfWritten: return options.command
      case .named(let name): command += " --protocol \(name)"
      case .file(let file):
        command += " --text \(quote(file)) --window \(text.window) --bos \(text.beginning.rawValue)"
      }
      if text.measuresDivergence, recipe != nil { command += " --reference \(quote(model.path))" }
      if let windows = text.windows { command += " --limit \(windows)" }
      return command + tail(model)
    }
  }

  private func tail(_ model: StudyModel) -> String {
    (model.tokenizer.map { " --tokenizer \(quote($0))" } ?? "") + " --threads \(options.threads)"
  }

  private func name(_ model: StudyModel, _ recipe: StudyRecipe) -> String {
    quote("\(model.label)-\(recipe.label)".split(separator: " ").joined(separator: "-"))
  }

  private func quote(_ text: String) -> String {
    let plain = text.unicodeScalars.allSatisfy {
      CharacterSet.alphanumerics.contains($0) || "-_./=+:,".unicodeScalars.contains($0)
    }
    return plain
      ? text
      : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
}
