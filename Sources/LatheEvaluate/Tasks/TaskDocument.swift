internal import LatheTensor

/// A question: its texts, and which answer is right.
struct TaskDocument: Sendable {
  /// Its place in the file, from 0.
  var id: Int
  /// File and line.
  var place: String
  /// The record it is made of.
  var record: DataNode
  /// The prompt, without examples; where the beginnings differ, one for each choice.
  var prompts: [String]
  /// What is scored after it, delimiter included.
  var continuations: [String]
  /// The choices as lengths are taken of them.
  var choices: [String]
  /// The right choice; nil where there is no choice.
  var gold: Int?
  /// The text that follows as an example: prompt, delimiter and answer.
  var example: String
}

extension EvaluationTask {
  /// The records of a split, preprocessed.
  ///
  /// - Parameter limit: read no more than the first ones.
  ///
  /// - Throws: `Problem` where the data is missing or not of the form.
  func records(of split: String, in folder: DataFolder, limit: Int = .max) throws(Problem) -> (
    path: String, records: [DataNode]
  ) {
    guard let source = sources[split] else {
      throw Problem(
        .usage, "\(name) has no split \"\(split)\"",
        cure: "it has \(sources.keys.sorted().joined(separator: ", "))")
    }
    let path = try source.locate(in: folder, task: "\(name), split \(split),")
    var records = try source.records(at: path, folder: folder, limit: limit)
    guard !records.isEmpty else { throw Problem(.badData, "the file has no records", at: path) }
    var names: [String: Int] = [:]
    for index in records.indices {
      // The hub's forms of some sets leave names out.
      if let identifier, let name = try? identifier.text(records[index]) {
        if let other = names.updateValue(records[index].line, forKey: name) {
          throw Problem(
            .badData, "the record \"\(name.prefix(60))\" is there twice",
            at: "\(path):\(records[index].line)",
            cure: "it stands on line \(other) already; remove one")
        }
      }
      for preprocessor in preprocessors {
        do throws(Problem) {
          records[index] = try preprocessor.apply(records[index])
        } catch {
          throw error.located(at: "\(path):\(records[index].line)")
        }
      }
    }
    return (path, records)
  }

  /// The question that a record asks.
  ///
  /// - Throws: `Problem` of kind `badData` with the record's place where its answer is out of range or a choice empty.
  func document(_ record: DataNode, id: Int, path: String) throws(Problem) -> TaskDocument {
    do throws(Problem) {
      switch output {
      case .multipleChoice: return try question(record, id, path)
      case .likelihood:
        let prompt = try prompts.prompt?.text(record) ?? "", target = try prompts.target?.text(record) ?? ""
        guard !target.isEmpty else { throw Problem(.badData, "the target is empty") }
        return TaskDocument(
          id: id, place: path, record: record, prompts: [prompt], continuations: [target], choices: [target],
          gold: nil, example: prompt + prompts.delimiter + target)
      case .rolling, .perplexity:
        let text = try prompts.target?.text(record) ?? ""
        return TaskDocument(
          id: id, place: path, record: record, prompts: [], continuations: [text], choices: [text], gold: nil,
          example: text)
      }
    } catch {
      throw error.located(at: "\(path):\(record.line)")
    }
  }

  private func question(_ record: DataNode, _ id: Int, _ path: String) throws(Problem) -> TaskDocument {
    let contexts = try prompts.contexts?.texts(record)
    var choices = contexts ?? []
    if contexts == nil { choices = try prompts.choices?.texts(record) ?? [] }
    guard choices.count > 1 else { throw Problem(.badData, "the question has \(choices.count) choices") }
    if let empty = choices.firstIndex(of: "") { throw Problem(.badData, "choice \(empty + 1) is empty") }
    let target = try prompts.target?.text(record) ?? ""
    let names = try prompts.targetNames?.texts(record) ?? []
    // A record's own labels leave no room for numbers.
    var isOwn = false
    if case .one = prompts.targetNames { isOwn = true }
    guard let gold = names.firstIndex(of: target) ?? (isOwn ? nil : Int(target)) else {
      throw Problem(
        .badData, "the answer \"\(target.prefix(40))\" is none of the choices",
        cure: names.isEmpty
          ? "it must be a number from 0" : "it must be one of \(names.joined(separator: ", "))")
    }
    guard choices.indices.contains(gold) else {
      throw Problem(
        .badData, "the answer \(gold) is out of range",
        cure: "there are \(choices.count) choices, counted from 0")
    }
    if let contexts {
      let ending = try prompts.continuation?.text(record) ?? ""
      return TaskDocument(
        id: id, place: path, record: record, prompts: contexts,
        continuations: contexts.map { _ in prompts.delimiter + ending }, choices: choices, gold: gold,
        example: contexts[gold] + prompts.delimiter + ending)
    }
    let prompt = try prompts.prompt?.text(record) ?? ""
    return TaskDocument(
      id: id, place: path, record: record, prompts: choices.map { _ in prompt },
      continuations: choices.map { prompts.delimiter + $0 }, choices: choices, gold: gold,
      example: prompt + prompts.delimiter + choices[gold])
  }
}
