internal import LatheTensor

/// Reads the members of an object strictly: what is unknown or of the wrong kind is told with file and line.
struct DefinitionReader {
  let node: DataNode
  let file: String

  init(_ node: DataNode, file: String, known: [String]) throws(Problem) {
    (self.node, self.file) = (node, file)
    guard let members = node.members else {
      throw Problem(.badData, "an object is needed here", at: "\(file):\(node.line)")
    }
    for member in members where !known.contains(member.key) {
      throw Problem(
        .badData, "unknown key \"\(member.key)\"", at: "\(file):\(member.line)",
        cure: "known are \(known.joined(separator: ", "))")
    }
  }

  func problem(_ key: String, _ what: String, cure: String? = nil) -> Problem {
    Problem(.badData, "\"\(key)\" \(what)", at: "\(file):\(node[key]?.line ?? node.line)", cure: cure)
  }

  func text(_ key: String) throws(Problem) -> String? {
    guard let member = node[key] else { return nil }
    guard let text = member.text else { throw problem(key, "must be a text") }
    return text
  }

  func needed(_ key: String) throws(Problem) -> String {
    guard let text = try text(key), !text.isEmpty else { throw problem(key, "is missing or empty") }
    return text
  }

  func flag(_ key: String) throws(Problem) -> Bool? {
    guard let member = node[key] else { return nil }
    guard let flag = member.flag else { throw problem(key, "must be true or false") }
    return flag
  }

  func count(_ key: String, upTo most: Int) throws(Problem) -> Int? {
    guard let member = node[key] else { return nil }
    guard let count = member.integer, (0...most).contains(count) else {
      throw problem(key, "must be a whole number from 0 to \(most)")
    }
    return count
  }

  /// A list of texts; one text counts as a list of one.
  func texts(_ key: String) throws(Problem) -> [String]? {
    guard let member = node[key] else { return nil }
    if let text = member.text { return [text] }
    guard let list = member.list else { throw problem(key, "must be a list of texts") }
    var texts: [String] = []
    for element in list {
      guard let text = element.text else { throw problem(key, "must be a list of texts") }
      texts.append(text)
    }
    return texts
  }

  /// One of a closed list of names.
  func choice<T: RawRepresentable & CaseIterable>(_ key: String, _ type: T.Type) throws(Problem) -> T?
  where T.RawValue == String {
    guard let name = try text(key) else { return nil }
    return try Self.named(name, key, type, self)
  }

  func choices<T: RawRepresentable & CaseIterable>(_ key: String, _ type: T.Type) throws(Problem) -> [T]?
  where T.RawValue == String {
    guard let names = try texts(key) else { return nil }
    var found: [T] = []
    for name in names { found.append(try Self.named(name, key, type, self)) }
    return found
  }

  private static func named<T: RawRepresentable & CaseIterable>(
    _ name: String, _ key: String, _ type: T.Type, _ reader: DefinitionReader
  ) throws(Problem) -> T where T.RawValue == String {
    guard let value = T(rawValue: name) else {
      throw reader.problem(
        key, "has the unknown value \"\(name)\"",
        cure: "known are \(T.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return value
  }

  func template(_ key: String) throws(Problem) -> Template? {
    guard let text = try text(key) else { return nil }
    do throws(Problem) { return try Template(text) } catch {
      throw problem(key, "is damaged: \(error.what)", cure: error.cure)
    }
  }

  func list(_ key: String) throws(Problem) -> ListTemplate? {
    guard let member = node[key] else { return nil }
    if member.text != nil { return try template(key).map { .one($0) } }
    var templates: [Template] = []
    for text in try texts(key) ?? [] {
      do throws(Problem) { templates.append(try Template(text)) } catch {
        throw problem(key, "is damaged: \(error.what)", cure: error.cure)
      }
    }
    guard !templates.isEmpty else { throw problem(key, "is empty") }
    return .each(templates)
  }
}

extension EvaluationTask {
  static let keys = [
    "task", "like", "alias", "version", "summary", "output", "data", "split", "fewshot", "description",
    "prompt",
    "choices", "contexts", "continuation", "target", "target_names", "delimiter", "fewshot_delimiter",
    "preprocess",
    "metrics", "protocol", "id",
  ]

  /// Reads a task from the object of a file, what it inherits already in it.
  init(_ node: DataNode, file: String) throws(Problem) {
    let reader = try DefinitionReader(node, file: file, known: Self.keys)
    name = try reader.needed("task")
    guard name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "_-.".contains($0)) }) else {
      throw reader.problem("task", "must consist of letters, digits, \"_\", \"-\" and \".\"")
    }
    alias = try reader.text("alias") ?? name
    version = node["version"]?.printed ?? "1.0"
    summary = try reader.text("summary") ?? ""
    guard let output = try reader.choice("output", Output.self) else {
      throw reader.problem("output", "is missing")
    }
    self.output = output
    protocolName = try reader.text("protocol")
    preprocessors = try reader.choices("preprocess", Preprocessor.self) ?? []
    identifier = try reader.template("id")
    metrics = try reader.choices("metrics", TaskMetric.self) ?? []
    prompts = TaskPrompts(
      prompt: try reader.template("prompt"), choices: try reader.list("choices"),
      contexts: try reader.list("contexts"), continuation: try reader.template("continuation"),
      target: try reader.template("target"), targetNames: try reader.list("target_names"),
      delimiter: try reader.text("delimiter") ?? " ")
    let shots = try DefinitionReader(
      node["fewshot"] ?? DataNode(.object([])), file: file, known: ["count", "split", "sampler"])
    fewShotCount = try shots.count("count", upTo: 1000) ?? 0
    fewShot = FewShotRule(
      sampler: try shots.choice("sampler", FewShotRule.Sampler.self) ?? .random,
      split: try shots.text("split"),
      delimiter: try reader.text("fewshot_delimiter") ?? "\n\n",
      description: try reader.template("description"))
    sources = [:]
    for member in node["data"]?.members ?? [] {
      sources[member.key] = try DataSource(member.node, file: file)
    }
    split = try reader.text("split") ?? (sources["test"] != nil ? "test" : "validation")
    definition = node.canonical
    try check(reader)
  }

  private func check(_ reader: DefinitionReader) throws(Problem) {
    if output == .perplexity {
      guard protocolName != nil else { throw reader.problem("protocol", "is missing") }
      return
    }
    guard sources[split] != nil else {
      throw reader.problem("split", "names \"\(split)\", of which \"data\" says nothing")
    }
    guard !metrics.isEmpty else { throw reader.problem("metrics", "is missing or empty") }
    for metric in metrics where !metric.fits(output) {
      throw reader.problem("metrics", "has \(metric.rawValue), which \(output.rawValue) does not give")
    }
    switch output {
    case .multipleChoice:
      guard (prompts.choices != nil) != (prompts.contexts != nil) else {
        throw reader.problem("choices", "or \"contexts\" must be given, one of the two")
      }
      if prompts.contexts != nil {
        guard prompts.continuation != nil else { throw reader.problem("continuation", "is missing") }
      } else if prompts.prompt == nil {
        throw reader.problem("prompt", "is missing")
      }
      guard prompts.target != nil else { throw reader.problem("target", "is missing") }
    case .likelihood:
      guard prompts.prompt != nil else { throw reader.problem("prompt", "is missing") }
      guard prompts.target != nil else { throw reader.problem("target", "is missing") }
    case .rolling: guard prompts.target != nil else { throw reader.problem("target", "is missing") }
    case .perplexity: break
    }
  }
}
