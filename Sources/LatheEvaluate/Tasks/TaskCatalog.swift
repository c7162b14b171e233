internal import Foundation
public import LatheTensor

/// The tasks and groups that are known by name, and those that a user's files define.
public struct TaskCatalog: Sendable {
  /// The tasks in their order.
  public private(set) var tasks: [EvaluationTask] = []
  /// The groups in their order, outer ones before inner ones.
  public private(set) var groups: [TaskGroup] = []
  /// What files hold, by the name they define: others may be like it.
  private var sources: [String: (node: DataNode, file: String)] = [:]

  /// The embedded files. A new task that all should have is one line here; one's own is read from its path.
  private static let embedded: [(name: String, bytes: [UInt8])] = [
    ("commonsense.json", PackageResources.commonsense_json), ("piqa.json", PackageResources.piqa_json),
    ("arc_easy.json", PackageResources.arc_easy_json),
    ("arc_challenge.json", PackageResources.arc_challenge_json),
    ("hellaswag.json", PackageResources.hellaswag_json),
    ("winogrande.json", PackageResources.winogrande_json),
    ("boolq.json", PackageResources.boolq_json),
    ("lambada_openai.json", PackageResources.lambada_openai_json),
    ("wikitext.json", PackageResources.wikitext_json),
    ("wikitext2_gptq_2048.json", PackageResources.wikitext2_gptq_2048_json),
    ("c4_gptq_new.json", PackageResources.c4_gptq_new_json),
    ("ptb_gptq.json", PackageResources.ptb_gptq_json),
    ("ptb_gptq_new.json", PackageResources.ptb_gptq_new_json),
    ("wikitext2_llamacpp_512.json", PackageResources.wikitext2_llamacpp_512_json),
    ("mmlu.json", PackageResources.mmlu_json),
  ]

  private static let shared: Result<TaskCatalog, Problem> = Result { () throws(Problem) in
    var catalog = TaskCatalog()
    for file in embedded {
      _ = try catalog.add(DataParser.parse(file.bytes, file: file.name), file: file.name)
    }
    return catalog
  }

  private init() {}

  /// The tasks that are built in.
  ///
  /// - Throws: `Problem` where an embedded file is damaged, which a test rules out.
  public static func builtIn() throws(Problem) -> TaskCatalog { try shared.get() }

  // MARK: Reading

  /// Adds what the file at `path` defines.
  ///
  /// - Returns: the names it defines: a task, or a family's group.
  /// - Throws: `Problem` of kind `badData` with file and line where it is not a task file.
  @discardableResult
  public mutating func add(reading path: String) throws(Problem) -> String {
    let bytes = try Bytes(mapping: path)
    guard bytes.count <= 1 << 20 else {
      throw Problem(
        .badData, "\(bytes.count) bytes are too many for a task", at: path, cure: "keep it below 1 MiB")
    }
    return try add(DataParser.parse(bytes.elements(as: UInt8.self), file: path), file: path)
  }

  private mutating func add(_ node: DataNode, file: String) throws(Problem) -> String {
    guard node.members != nil else {
      throw Problem(.badData, "a task file holds one object", at: "\(file):\(node.line)")
    }
    if node["tasks"] != nil { return try addGroup(node, file) }
    let whole = try inherit(node, file)
    if let each = whole["each"] { return try addFamily(whole, each, file) }
    let task = try EvaluationTask(whole, file: file)
    guard !isKnown(task.name) else {
      throw Problem(
        .badData, "the task \"\(task.name)\" is known already",
        at: "\(file):\(node["task"]?.line ?? node.line)",
        cure: "give it another name")
    }
    tasks.append(task)
    sources[task.name] = (whole, file)
    return task.name
  }

  /// The object with what it is like beneath it.
  private func inherit(_ node: DataNode, _ file: String) throws(Problem) -> DataNode {
    guard let like = node["like"] else { return node }
    guard let name = like.text, let parent = sources[name] else {
      throw Problem(
        .badData, "\"like\" names \"\(like.printed ?? "?")\", which is no task known here",
        at: "\(file):\(like.line)",
        cure: "known are \(sources.keys.sorted().joined(separator: ", "))")
    }
    var members = parent.node.members ?? []
    for member in node.members ?? [] where member.key != "like" {
      members.removeAll { $0.key == member.key }
      members.append(member)
    }
    return DataNode(.object(members), line: node.line)
  }

  private mutating func addGroup(_ node: DataNode, _ file: String) throws(Problem) -> String {
    let reader = try DefinitionReader(
      node, file: file, known: ["group", "alias", "version", "summary", "tasks", "weight", "metrics"])
    let name = try reader.needed("group")
    let weight = try reader.text("weight") ?? "size"
    guard ["size", "task"].contains(weight) else { throw reader.problem("weight", "must be size or task") }
    guard !isKnown(name) else {
      throw reader.problem("group", "is known already", cure: "give it another name")
    }
    groups.append(
      TaskGroup(
        name: name, alias: try reader.text("alias") ?? name, version: node["version"]?.printed ?? "N/A",
        summary: try reader.text("summary") ?? "", members: try reader.texts("tasks") ?? [],
        weightsBySize: weight == "size",
        metrics: try reader.choices("metrics", TaskMetric.self) ?? [.accuracy]))
    return name
  }

  /// Adds a task for each word of `each`, and groups of them: `{"stem": ["anatomy", …], …}`.
  private mutating func addFamily(_ node: DataNode, _ each: DataNode, _ file: String) throws(Problem)
    -> String
  {
    let reader = try DefinitionReader(
      node, file: file, known: EvaluationTask.keys + ["each", "group", "group_version"])
    let name = try reader.needed("group"), version = node["group_version"]?.printed ?? "1"
    guard let parts = each.members, !parts.isEmpty else {
      throw reader.problem("each", "must be an object of lists")
    }
    guard !isKnown(name) else {
      throw reader.problem("group", "is known already", cure: "give it another name")
    }
    let metrics = try reader.choices("metrics", TaskMetric.self) ?? [.accuracy]
    let pattern = DataNode(
      .object((node.members ?? []).filter { !["each", "group", "group_version"].contains($0.key) }),
      line: node.line)
    func group(_ name: String, _ alias: String, _ members: [String]) -> TaskGroup {
      TaskGroup(
        name: name, alias: alias, version: version, summary: node["summary"]?.text ?? "", members: members,
        weightsBySize: true, metrics: metrics)
    }
    groups.append(group(name, name, parts.map { "\(name)_\($0.key)" }))
    for part in parts {
      var members: [String] = []
      for word in part.node.list ?? [] {
        guard let text = word.text else {
          throw reader.problem("each", "must be an object of lists of texts")
        }
        let task = try EvaluationTask(pattern.filling("each", text), file: file)
        guard !isKnown(task.name) else { throw reader.problem("each", "defines \"\(task.name)\" twice") }
        members.append(task.name)
        tasks.append(task)
        sources[task.name] = (pattern.filling("each", text), file)
      }
      groups.append(group("\(name)_\(part.key)", part.key.filling(spaces: true), members))
    }
    return name
  }

  // MARK: Finding

  private func isKnown(_ name: String) -> Bool {
    tasks.contains { $0.name == name } || groups.contains { $0.name == name }
  }

  /// The task called `name`.
  public func task(_ name: String) -> EvaluationTask? { tasks.first { $0.name == name } }

  /// The group called `name`.
  public func group(_ name: String) -> TaskGroup? { groups.first { $0.name == name } }

  /// Adds the files among `names`, and gives the names they stand for.
  ///
  /// - Throws: `Problem` of kind `usage` where one is no task, group or file, or occurs twice.
  public mutating func resolve(_ names: [String]) throws(Problem) -> [String] {
    var found: [String] = []
    for name in names {
      let known: String
      if isKnown(name) {
        known = name
      } else if name.hasSuffix(".json") {
        known = try add(reading: name)
      } else {
        throw Problem(
          .usage, "unknown task \"\(name)\"",
          cure: "lathe tasks lists them; a task file of one's own ends in .json")
      }
      guard !found.contains(known) else { throw Problem(.usage, "the task \"\(known)\" is given twice") }
      found.append(known)
    }
    return found
  }

  /// The tasks that a name stands for, in their order: itself, or those of a group and its groups.
  ///
  /// - Throws: `Problem` of kind `badData` where a group names what is not known, or itself.
  public func leaves(of name: String) throws(Problem) -> [EvaluationTask] { try leaves(of: name, depth: 0) }

  private func leaves(of name: String, depth: Int) throws(Problem) -> [EvaluationTask] {
    if let task = task(name) { return [task] }
    guard let group = group(name), depth < 8 else {
      throw Problem(.badData, "a group names \"\(name)\", which is no task known here, or itself")
    }
    var found: [EvaluationTask] = []
    for member in group.members { found += try leaves(of: member, depth: depth + 1) }
    return found
  }
}

extension String {
  fileprivate func filling(spaces: Bool) -> String {
    split(separator: "_", omittingEmptySubsequences: false).joined(separator: " ")
  }
}

extension DataNode {
  /// The node with `{key}` replaced in every text, and `{key spaces}` by the word with spaces for underscores.
  func filling(_ key: String, _ word: String) -> DataNode {
    switch value {
    case .text(let text):
      let filled = WikitextText.replaced(
        text, [("{\(key) spaces}", word.filling(spaces: true)), ("{\(key)}", word)])
      return DataNode(.text(filled), line: line)
    case .list(let list): return DataNode(.list(list.map { $0.filling(key, word) }), line: line)
    case .object(let members):
      return DataNode(
        .object(members.map { Member(key: $0.key, line: $0.line, node: $0.node.filling(key, word)) }),
        line: line)
    default: return self
    }
  }
}
