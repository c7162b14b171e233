internal import Foundation
public import LatheTensor

/// A task: how records of a data set become questions, and what is measured of the answers. It is read from a JSON file.
public struct EvaluationTask: Hashable, Sendable {
  /// What a model is asked.
  public enum Output: String, Hashable, Sendable, CaseIterable {
    /// The likelihood of each of several answers.
    case multipleChoice = "multiple_choice"
    /// The likelihood of one continuation, and whether it is the likeliest.
    case likelihood = "loglikelihood"
    /// The likelihood of a whole text.
    case rolling = "loglikelihood_rolling"
    /// Perplexity under a named protocol.
    case perplexity = "protocol"
  }

  /// The name.
  public internal(set) var name: String
  /// The name inside a group's rows.
  public internal(set) var alias: String
  /// The version of lm-evaluation-harness's task of the same name.
  public internal(set) var version: String
  /// One sentence.
  public internal(set) var summary: String
  /// What a model is asked.
  public internal(set) var output: Output
  /// What is measured.
  public internal(set) var metrics: [TaskMetric]
  /// The number of examples before a question, unless another is asked for.
  public internal(set) var fewShotCount: Int
  /// The protocol, where perplexity is measured under one.
  public internal(set) var protocolName: String?

  var sources: [String: DataSource]
  var split: String
  var fewShot: FewShotRule
  var preprocessors: [Preprocessor]
  /// What a record is called, where it has a name: two may not have the same.
  var identifier: Template?
  var prompts: TaskPrompts
  /// The text that defines the task: its digest tells two versions apart.
  var definition: String

  /// The files the questions come from, relative to the data folder, the first form first.
  public var files: [String] { sources[split]?.files ?? [] }

  /// The digest of the task's definition.
  public var definitionDigest: String { TextDigest.of([definition]) }

  /// The files that a run reads.
  ///
  /// - Throws: `Problem` of kind `noInput` where one is missing.
  public func dataFiles(in folder: DataFolder, withExamples: Bool) throws(Problem) -> [String] {
    var paths: [String] = []
    if let source = sources[split] { paths.append(try source.locate(in: folder, task: name)) }
    if withExamples,
      let source = fewShot.split.flatMap({ sources[$0] }) ?? sources["train"] ?? sources["validation"]
    {
      paths.append(try source.locate(in: folder, task: "\(name), the examples"))
    }
    return paths
  }

  /// Whether the questions are there.
  public func hasData(in folder: DataFolder) -> Bool {
    if let protocolName {
      guard let found = try? ProtocolCatalog.named(protocolName) else { return false }
      return FileManager.default.fileExists(atPath: folder.path + "/" + found.file)
    }
    return (try? sources[split]?.locate(in: folder, task: name)) != nil
  }
}

/// Where the examples before a question come from.
struct FewShotRule: Hashable, Sendable {
  enum Sampler: String, Hashable, Sendable, CaseIterable {
    /// The first ones, for all questions the same.
    case first = "first_n"
    /// Drawn anew for each question.
    case random = "default"
  }

  var sampler: Sampler
  /// The split they come from; nil for the first there is of train, validation, test.
  var split: String?
  var delimiter: String
  var description: Template?
}

/// The texts of a task.
struct TaskPrompts: Hashable, Sendable {
  var prompt: Template?
  var choices: ListTemplate?
  /// Beginnings that differ, before one continuation that does not.
  var contexts: ListTemplate?
  var continuation: Template?
  var target: Template?
  /// What the target may be called: it counts by its place among them.
  var targetNames: ListTemplate?
  /// What stands between a prompt and an answer.
  var delimiter: String
}

/// A figure of a task.
public enum TaskMetric: String, Hashable, Sendable, CaseIterable {
  /// The share of questions whose likeliest answer is the right one.
  case accuracy = "acc"
  /// The same by likelihood a character.
  case normalizedAccuracy = "acc_norm"
  /// The same by likelihood a byte.
  case byteAccuracy = "acc_bytes"
  /// The exponential of the mean negative log-likelihood of a continuation.
  case perplexity
  /// The exponential of the negative log-likelihood a word.
  case wordPerplexity = "word_perplexity"
  /// The exponential of the negative log-likelihood a byte.
  case bytePerplexity = "byte_perplexity"
  /// The negative log-likelihood a byte, in bits.
  case bitsPerByte = "bits_per_byte"

  /// Whether more is better.
  public var higherIsBetter: Bool {
    switch self {
    case .accuracy, .normalizedAccuracy, .byteAccuracy: true
    default: false
    }
  }

  /// Whether a task of this kind has the figure.
  func fits(_ output: EvaluationTask.Output) -> Bool {
    switch (output, self) {
    case (.multipleChoice, .accuracy), (.multipleChoice, .normalizedAccuracy),
      (.multipleChoice, .byteAccuracy),
      (.likelihood, .accuracy), (.likelihood, .perplexity), (.rolling, .wordPerplexity),
      (.rolling, .bytePerplexity), (.rolling, .bitsPerByte):
      true
    default: false
    }
  }
}

/// Several tasks whose figures are averaged.
public struct TaskGroup: Hashable, Sendable {
  /// The name.
  public internal(set) var name: String
  /// The name inside another group's rows.
  public internal(set) var alias: String
  /// The version.
  public internal(set) var version: String
  /// One sentence.
  public internal(set) var summary: String
  /// The names of its tasks or groups, in their order.
  public internal(set) var members: [String]
  /// Whether a task counts by its number of questions, as lm-evaluation-harness's MMLU does; else each counts once.
  public internal(set) var weightsBySize: Bool
  /// What is averaged.
  public internal(set) var metrics: [TaskMetric]
}
