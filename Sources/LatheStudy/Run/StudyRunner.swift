internal import Foundation
internal import LatheEvaluate
internal import LatheModel
internal import LatheQuantize
public import LatheTensor

/// Runs a study: works out its cells, skips those that are finished, does the others, and stores each at once.
///
/// A cell's key is a digest of the model, the recipe, the texts, the measure and the program's version. A run that is
/// killed continues with the same command: it loses the cell at work, and of a quantization only the block at work.
public final class StudyRunner {
  private let study: Study
  private let folder: RunFolder
  private let store: ResultStore
  private let options: RunOptions
  private let report: (StudyEvent) throws(Problem) -> Void
  private let team: ThreadTeam

  /// A run of `study` in `folder`.
  ///
  /// - Parameter report: receives what happens; a problem it throws ends the run, which can be continued.
  public init(
    _ study: Study, in folder: RunFolder, store: ResultStore, options: RunOptions,
    report: @escaping (StudyEvent) throws(Problem) -> Void = { _ in }
  ) {
    (self.study, self.folder, self.store, self.options, self.report) = (study, folder, store, options, report)
    team = ThreadTeam(count: options.threads)
  }

  /// A row of the plan, and the cells that fill it.
  private struct PlannedVariant {
    let source: ModelSource
    let recipe: StudyRecipe?
    let variant: Variant
    let cells: [PlannedCell]
  }

  private struct PlannedCell {
    enum Work {
      case describe
      case quantize(StudyRecipe)
      case measure(Measure)

      var kind: String {
        switch self {
        case .describe: "describe"
        case .quantize: "quantize"
        case .measure(.perplexity): "perplexity"
        case .measure(.speed): "speed"
        case .measure(.task): "tasks"
        }
      }
    }
    let key: String
    let work: Work
    /// The cell of the original model under the same measure.
    var original: String?
  }

  /// Does all cells that are not finished.
  ///
  /// - Returns: the number of cells that were done.
  /// - Throws: `Problem` where a cell cannot be done; those before it are stored.
  @discardableResult
  public func run() throws(Problem) -> Int {
    let plan = try layOut()
    let cells = plan.flatMap { row in row.cells.map { (cell: $0.key, variant: row.variant) } }
    let text = try study.json()
    try store.begin(text, digest: Digest.of(text), cells: cells)
    let finished = try store.finishedCells()
    let pending = cells.filter { !finished.contains($0.cell) }
    try report(.planned(cells: cells.count, finished: cells.count - pending.count))
    for row in plan {
      let rest = row.cells.filter { !finished.contains($0.key) }
      if rest.isEmpty { continue }
      var model: Model?
      for cell in rest { try run(cell, of: row, &model) }
      if !study.keepsModels, row.recipe != nil {
        try? FileManager.default.removeItem(atPath: folder.model(row.variant.key))
      }
    }
    return pending.count
  }

  // MARK: The plan

  private func layOut() throws(Problem) -> [PlannedVariant] {
    var plan: [PlannedVariant] = []
    for entry in study.models {
      let source = try ModelSource(entry, folder: folder, options: options)
      let calibration = try source.identity(of: study.calibration)
      let originalKey = Digest.of(
        "original\n\(source.digest)\n\(source.tokenizerDigest)\n\(options.version)")
      var measures: [(Measure, String)] = []
      for measure in study.measures { measures.append((measure, try identity(of: measure, source))) }
      for recipe in [nil] + study.recipes.map(Optional.some) {
        let key =
          recipe.map {
            Digest.of("quantize\n\(source.digest)\n\($0.recipe.text)\n\(calibration)\n\(options.version)")
          }
          ?? originalKey
        let variant = Variant(
          key: key, model: entry.label, modelDigest: source.digest, label: recipe?.label ?? "original",
          family: recipe?.family ?? "original", isOriginal: recipe == nil, nominalBits: recipe?.nominalBits,
          recipe: recipe?.recipe.text ?? "")
        var cells = [
          PlannedCell(key: Digest.of("row\n\(key)"), work: recipe.map { .quantize($0) } ?? .describe)
        ]
        for (measure, identity) in measures {
          cells.append(
            PlannedCell(
              key: Digest.of("measure\n\(key)\n\(identity)\n\(options.version)"), work: .measure(measure),
              original: recipe == nil
                ? nil : Digest.of("measure\n\(originalKey)\n\(identity)\n\(options.version)")))
        }
        plan.append(PlannedVariant(source: source, recipe: recipe, variant: variant, cells: cells))
      }
    }
    return plan
  }

  private func identity(of measure: Measure, _ source: ModelSource) throws(Problem) -> String {
    switch measure {
    case .perplexity(let measure): try source.identity(of: measure)
    case .task(let measure): try taskCell(measure, source).identity()
    case .speed(let speed):
      "speed int8 f16 \(speed.prompt) \(speed.generate) \(speed.repetitions) \(team.count) \(Kernels.best.name) \(Machine.processor)"
    }
  }

  // MARK: Cells

  private func run(_ cell: PlannedCell, of row: PlannedVariant, _ model: inout Model?) throws(Problem) {
    let title = "\(row.variant.model), \(row.variant.label)"
    let kind = cell.work.kind
    try report(.began(kind: kind, title: title))
    let clock = ContinuousClock()
    let start = clock.now
    var result = (scores: [Score](), weights: [WeightRecord]())
    var answers: [AnswerRecord] = []
    var name = "exact"
    do throws(Problem) {
      switch cell.work {
      case .describe:
        let original = try row.source.model()
        result.scores = sizes(of: original, fileBytes: try ModelSize.fileBytes(at: row.source.entry.path))
      case .quantize(let recipe): result = try quantize(row, recipe)
      case .measure(let measure):
        name = measure.protocolName
        let measured: Model
        if let model { measured = model } else { measured = try quantizedModel(row) }
        model = measured
        if case .task(let task) = measure {
          (result.scores, answers) = try taskCell(task, row.source).run(
            measured, key: cell.key, original: cell.original, report: report)
        } else {
          (result.scores, answers) = try self.measure(measured, row, measure, cell.key)
        }
      }
    } catch {
      throw error.located(at: "\(kind) \(title)")
    }
    let seconds = start.duration(to: clock.now) / .seconds(1)
    for i in result.scores.indices { result.scores[i].cell = cell.key }
    try store.store(
      CellRecord(
        key: cell.key, variant: row.variant.key, kind: kind, protocolName: name, seconds: seconds,
        provenance: try provenance(cell, row)),
      scores: result.scores, weights: result.weights, answers: answers)
    try report(.finished(kind: kind, title: title, seconds: seconds))
  }

  private func sizes(of model: Model, fileBytes: Int) -> [Score] {
    [
      Score(Metric.blockBits, model.bitsPerQuantizedWeight, under: "exact"),
      Score(Metric.modelBits, model.bitsPerWeight, under: "exact"),
      Score(Metric.fileBytes, Double(fileBytes), under: "exact"),
      Score("parameters", Double(model.parameterCount), under: "exact"),
    ]
  }

  /// The model of a row: the original, or what its quantization wrote.
  private func quantizedModel(_ row: PlannedVariant) throws(Problem) -> Model {
    guard let recipe = row.recipe else { return try row.source.model() }
    let path = folder.model(row.variant.key)
    if !FileManager.default.fileExists(atPath: path) { _ = try quantize(row, recipe) }
    return try Model(reading: path)
  }

  private func quantize(
    _ row: PlannedVariant, _ recipe: StudyRecipe
  ) throws(Problem) -> (scores: [Score], weights: [WeightRecord]) {
    let source = row.source
    let original = try source.model()
    let path = folder.model(row.variant.key)
    try folder.makeFolder("models")
    // A finished folder without its cell: the process died between the two.
    if let outcomes = BlockOutcome.journal(in: path, blocks: original.blocks.count) {
      return try results(of: row, outcomes)
    }
    if FileManager.default.fileExists(atPath: path) { try? FileManager.default.removeItem(atPath: path) }
    let calibration = try source.calibration(study.calibration, report: report)
    let fingerprint = try Fingerprint(
      model: source.entry.path, recipe: recipe.recipe, calibration: calibration)
    let quantizer = try Quantizer(original, recipe: recipe.recipe, calibration: calibration, team: team)
    let work = try FolderStore(
      at: path + ".partial", model: recipe.recipe.quantizingEnds(of: quantizer.model, team: team),
      fingerprint: fingerprint)
    let report = report
    try quantizer.run(
      into: WatchedStore(work) { (finished) throws(Problem) in
        try report(.advanced(finished, of: original.blocks.count))
      })
    let outcomes = work.outcomes
    try work.finish(as: path, source: source.entry.path, tokenizer: source.entry.tokenizer)
    return try results(of: row, outcomes)
  }

  private func results(
    of row: PlannedVariant, _ outcomes: [BlockOutcome]
  ) throws(Problem) -> (scores: [Score], weights: [WeightRecord]) {
    let path = folder.model(row.variant.key)
    let model = try Model(reading: path)
    var scores = sizes(of: model, fileBytes: try ModelSize.fileBytes(at: path))
    if let error = outcomes.last?.streamError {
      scores.append(Score("stream_error", error, under: "calibration"))
    }
    let weights = outcomes.flatMap(\.weights).map { WeightRecord(row.variant.key, $0) }
    return (scores, weights)
  }

  private func taskCell(_ measure: TaskMeasure, _ source: ModelSource) -> TaskCell {
    TaskCell(
      measure: measure, source: source, data: options.data, team: team, records: folder.path + "/answers")
  }

  private func measure(
    _ model: Model, _ row: PlannedVariant, _ measure: Measure, _ key: String
  ) throws(Problem) -> ([Score], [AnswerRecord]) {
    switch measure {
    case .task: return ([], [])
    case .speed(let speed):
      let repetitions = Double(speed.repetitions)
      // As `bench` and `run` do it.
      let result = try Speed.measure(
        model.prepared(for: .int8, team: team), prompt: speed.prompt, generate: speed.generate,
        repetitions: speed.repetitions, team: team, cacheType: .f16)
      return (Score.list(result, under: measure.protocolName, repetitions: repetitions), [])
    case .perplexity(let text):
      let (windows, first) = try row.source.windows(of: text, report: report)
      let reference = text.measuresDivergence && row.recipe != nil ? try row.source.model() : nil
      var refusal: Problem?, blocks: [PerplexityBlock] = []
      let result = try Perplexity(model, reference: reference, team: team)
        .measure(
          windows, protocolName: text.protocolName, firstScored: first,
          progress: { done, _ in
            guard refusal == nil else { return }
            do throws(Problem) { try report(.advanced(done, of: windows.count)) } catch { refusal = error }
          }, block: { blocks.append($0) })
      if let refusal { throw refusal }
      return (Score.list(result), AnswerRecord.windows(blocks, cell: key))
    }
  }

  private func provenance(_ cell: PlannedCell, _ row: PlannedVariant) throws(Problem) -> Provenance {
    let calibration = try study.calibration.flatMap { (text) throws(Problem) -> String? in
      guard row.recipe != nil, let made = try row.source.calibration(text, report: report) else { return nil }
      return "\(made.source), digest \(made.digest)"
    }
    let commands = Commands(study: study, options: options)
    var seeds: [String] = []
    if row.recipe != nil, let text = study.calibration, text.text == "self" || text.seed != nil {
      seeds.append("calibration \(text.seed ?? 0)")
    }
    if case .measure(.perplexity(let measure)) = cell.work, case .selfWritten(let seed) = measure.text {
      seeds.append("measure \(seed)")
    }
    return Provenance(
      model: row.source.entry.path, modelDigest: row.source.digest, tokenizer: row.source.tokenizerSummary,
      calibration: calibration ?? "none", seeds: seeds.isEmpty ? "none" : seeds.joined(separator: ", "),
      threads: team.count, kernels: Kernels.best.name, processor: Machine.processor, system: Machine.system,
      date: Machine.now, version: options.version,
      command: {
        switch cell.work {
        case .describe: commands.describe(row.source.entry)
        case .quantize(let recipe): commands.quantize(row.source.entry, recipe)
        case .measure(let measure): commands.measure(measure, row.source.entry, row.recipe)
        }
      }())
  }
}
