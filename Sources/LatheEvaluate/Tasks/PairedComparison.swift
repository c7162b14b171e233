internal import Foundation
public import LatheTensor

/// How two models differ on the same questions, one figure at a time.
public struct PairedComparison: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case task, metric, count, first, second, difference, low, high
    case standardError = "standard_error"
    case onlyFirst = "only_first"
    case onlySecond = "only_second"
    case pValue = "p_value"
    case isEquivalent = "equivalent"
    case isInsideNoise = "inside_noise"
  }

  /// The task.
  public var task: String
  /// The metric.
  public var metric: String
  /// The number of questions, pages or windows that both answered.
  public var count: Int
  /// The figures of the two models, and the second's less the first's.
  public var first, second, difference: Double
  /// The standard error of the difference, paired.
  public var standardError: Double
  /// The 95 % interval of the difference, by a paired bootstrap over questions.
  public var low, high: Double
  /// The questions that only one of the two got right: flips, where the figure is a share of right answers.
  public var onlyFirst, onlySecond: Int?
  /// The exact two-sided probability of flips at least this uneven if the models were equally good (McNemar).
  public var pValue: Double?
  /// Whether the 90 % interval lies within the margin: the models are equal for practical ends (two one-sided tests).
  public var isEquivalent: Bool
  /// Whether the 95 % interval holds zero: the data do not tell the models apart.
  public var isInsideNoise: Bool
}

/// Compares the records of two models.
public enum Comparing {
  /// The number of bootstrap samples.
  static let draws = 10_000

  /// The figures of two models' samples of one task, paired by question.
  ///
  /// - Parameters:
  ///   - margin: what counts as equal: a difference of a share, or of a perplexity's logarithm.
  /// - Throws: `Problem` of kind `badData` where no question, or one with another prompt, is in both.
  public static func compare(
    _ task: String, _ first: [TaskSample], _ second: [TaskSample], margin: Double, seed: UInt64 = 1
  ) throws(Problem) -> [PairedComparison] {
    let others = Dictionary(second.map { ($0.document, $0) }, uniquingKeysWith: { a, _ in a })
    let pairs = first.compactMap { a in others[a.document].map { (a, $0) } }
    guard pairs.count > 1 else {
      throw Problem(
        .badData, "the two records of \(task) share \(pairs.count) questions",
        cure: "compare runs of one task")
    }
    if let other = pairs.first(where: { $0.0.prompt != $0.1.prompt && $0.0.tokens == nil }) {
      throw Problem(
        .badData, "question \(other.0.document) of \(task) was asked with another prompt",
        cure: "compare runs with the same examples and settings")
    }
    return figures(of: pairs).map { figure in
      compare(task, figure, margin: margin, seed: seed)
    }
  }

  /// What a figure is made of: a sum and a weight for each question, for both models.
  struct Figure {
    enum Kind { case share, exponential, mean, bits }
    var metric: String
    var kind: Kind
    var first, second, weights: [Double]

    /// The figure of given sums.
    func value(_ sum: Double, _ weight: Double) -> Double {
      switch kind {
      case .share, .mean: sum / weight
      case .exponential: exp(sum / weight)
      case .bits: sum / weight / log(2)
      }
    }
  }

  private static func figures(of pairs: [(TaskSample, TaskSample)]) -> [Figure] {
    guard let sample = pairs.first?.0 else { return [] }
    func make(
      _ metric: String, _ kind: Figure.Kind, _ value: (TaskSample) -> Double, _ weight: (TaskSample) -> Double
    ) -> Figure {
      Figure(
        metric: metric, kind: kind, first: pairs.map { value($0.0) }, second: pairs.map { value($0.1) },
        weights: pairs.map { weight($0.0) })
    }
    let nll = { (sample: TaskSample) in -(sample.likelihoods.first ?? 0) }
    if sample.tokens != nil {
      var found = [make("perplexity", .exponential, nll) { Double($0.tokens ?? 1) }]
      if sample.values["kl"] != nil {
        found.append(make("kl", .mean, { $0.values["kl"] ?? 0 }) { Double($0.tokens ?? 1) })
      }
      return found
    }
    if sample.words != nil {
      return [
        make("word_perplexity", .exponential, nll) { Double($0.words ?? 1) },
        make("bits_per_byte", .bits, nll) { Double($0.bytes ?? 1) },
      ]
    }
    return sample.values.keys.sorted().map { metric in
      metric == TaskMetric.perplexity.rawValue
        ? make(metric, .exponential, nll) { _ in 1 }
        : make(metric, .share, { $0.values[metric] ?? 0 }) { _ in 1 }
    }
  }

  private static func compare(_ task: String, _ f: Figure, margin: Double, seed: UInt64) -> PairedComparison {
    let weight = f.weights.reduce(0, +)
    let a = f.value(f.first.reduce(0, +), weight), b = f.value(f.second.reduce(0, +), weight)
    var differences = resampled(f, seed: seed)
    differences.sort()
    func percentile(_ p: Double) -> Double {
      let place = p * Double(differences.count - 1), low = Int(place)
      let next = min(low + 1, differences.count - 1)
      return differences[low] + (place - Double(low)) * (differences[next] - differences[low])
    }
    let mean = differences.reduce(0, +) / Double(differences.count)
    let variance =
      differences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(1, differences.count - 1))
    var result = PairedComparison(
      task: task, metric: f.metric, count: f.weights.count, first: a, second: b, difference: b - a,
      standardError: variance.squareRoot(), low: percentile(0.025), high: percentile(0.975),
      isEquivalent: false, isInsideNoise: false)
    // A perplexity's margin is one of its logarithm.
    let scale = f.kind == .exponential ? a : 1
    result.isEquivalent = percentile(0.05) > -margin * scale && percentile(0.95) < margin * scale
    result.isInsideNoise = result.low <= 0 && result.high >= 0
    if f.kind == .share {
      let onlyFirst = zip(f.first, f.second).count { $0 > $1 }
      let onlySecond = zip(f.first, f.second).count { $0 < $1 }
      (result.onlyFirst, result.onlySecond) = (onlyFirst, onlySecond)
      result.pValue = mcNemar(onlyFirst, onlySecond)
      // For right and wrong answers the exact test decides.
      result.isInsideNoise = (result.pValue ?? 1) > 0.05
    }
    return result
  }

  /// The differences of the figures on questions drawn with replacement, the same for both models.
  private static func resampled(_ f: Figure, seed: UInt64) -> [Double] {
    var generator = MersenneTwister(seed: seed)
    let n = f.weights.count
    return (0..<draws).map { _ in
      var first = 0.0, second = 0.0, weight = 0.0
      for _ in 0..<n {
        let i = Int((UInt64(generator.next()) * UInt64(n)) >> 32)
        first += f.first[i]
        second += f.second[i]
        weight += f.weights[i]
      }
      return f.value(second, weight) - f.value(first, weight)
    }
  }

  /// The exact two-sided McNemar test: the probability, if either flip were as likely, of flips at least this uneven.
  public static func mcNemar(_ onlyFirst: Int, _ onlySecond: Int) -> Double {
    let n = onlyFirst + onlySecond, k = min(onlyFirst, onlySecond)
    if n == 0 { return 1 }
    // ln C(n, i) - n ln 2, summed from the rarest.
    var term = -Double(n) * log(2), sum = 0.0
    for i in 0...k {
      if i > 0 { term += log(Double(n - i + 1)) - log(Double(i)) }
      sum += exp(term)
    }
    return min(1, 2 * sum)
  }
}

/// The records that a run of tasks left in a folder.
public struct TaskRecords: Sendable {
  /// The samples of each task, by its name, in the order of the files' names.
  public let tasks: [(name: String, samples: [TaskSample])]

  /// Reads the records in `path`: a folder that `lathe eval --out` wrote, or one file of it.
  ///
  /// - Throws: `Problem` where there are none, or one is damaged.
  public init(at path: String) throws(Problem) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw Problem(
        .noInput, "no such file or folder", at: path, cure: "lathe eval --tasks … --out FOLDER writes it")
    }
    var files = [path]
    if isFolder.boolValue {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
      files = names.filter { $0.hasPrefix("samples_") && $0.hasSuffix(".jsonl") }.sorted().map {
        path + "/" + $0
      }
    }
    guard !files.isEmpty else {
      throw Problem(
        .noInput, "the folder holds no records", at: path,
        cure: "lathe eval --tasks … --out FOLDER writes them")
    }
    var found: [(name: String, samples: [TaskSample])] = []
    for file in files {
      let record = try TaskJournal.samples(at: file)
      found.append((record.task, record.samples))
    }
    tasks = found
  }
}
