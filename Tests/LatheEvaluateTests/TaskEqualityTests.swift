import Foundation
import LatheEvaluate
import LatheModel
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// What lm-evaluation-harness made of a task: `Scripts/fixtures/task_scores.py` wrote it.
struct TaskReference: Decodable {
  struct Task: Decodable {
    var shots: Int
    var limit: Int?
    var metrics: [String: Double]
    var leftOut: [Int]?
    var at, count, documents: Int?
    enum CodingKeys: String, CodingKey {
      case shots, limit, metrics, at, count, documents
      case leftOut = "left_out"
    }
  }
  var tasks: [String: Task]

  static let folder = TestData.packageFolder + "/Tests/LatheEvaluateTests/Fixtures/"

  static func read(_ model: String) throws -> (TaskReference, [Float]) {
    let data = try Data(contentsOf: URL(fileURLWithPath: folder + model + ".json"))
    let values = try Bytes(mapping: folder + model + ".bin").elements(as: Float.self)
    return (try JSONDecoder().decode(TaskReference.self, from: data), values)
  }
}

@Suite(.serialized, .enabled(if: TestData.isPresent, "the task sets are not at hand: set LATHE_DATA"))
struct TaskEqualityTests {
  static let families = [
    "piqa", "arc_easy", "arc_challenge", "winogrande", "hellaswag", "lambada_openai", "boolq", "mmlu",
    "wikitext",
    "arc_easy_shots", "winogrande_shots",
  ]

  @Test("every item of novella-6m is lm-eval's", arguments: families)
  func novella(task: String) throws {
    try compare(task, "novella-6m", TestData.packageFolder + "/Models/novella-6m")
  }

  @Test("every item of stories260K is lm-eval's", arguments: families)
  func stories(task: String) throws {
    try compare(task, "stories260K", TestData.path("models/stories260K/stories260K.bin"))
  }

  @Test("prompts that fit a context of 8,192 uncut: every item of a LLaMA-3 vocabulary is lm-eval's")
  func formula() throws {
    let folder = try FormulaModel.write()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for task in ["piqa", "hellaswag", "lambada_openai", "mmlu", "winogrande"] {
      try compare(task, "random-llama3", folder)
    }
  }

  /// The questions of a task that are run here: all of them with LATHE_ALL_ITEMS set, which takes some minutes.
  private static func most(_ task: EvaluationTask, _ model: String) -> Int {
    if ProcessInfo.processInfo.environment["LATHE_ALL_ITEMS"] != nil { return .max }
    if task.output == .rolling { return 11 }
    return task.name.hasPrefix("mmlu") ? 16 : task.name == "boolq" ? 40 : 120
  }

  private func compare(_ name: String, _ modelName: String, _ path: String) throws {
    let (reference, values) = try TaskReference.read(modelName)
    var catalog = try TaskCatalog.builtIn()
    let shared = ["arc_easy_shots": "arc_easy", "winogrande_shots": "winogrande"]
    if let parent = shared[name] {
      let file = NSTemporaryDirectory() + "\(UUID().uuidString).json"
      try Data(#"{"like": "\#(parent)", "task": "\#(name)", "fewshot": {"split": "validation"}}"#.utf8)
        .write(to: URL(fileURLWithPath: file))
      defer { try? FileManager.default.removeItem(atPath: file) }
      try catalog.add(reading: file)
    }
    let model = try Model(reading: path), tokenizer = try Tokenizer.forModel(at: path)
    let tasks = try catalog.leaves(of: name).filter { reference.tasks[$0.name] != nil }
    #expect(!tasks.isEmpty)
    var results: [String: TaskResult] = [:]
    for task in tasks {
      let expected = try #require(reference.tasks[task.name])
      let limit = min(expected.limit ?? .max, Self.most(task, modelName))
      let settings = TaskSettings(
        fewShot: expected.shots, limit: limit, leavingOut: Set(expected.leftOut ?? []))
      let result = try TaskRunner(
        model, tokenizer: tokenizer, data: DataFolder(TestData.folder), settings: settings,
        team: ThreadTeam(count: 2)
      ).run(task)
      let at = try #require(expected.at), count = try #require(expected.count)
      try items(result, Array(values[at..<at + count]), task)
      if result.samples.count == expected.documents { figures(result.figures, expected, task.name) }
      let theirs = try TaskRunner.result(
        of: task, likelihoods: values[at..<at + count].map(Double.init), data: DataFolder(TestData.folder),
        settings: TaskSettings(
          fewShot: expected.shots, limit: expected.limit, leavingOut: Set(expected.leftOut ?? [])),
        team: ThreadTeam(count: 2))
      results[task.name] = theirs
      // Whether a word was the likeliest is not in the fixture.
      figures(theirs.figures.filter { task.output != .likelihood || $0.metric != "acc" }, expected, task.name)
    }
    if name == "mmlu", let expected = reference.tasks["mmlu"] {
      let report = TaskReport(["mmlu"], results, catalog: catalog)
      figures(try #require(report.rows.first).figures, expected, "mmlu")
    }
  }

  private func items(_ result: TaskResult, _ expected: [Float], _ task: EvaluationTask) throws {
    let found = result.samples.flatMap(\.likelihoods)
    try #require(
      found.count <= expected.count && found.count > 10 || found.count == expected.count, "\(task.name)")
    // A page's likelihood is a sum over thousands of tokens; all others are of a few.
    let scale: (Float) -> Double = { task.output == .rolling ? max(1, abs(Double($0)) * 1e-2) : 1 }
    let differences = zip(found, expected).map { abs($0 - Double($1)) / scale($1) }
    #expect((differences.max() ?? 0) < 1e-3, "\(task.name)")
    var at = 0
    for sample in result.samples where task.output == .multipleChoice {
      let theirs = expected[at..<at + sample.likelihoods.count].map(Double.init)
      at += theirs.count
      let best = theirs.indices.max { theirs[$0] < theirs[$1] || (theirs[$0] == theirs[$1] && $0 > $1) }
      #expect(sample.prediction == best, "\(task.name), question \(sample.document)")
    }
  }

  private func figures(_ found: [TaskFigure], _ expected: TaskReference.Task, _ name: String) {
    for figure in found {
      let value = expected.metrics["\(figure.metric),none"] ?? .nan
      let isText = figure.metric.hasSuffix("perplexity") || figure.metric == "bits_per_byte"
      #expect(abs(figure.value - value) <= (isText ? 1e-3 * value : 5e-5), "\(name) \(figure.metric)")
      if let error = expected.metrics["\(figure.metric)_stderr,none"] {
        #expect(
          abs((figure.standardError ?? .nan) - error) <= (isText ? 1e-3 * error : 5e-5),
          "\(name) \(figure.metric)")
      }
    }
  }
}
