internal import LatheTensor

/// What stands before a question: a description and solved examples, drawn as lm-evaluation-harness draws them.
struct FewShot {
  private let rule: FewShotRule
  private let count: Int
  private let pool: [DataNode]
  private let examples: [String]
  private let leavesOutTheQuestion: Bool
  private var generator: MersenneTwister

  /// The examples of a task; nothing is read where none are asked for.
  ///
  /// - Throws: `Problem` where the examples' data is missing or has too few.
  init(_ task: EvaluationTask, count: Int, seed: UInt64, folder: DataFolder) throws(Problem) {
    (rule, self.count, generator) = (task.fewShot, count, MersenneTwister(seed: seed))
    let testSplit = task.sources["test"] == nil ? nil : "test"
    leavesOutTheQuestion = task.fewShot.split == testSplit
    guard count > 0 else {
      (pool, examples) = ([], [])
      return
    }
    guard task.output != .rolling else {
      throw Problem(.usage, "\(task.name) takes no examples", cure: "leave --num-fewshot out, or 0")
    }
    let split =
      task.fewShot.split ?? ["train", "validation", "test"].first { task.sources[$0] != nil } ?? task.split
    let (path, records) = try task.records(of: split, in: folder)
    let needed = count + (leavesOutTheQuestion && rule.sampler == .random ? 1 : 0)
    guard records.count >= needed else {
      throw Problem(
        .usage, "\(count) examples are asked for; there are \(records.count)", at: path,
        cure: "choose a smaller --num-fewshot")
    }
    var examples: [String] = []
    for (id, record) in records.enumerated() {
      examples.append(try task.document(record, id: id, path: path).example)
      if rule.sampler == .first, examples.count == count { break }
    }
    (pool, self.examples) = (records, examples)
  }

  /// The text before the question `record`. Questions must be given in the order of the file: each draws anew.
  mutating func text(before record: DataNode) throws(Problem) -> String {
    var text = try rule.description?.text(record) ?? ""
    for index in draw(leavingOut: record) { text += examples[index] + rule.delimiter }
    return text
  }

  private mutating func draw(leavingOut record: DataNode) -> [Int] {
    if count == 0 { return [] }
    if rule.sampler == .first { return Array(0..<count) }
    guard leavesOutTheQuestion else { return generator.sample(count, of: pool.count) }
    return Array(generator.sample(count + 1, of: pool.count).filter { pool[$0] != record }.prefix(count))
  }
}
