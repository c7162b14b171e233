internal import Foundation
public import LatheModel
public import LatheTensor
public import LatheText

/// How tasks are run.
public struct TaskSettings: Codable, Hashable, Sendable {
  /// The number of examples before a question; nil for each task's own.
  public var fewShot: Int?
  /// The number of questions at most, the first of the file.
  public var limit: Int?
  /// The seed that examples are drawn with.
  public var seed: UInt64
  /// How prompts begin.
  public var beginning: BeginningRule
  /// Questions to leave out, by their place in the file.
  public var leavingOut: Set<Int>

  /// Settings; the defaults are lm-evaluation-harness's.
  public init(
    fewShot: Int? = nil, limit: Int? = nil, seed: UInt64 = 1234, beginning: BeginningRule = .tokenizer,
    leavingOut: Set<Int> = []
  ) {
    (self.fewShot, self.limit, self.seed, self.beginning) = (fewShot, limit, seed, beginning)
    self.leavingOut = leavingOut
  }
}

/// What a task measured.
public struct TaskResult: Sendable {
  /// The task.
  public let task: EvaluationTask
  /// The number of examples before each question.
  public let fewShot: Int
  /// The figures.
  public let figures: [TaskFigure]
  /// What the model answered, question by question.
  public let samples: [TaskSample]
  /// The number of tokens the model read.
  public let tokens: Int
}

/// Runs tasks on a model: prompts as lm-evaluation-harness makes them, likelihoods of many questions at a time.
public final class TaskRunner {
  private let model: Model
  private let reference: Model?
  private let tokenizer: Tokenizer
  private let folder: DataFolder
  private let settings: TaskSettings
  private let team: ThreadTeam
  private lazy var scorer = LikelihoodScorer(model, team: team)

  /// What is told of a run: questions answered, and their number.
  public typealias Progress = (_ done: Int, _ total: Int) throws(Problem) -> Void

  /// A run of tasks on `model`.
  ///
  /// - Parameter reference: a model beside it, to which perplexity's protocols measure the divergence too.
  public init(
    _ model: Model, reference: Model? = nil, tokenizer: Tokenizer, data: DataFolder, settings: TaskSettings,
    team: ThreadTeam
  ) {
    (self.model, self.reference, self.tokenizer, folder) = (model, reference, tokenizer, data)
    (self.settings, self.team) = (settings, team)
  }

  /// Runs one task.
  ///
  /// - Parameters:
  ///   - record: a file that samples are appended to as they come; a run that was killed goes on with it.
  ///   - modelDigest: tells in the record which model answered.
  /// - Throws: `Problem` where data is missing or damaged; what was answered before is in the record.
  public func run(
    _ task: EvaluationTask, record: String? = nil, modelDigest: String = "",
    progress: @escaping Progress = { (_, _) throws(Problem) in }
  ) throws(Problem) -> TaskResult {
    let shots =
      task.output == .perplexity || task.output == .rolling ? 0 : settings.fewShot ?? task.fewShotCount
    let journal = try record.map { (path) throws(Problem) in
      try TaskJournal(at: path, task: task.name, key: try key(task, shots, modelDigest))
    }
    var collector = Collector(journal: journal, samples: journal?.samples ?? [], progress: progress)
    if task.output == .perplexity {
      try measure(task, &collector)
    } else {
      try answer(task, shots, &collector)
    }
    return TaskResult(
      task: task, fewShot: shots, figures: TaskStatistics.figures(collector.samples, task, team: team),
      samples: collector.samples, tokens: collector.tokens)
  }

  /// What likelihoods that were found elsewhere, choice after choice, mean for a task's questions.
  package static func result(
    of task: EvaluationTask, likelihoods: [Double], data: DataFolder, settings: TaskSettings, team: ThreadTeam
  ) throws(Problem) -> TaskResult {
    let (path, records) = try task.records(of: task.split, in: data)
    var samples: [TaskSample] = [], at = 0
    for id in 0..<min(records.count, settings.limit ?? .max) where !settings.leavingOut.contains(id) {
      let document = try task.document(records[id], id: id, path: path)
      let count = document.continuations.count
      guard at + count <= likelihoods.count else { break }
      let found = likelihoods[at..<at + count].map { Likelihood(sum: $0, isGreedy: false) }
      at += count
      samples.append(TaskSample(document, prompt: "", found, task: task))
    }
    return TaskResult(
      task: task, fewShot: settings.fewShot ?? task.fewShotCount,
      figures: TaskStatistics.figures(samples, task, team: team), samples: samples, tokens: 0)
  }

  /// Where samples go.
  private struct Collector {
    let journal: TaskJournal?
    var samples: [TaskSample]
    let progress: Progress
    var total = 0
    var tokens = 0

    mutating func add(_ new: [TaskSample]) throws(Problem) {
      try journal?.append(new)
      samples += new
      try progress(samples.count, total)
    }
  }

  /// What must be equal for a record to be continued.
  private func key(_ task: EvaluationTask, _ shots: Int, _ modelDigest: String) throws(Problem) -> String {
    var parts = [
      modelDigest, tokenizer.summary, task.definition, "\(shots)", "\(settings.limit ?? -1)",
      "\(settings.seed)",
      settings.beginning.rawValue, settings.leavingOut.sorted().map(String.init).joined(separator: ","),
    ]
    if let source = task.sources[task.split] {
      let path = try source.locate(in: folder, task: task.name)
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      parts.append("\(attributes?[.size] as? Int ?? 0)")
    }
    return TextDigest.of(parts)
  }

  // MARK: Questions

  /// A question with its requests.
  private struct Asked {
    var document: TaskDocument
    var prompt: String
    var requests: [ScoringRequest]
  }

  private func answer(_ task: EvaluationTask, _ shots: Int, _ collector: inout Collector) throws(Problem) {
    let (path, records) = try task.records(of: task.split, in: folder, limit: settings.limit ?? .max)
    var fewShot = try FewShot(task, count: shots, seed: settings.seed, folder: folder)
    let count = min(records.count, settings.limit ?? .max)
    let chosen = (0..<count).filter { !settings.leavingOut.contains($0) }
    collector.total = chosen.count
    let done = collector.samples.count
    guard collector.samples.map(\.document) == Array(chosen.prefix(done)) else {
      throw Problem(
        .badData, "the record's questions are not the task's", at: path, cure: "give another --out")
    }
    if done == chosen.count { return }
    let builder = RequestBuilder(
      tokenizer, rule: settings.beginning, context: model.configuration.contextLength)
    var next = 0, waiting: [Asked] = []
    while next < count || !waiting.isEmpty {
      // Questions are drawn up some way ahead: what they share shows among neighbours.
      var batch: [(document: TaskDocument, before: String)] = []
      while next < count, waiting.count + batch.count < 64 {
        let before = try fewShot.text(before: records[next])
        if !settings.leavingOut.contains(next), !(done > 0 && next <= chosen[done - 1]) {
          do throws(Problem) {
            batch.append((try task.document(records[next], id: next, path: path), before))
          } catch {
            // What stands before the bad record is still answered.
            waiting += try ask(batch, task, builder, &collector, waiting)
            while !waiting.isEmpty { try score(&waiting, task, &collector) }
            throw error
          }
        }
        next += 1
      }
      if next < count || !batch.isEmpty { waiting += try ask(batch, task, builder, &collector, waiting) }
      if waiting.isEmpty { continue }
      try score(&waiting, task, &collector)
    }
  }

  /// Tokenizes questions, a thread each.
  private func ask(
    _ batch: [(document: TaskDocument, before: String)], _ task: EvaluationTask, _ builder: RequestBuilder,
    _ collector: inout Collector, _ waiting: [Asked]
  ) throws(Problem) -> [Asked] {
    let results = Slots<Result<Asked, Problem>>(batch.count)
    team.run(batch.count) { index in
      let (document, before) = batch[index]
      results[index] = Result { () throws(Problem) in
        do throws(Problem) {
          let prompts = document.prompts.map { before + $0 }
          let requests =
            task.output == .rolling
            ? try builder.rolling(document.continuations[0])
            : try builder.requests(prompts, document.continuations)
          let digest = TextDigest.of(zip(prompts, document.continuations).flatMap { [$0, $1] })
          return Asked(document: document, prompt: digest, requests: requests)
        } catch {
          throw error.located(at: "\(document.place):\(document.record.line)")
        }
      }
    }
    var asked: [Asked] = []
    for index in batch.indices {
      switch results[index] {
      case .success(let one): asked.append(one)
      case .failure(let problem):
        // What stands before the bad record is still answered.
        var rest = waiting + asked
        while !rest.isEmpty { try score(&rest, task, &collector) }
        throw problem
      case nil: break
      }
    }
    return asked
  }

  /// Scores the first of the waiting questions, as many as fill a batch.
  private func score(
    _ waiting: inout [Asked], _ task: EvaluationTask, _ collector: inout Collector
  ) throws(Problem) {
    if task.output != .rolling { scorer.keep(beginningOf: waiting.prefix(16).compactMap(\.requests.first)) }
    var count = 0, cost = 0
    while count < waiting.count {
      cost += scorer.cost(waiting[count].requests)
      if count > 0, cost > LikelihoodScorer.budget { break }
      count += 1
    }
    let part = waiting.prefix(count)
    waiting.removeFirst(count)
    let all = part.flatMap(\.requests)
    collector.tokens += cost
    var found: [Likelihood] = []
    if task.output == .rolling {
      // Windows of a long text are each a batch of their own.
      for request in all { found += try scorer.score([request]) }
    } else {
      found = try scorer.score(all)
    }
    var samples: [TaskSample] = [], at = 0
    for asked in part {
      let mine = Array(found[at..<at + asked.requests.count])
      at += asked.requests.count
      samples.append(TaskSample(asked.document, prompt: asked.prompt, mine, task: task))
    }
    try collector.add(samples)
  }

  // MARK: Perplexity

  private func measure(_ task: EvaluationTask, _ collector: inout Collector) throws(Problem) {
    var measure = try ProtocolCatalog.named(task.protocolName ?? "")
    if let limit = settings.limit { measure.limit = min(limit, measure.limit ?? .max) }
    let windows = try measure.windows(of: folder.text(for: measure), tokenizer)
    collector.total = windows.count
    let rest = Array(windows.dropFirst(collector.samples.count))
    if rest.isEmpty { return }
    let first = collector.samples.count
    var refusal: Problem?
    _ = try Perplexity(model, reference: reference, team: team).measure(
      rest, protocolName: measure.name, firstScored: measure.firstScored,
      block: { block in
        guard refusal == nil else { return }
        let sample = TaskSample(
          document: first + block.window, prompt: TextDigest.of(["\(rest[block.window])"]),
          likelihoods: [-block.nll], greedy: [], prediction: nil, normalizedPrediction: nil, target: nil,
          tokens: block.tokens, values: block.divergence.map { ["kl": $0] } ?? [:])
        do throws(Problem) { try collector.add([sample]) } catch { refusal = error }
      })
    if let refusal { throw refusal }
    collector.tokens += rest.reduce(0) { $0 + $1.count }
  }
}

/// A place for the result of each piece of work.
private final class Slots<Value>: @unchecked Sendable {
  // Threads write different places, and nobody reads before all are done.
  private let values: UnsafeMutableBufferPointer<Value?>
  init(_ count: Int) {
    values = .allocate(capacity: count)
    values.initialize(repeating: nil)
  }
  deinit {
    values.deinitialize()
    values.deallocate()
  }
  subscript(index: Int) -> Value? {
    get { values[index] }
    set { values[index] = newValue }
  }
}
