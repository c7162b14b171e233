import Foundation
import LatheEvaluate
import LatheModel
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// A folder of a task's own, gone when the test is.
final class TaskFolder {
  let path = NSTemporaryDirectory() + "lathe-task-\(UUID().uuidString)"

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ text: String, _ name: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name))
  }

  static let definition = """
    {
      "task": "colours",
      "output": "multiple_choice",
      "data": {"validation": {"file": "colours.jsonl"}},
      "id": "{{name}}",
      "prompt": "The {{thing|lower}} is",
      "choices": "{{choices}}",
      "target": "{{answer}}",
      "metrics": ["acc", "acc_norm"]
    }
    """
  static let records = """
    {"name": "a", "thing": "Sky", "choices": ["blue", "red"], "answer": 0}
    {"name": "b", "thing": "Grass", "choices": ["green", "black", "white"], "answer": 0}
    {"name": "c", "thing": "Snow", "choices": ["red", "white"], "answer": 1}
    {"name": "d", "thing": "Coal", "choices": ["black", "white"], "answer": 0}

    """

  /// Runs the task `definition` on `records` with novella-6m.
  func run(
    _ definition: String = definition, _ records: String = records, settings: TaskSettings = TaskSettings(),
    record: String? = nil, progress: @escaping TaskRunner.Progress = { (_, _) throws(Problem) in }
  ) throws -> TaskResult {
    try write(definition, "task.json")
    try write(records, "colours.jsonl")
    var catalog = try TaskCatalog.builtIn()
    let name = try catalog.resolve([path + "/task.json"])[0]
    let task = try #require(catalog.task(name))
    let model = TestData.packageFolder + "/Models/novella-6m"
    return try TaskRunner(
      Model(reading: model), tokenizer: Tokenizer.forModel(at: model), data: DataFolder(path),
      settings: settings,
      team: ThreadTeam(count: 2)
    ).run(task, record: record, modelDigest: "m", progress: progress)
  }
}

@Suite struct TaskFileTests {
  @Test("a task of one's own works by its path")
  func ownTask() throws {
    let result = try TaskFolder().run()
    #expect(result.samples.count == 4)
    #expect(result.samples[1].likelihoods.count == 3)
    #expect(result.samples.allSatisfy { $0.likelihoods.allSatisfy { $0 < 0 && $0.isFinite } })
    let right = result.samples.count { $0.prediction == $0.target }
    #expect(result.figures.first { $0.metric == "acc" }?.value == Double(right) / 4)
  }

  @Test("shared beginnings change no likelihood: each question alone gives the same")
  func alone() throws {
    let folder = try TaskFolder()
    let together = try folder.run()
    for (index, line) in TaskFolder.records.split(separator: "\n").enumerated() {
      let alone = try folder.run(TaskFolder.definition, String(line))
      for (a, b) in zip(alone.samples[0].likelihoods, together.samples[index].likelihoods) {
        #expect(abs(a - b) < 1e-4)
      }
    }
  }

  @Test("a killed run goes on where it was, with the same answers")
  func resume() throws {
    let folder = try TaskFolder(), record = folder.path + "/samples.jsonl"
    let whole = try folder.run(record: record)
    let text = try String(contentsOfFile: record, encoding: .utf8)
    let lines = text.split(separator: "\n")
    // Two answers, and half of the third's line.
    try (lines[0...2].joined(separator: "\n") + "\n" + lines[3].prefix(20)).write(
      toFile: record, atomically: true, encoding: .utf8)
    var first: Int?
    let rest = try folder.run(record: record) { (done, _) throws(Problem) in first = first ?? done }
    #expect(rest.samples.map(\.document) == [0, 1, 2, 3])
    #expect((first ?? 0) > 2)
    for (a, b) in zip(rest.samples, whole.samples) {
      #expect(a.prompt == b.prompt && a.prediction == b.prediction)
      for (x, y) in zip(a.likelihoods, b.likelihoods) { #expect(abs(x - y) < 1e-4) }
    }
    // Another setting is another run.
    #expect(throws: Problem.self) { try folder.run(settings: TaskSettings(limit: 3), record: record) }
  }

  @Test(
    "a damaged task file is told with file and line",
    arguments: [
      ("\"promptt\": \"x\",", "unknown key \"promptt\"", 2), ("\"preprocess\": [\"shell\"],", "shell", 2),
      ("\"fewshot\": {\"sampler\": \"best\"},", "best", 2),
      ("\"metrics\": [\"word_perplexity\"],", "twice", 10),
      ("\"id\": \"{{a|upper}}\",", "twice", 6), ("\"like\": \"nothing\",", "nothing", 2),
      ("\"alias\": 7,", "must be a text", 2), ("\"alias\": \"a\" \"b\",", "closing brace", 2),
    ])
  func damagedTask(line: String, words: String, number: Int) throws {
    let folder = try TaskFolder()
    let text = TaskFolder.definition.replacing(
      "{\n  \"task\"", with: "{\n  \(line)\n  \"task\"", maxReplacements: 1)
    let problem = try #require(throws: Problem.self) { try folder.run(text) }
    #expect(problem.kind == .badData)
    #expect(problem.description.contains(words), "\(problem)")
    #expect(problem.place?.contains("task.json:\(number)") == true, "\(problem)")
  }

  @Test(
    "a damaged record is told with file and line, and what stands before it is answered",
    arguments: [
      (#"{"name": "x", "thing": "Sea", "choices": ["blue", "red"], "answer": 2}"#, "out of range", true),
      (#"{"name": "x", "thing": "Sea", "choices": ["blue", ""], "answer": 0}"#, "choice 2 is empty", true),
      (#"{"name": "x", "thing": "Sea", "choices": ["blue"], "answer": 0}"#, "1 choices", true),
      (
        #"{"name": "x", "thing": "Sea", "choices": ["blue", "red"], "answer": "blue"}"#,
        "none of the choices", true
      ),
      (#"{"name": "x", "choices": ["blue", "red"], "answer": 0}"#, "has no \"thing\"", true),
      (#"{"name": "x", "thing": "Sea", "choices": "blue", "answer": 0}"#, "names no list", true),
      (#"{"name": "a", "thing": "Sea", "choices": ["blue", "red"], "answer": 0}"#, "is there twice", false),
      (#"["name"]"#, "no JSON object", false), (#"{"name": "x", "thing": "Sea"#, "ends inside a text", false),
    ])
  func damagedRecord(line: String, words: String, answersTheRest: Bool) throws {
    let folder = try TaskFolder(), record = folder.path + "/samples.jsonl"
    let problem = try #require(throws: Problem.self) {
      try folder.run(TaskFolder.definition, TaskFolder.records + line + "\n", record: record)
    }
    #expect(problem.description.contains(words), "\(problem)")
    #expect(problem.place?.contains("colours.jsonl:5") == true, "\(problem)")
    if answersTheRest { #expect(try TaskRecords(at: record).tasks[0].samples.count == 4) }
  }

  @Test("an answer longer than the context is told; what stands before it is answered")
  func longAnswer() throws {
    let folder = try TaskFolder(), record = folder.path + "/samples.jsonl"
    let long = String(repeating: "blue and green and ", count: 200)
    let line = #"{"name": "x", "thing": "Sea", "choices": ["\#(long)", "red"], "answer": 0}"# + "\n"
    let problem = try #require(throws: Problem.self) {
      try folder.run(TaskFolder.definition, TaskFolder.records + line, record: record)
    }
    #expect(problem.description.contains("longer than the model's context of 512"), "\(problem)")
    #expect(try TaskRecords(at: record).tasks[0].samples.count == 4)
    // A prompt longer than the context is cut at its beginning.
    let cut = #"{"name": "x", "thing": "\#(long)", "choices": ["blue", "red"], "answer": 0}"# + "\n"
    #expect(try folder.run(TaskFolder.definition, cut).samples.count == 1)
  }

  @Test("missing data is a sentence that says what to put where")
  func missing() throws {
    let catalog = try TaskCatalog.builtIn(), folder = try TaskFolder()
    let model = TestData.packageFolder + "/Models/novella-6m"
    let runner = TaskRunner(
      try Model(reading: model), tokenizer: try Tokenizer.forModel(at: model),
      data: try DataFolder(folder.path),
      settings: TaskSettings(), team: ThreadTeam(count: 1))
    for task in catalog.tasks where task.output != .perplexity {
      let problem = try #require(throws: Problem.self) { try runner.run(task) }
      #expect(problem.kind == .noInput)
      #expect(problem.cure?.contains("https://") == true, "\(problem)")
      #expect(problem.cure?.contains(task.files[0]) == true, "\(problem)")
    }
  }

  @Test("random bytes in task files and records end in a sentence", arguments: 1...6 as ClosedRange<UInt64>)
  func fuzz(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let folder = try TaskFolder()
    for _ in 0..<120 {
      var bytes = Array(TaskFolder.definition.utf8)
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
          in: 0...255, using: &generator)
      }
      try Data(bytes).write(to: URL(fileURLWithPath: folder.path + "/fuzz.json"))
      var catalog = try TaskCatalog.builtIn()
      do throws(Problem) { try catalog.add(reading: folder.path + "/fuzz.json") } catch {
        #expect(error.kind == .badData)
      }
    }
    for _ in 0..<6 {
      var bytes = Array(TaskFolder.records.utf8)
      bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      do { _ = try folder.run(TaskFolder.definition, String(decoding: bytes, as: UTF8.self)) } catch let error
        as Problem
      {
        #expect(error.place?.contains("colours.jsonl") == true)
      }
    }
  }

  @Test("the exact McNemar test")
  func mcNemar() {
    #expect(Comparing.mcNemar(0, 0) == 1)
    #expect(abs(Comparing.mcNemar(1, 9) - 0.021484375) < 1e-12)
    #expect(abs(Comparing.mcNemar(5, 5) - 1) < 1e-12)
    #expect(abs(Comparing.mcNemar(10, 25) - 0.01667384780012071) < 1e-12)
    #expect(Comparing.mcNemar(200, 2000) < 1e-100)
  }

  @Test("a pair of records: flips, interval and verdict")
  func pairs() throws {
    func sample(_ id: Int, _ right: Bool) -> TaskSample {
      TaskSample(
        document: id, prompt: "p", likelihoods: [-1, -2], greedy: [], prediction: right ? 0 : 1,
        normalizedPrediction: nil,
        target: 0, tokens: nil, words: nil, bytes: nil, values: ["acc": right ? 1 : 0])
    }
    let a = (0..<200).map { sample($0, $0 % 2 == 0) },
      b = (0..<200).map { sample($0, $0 % 2 == 0 || $0 % 10 == 1) }
    let found = try #require(try Comparing.compare("t", a, b, margin: 0.01).first)
    #expect(found.onlyFirst == 0 && found.onlySecond == 20)
    #expect(abs(found.difference - 0.1) < 1e-12)
    #expect(abs(found.standardError - (0.1 * 0.9 / 200).squareRoot()) < 1e-3)
    #expect(found.low > 0.05 && found.high < 0.15 && !found.isInsideNoise && !found.isEquivalent)
    let same = try #require(try Comparing.compare("t", a, a, margin: 0.01).first)
    #expect(same.isInsideNoise && same.isEquivalent && same.pValue == 1)
    #expect(throws: Problem.self) { try Comparing.compare("t", a, [], margin: 0.01) }
  }
}
