internal import Foundation
internal import LatheTensor

/// What a model answered to one question: a line of a record.
public struct TaskSample: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case document = "doc_id"
    case prompt, likelihoods, greedy, prediction, target, tokens, words, bytes
    case normalizedPrediction = "prediction_norm"
    case values
  }
  /// The question's place in its file, from 0.
  public var document: Int
  /// The first digits of the SHA-256 of all that the model was given, choice after choice.
  public var prompt: String
  /// The log-likelihood of each choice, in nats.
  public var likelihoods: [Double]
  /// Whether each choice consists of the likeliest tokens.
  public var greedy: [Bool]
  /// The likeliest choice, and the likeliest by the character.
  public var prediction, normalizedPrediction: Int?
  /// The right choice.
  public var target: Int?
  /// For text: the tokens scored, and the words and bytes they stand for.
  public var tokens, words, bytes: Int?
  /// The figures that are averaged, by metric.
  public var values: [String: Double]

  /// A sample of the given parts.
  public init(
    document: Int, prompt: String, likelihoods: [Double], greedy: [Bool], prediction: Int?,
    normalizedPrediction: Int?, target: Int?, tokens: Int? = nil, words: Int? = nil, bytes: Int? = nil,
    values: [String: Double]
  ) {
    (self.document, self.prompt, self.likelihoods, self.greedy) = (document, prompt, likelihoods, greedy)
    (self.prediction, self.normalizedPrediction, self.target) = (prediction, normalizedPrediction, target)
    (self.tokens, self.words, self.bytes, self.values) = (tokens, words, bytes, values)
  }
}

extension TaskSample {
  /// What `likelihoods` mean for a question of `task`.
  init(_ document: TaskDocument, prompt: String, _ found: [Likelihood], task: EvaluationTask) {
    self.init(
      document: document.id, prompt: prompt, likelihoods: found.map(\.sum), greedy: found.map(\.isGreedy),
      prediction: nil, normalizedPrediction: nil, target: document.gold, values: [:])
    switch task.output {
    case .multipleChoice:
      let characters = zip(likelihoods, document.choices).map { $0 / Double($1.unicodeScalars.count) }
      let bytes = zip(likelihoods, document.choices).map { $0 / Double($1.utf8.count) }
      prediction = Self.largest(likelihoods)
      normalizedPrediction = Self.largest(characters)
      for metric in task.metrics {
        let answer: Int? =
          switch metric {
          case .normalizedAccuracy: normalizedPrediction
          case .byteAccuracy: Self.largest(bytes)
          default: prediction
          }
        values[metric.rawValue] = answer == target ? 1 : 0
      }
    case .likelihood:
      for metric in task.metrics {
        values[metric.rawValue] = metric == .accuracy ? (greedy[0] ? 1 : 0) : likelihoods[0]
      }
    case .rolling:
      let total = likelihoods.reduce(0, +)
      (likelihoods, greedy) = ([total], [])
      let page = document.record["page"]?.text ?? document.continuations[0]
      words = WikitextText.words(in: page)
      bytes = page.utf8.count
    case .perplexity: break
    }
  }

  /// The first of the largest.
  private static func largest(_ values: [Double]) -> Int? {
    values.indices.max { values[$0] < values[$1] || (values[$0] == values[$1] && $0 > $1) }
  }
}

/// A figure over a task's questions.
public struct TaskFigure: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case metric, value, count
    case standardError = "standard_error"
  }
  /// What it is: lm-evaluation-harness's name.
  public var metric: String
  /// The figure.
  public var value: Double
  /// Its standard error; nil where none is known.
  public var standardError: Double?
  /// The number of questions.
  public var count: Int
}

/// How a task's samples become figures with standard errors.
enum TaskStatistics {
  /// The figures of a task.
  static func figures(
    _ samples: [TaskSample], _ task: EvaluationTask, team: ThreadTeam
  ) -> [TaskFigure] {
    guard !samples.isEmpty else { return [] }
    if task.output == .perplexity { return perplexity(samples) }
    return task.metrics.map { metric in
      switch metric {
      case .wordPerplexity, .bytePerplexity, .bitsPerByte: return text(metric, samples)
      case .perplexity:
        let values = samples.map { $0.values[metric.rawValue] ?? 0 }
        let mean = values.reduce(0, +) / Double(values.count)
        return TaskFigure(
          metric: metric.rawValue, value: exp(-mean),
          standardError: values.count > 1 ? bootstrap(values, team) : nil, count: values.count)
      default: return self.mean(metric.rawValue, samples.map { $0.values[metric.rawValue] ?? 0 })
      }
    }
  }

  /// A mean, with the standard error of a sample's mean.
  static func mean(_ name: String, _ values: [Double]) -> TaskFigure {
    let mean = values.reduce(0, +) / Double(values.count)
    return TaskFigure(
      metric: name, value: mean, standardError: values.count > 1 ? standardError(values, mean) : nil,
      count: values.count)
  }

  static func standardError(_ values: [Double], _ mean: Double) -> Double {
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (squares / Double(values.count - 1)).squareRoot() / Double(values.count).squareRoot()
  }

  private static func text(_ metric: TaskMetric, _ samples: [TaskSample]) -> TaskFigure {
    let total = samples.reduce(0) { $0 + ($1.likelihoods.first ?? 0) }
    let units = samples.reduce(0) { $0 + ((metric == .wordPerplexity ? $1.words : $1.bytes) ?? 0) }
    let rate = -total / Double(units)
    return TaskFigure(
      metric: metric.rawValue, value: metric == .bitsPerByte ? rate / log(2) : exp(rate), standardError: nil,
      count: samples.count)
  }

  /// Perplexity over windows, its error from their means.
  private static func perplexity(_ samples: [TaskSample]) -> [TaskFigure] {
    let total = samples.reduce(0) { $0 - ($1.likelihoods.first ?? 0) }
    let tokens = samples.reduce(0) { $0 + ($1.tokens ?? 0) }
    let nll = total / Double(tokens)
    let means = samples.map { -($0.likelihoods.first ?? 0) / Double($0.tokens ?? 1) }
    let error = means.count > 1 ? standardError(means, means.reduce(0, +) / Double(means.count)) : nil
    var figures = [
      TaskFigure(
        metric: "perplexity", value: exp(nll), standardError: error.map { $0 * exp(nll) },
        count: samples.count)
    ]
    if samples.allSatisfy({ $0.values["kl"] != nil }) {
      let sums = samples.map { $0.values["kl"] ?? 0 }
      let means = zip(sums, samples).map { $0 / Double($1.tokens ?? 1) }
      let error = means.count > 1 ? standardError(means, means.reduce(0, +) / Double(means.count)) : nil
      figures.append(
        TaskFigure(
          metric: "kl", value: sums.reduce(0, +) / Double(tokens), standardError: error, count: samples.count)
      )
    }
    return figures
  }

  /// The deviation of exp(-mean) over 100,000 samples drawn with replacement, by the numbers that
  /// lm-evaluation-harness draws: a thousand from each seed from 0.
  static func bootstrap(_ values: [Double], _ team: ThreadTeam) -> Double {
    let chunks = 100, perChunk = 1000
    let draws = Draws(chunks * perChunk)
    team.run(chunks) { chunk in
      var generator = MersenneTwister(seed: UInt64(chunk))
      let n = Double(values.count)
      for i in 0..<perChunk {
        var sum = 0.0
        for _ in values { sum += values[Int(generator.unit() * n)] }
        draws.set(chunk * perChunk + i, exp(-(sum / n)))
      }
    }
    let all = draws.all
    let mean = all.reduce(0, +) / Double(all.count)
    return (all.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(all.count - 1)).squareRoot()
  }

  private final class Draws: @unchecked Sendable {
    // Threads write different places, and nobody reads before all are done.
    private let values: UnsafeMutableBufferPointer<Double>
    init(_ count: Int) {
      values = .allocate(capacity: count)
      values.initialize(repeating: 0)
    }
    deinit { values.deallocate() }
    func set(_ index: Int, _ value: Double) { values[index] = value }
    var all: [Double] { Array(values) }
  }

  /// The figure of a group, from its tasks' figures of one metric.
  static func group(_ figures: [TaskFigure], weightsBySize: Bool) -> TaskFigure? {
    guard let first = figures.first else { return nil }
    let count = figures.reduce(0) { $0 + $1.count }
    let errors = figures.compactMap(\.standardError)
    var error: Double?
    let value: Double
    if weightsBySize {
      value = figures.reduce(0) { $0 + $1.value * Double($1.count) } / Double(count)
      // lm-evaluation-harness's pooled standard error.
      if errors.count == figures.count, count > figures.count {
        let pooled = figures.reduce(0) {
          let n = Double($1.count), e = $1.standardError ?? 0
          return $0 + (n - 1) * e * e * n
        }
        error = (pooled / Double(count - figures.count) / Double(count)).squareRoot()
      }
    } else {
      // The mean of independent figures.
      value = figures.reduce(0) { $0 + $1.value } / Double(figures.count)
      if errors.count == figures.count {
        error = errors.reduce(0) { $0 + $1 * $1 }.squareRoot() / Double(figures.count)
      }
    }
    return TaskFigure(metric: first.metric, value: value, standardError: error, count: count)
  }
}
