internal import Foundation
public import LatheEvaluate
internal import LatheTensor
internal import Yams

/// What a model can do: a task, or a group of them.
public struct TaskMeasure: Codable, Hashable, Sendable {
  /// The task's or group's name.
  public var name: String
  /// The file that defines it, where it is not built in.
  public var file: String?
  /// The number of questions of each task at most.
  public var limit: Int?
  /// The number of examples before a question; nil for the task's own.
  public var fewShot: Int?
  /// What examples are drawn with.
  public var seed: UInt64
  /// How prompts begin.
  public var beginning: BeginningRule

  /// The name that makes two figures comparable.
  public var protocolName: String {
    var name = self.name
    if let fewShot { name += ", \(fewShot)-shot" }
    if let limit { name += " (first \(limit))" }
    if beginning != .tokenizer { name += " (\(beginning.rawValue))" }
    return name
  }

  /// What it is run with.
  var settings: TaskSettings {
    TaskSettings(fewShot: fewShot, limit: limit, seed: seed, beginning: beginning)
  }

  /// The tasks that are known, its own file's among them.
  func catalog() throws(Problem) -> TaskCatalog {
    var catalog = try TaskCatalog.builtIn()
    if let file { try catalog.add(reading: file) }
    return catalog
  }
}

extension Measure {
  /// The measures of a plan's `tasks`: one for each name; an alias of a protocol of perplexity is one of perplexity.
  static func tasks(_ node: PlanNode, folder: String) throws(Problem) -> [Measure] {
    var names = [node]
    var limit: Int?, fewShot: Int?, seed: UInt64 = 1234, beginning = BeginningRule.tokenizer
    if case .sequence = node.node {
      names = try node.list(of: "task")
    } else if !node.isScalar {
      let members = try node.members(["names", "limit", "num_fewshot", "seed", "preset"])
      guard let list = members["names"] else {
        throw node.problem(
          "tasks need names", cure: "lathe tasks lists them: {names: [piqa, winogrande], limit: 200}")
      }
      names = list.items
      limit = try members["limit"]?.integer(1...1 << 24)
      fewShot = try members["num_fewshot"]?.integer(0...1000)
      seed = try members["seed"]?.seed() ?? seed
      if let preset = members["preset"] {
        guard let rule = BeginningRule(rawValue: try preset.text()) else {
          throw preset.problem(
            "preset must be \(BeginningRule.allCases.map(\.rawValue).joined(separator: " or "))")
        }
        beginning = rule
      }
    }
    var measures: [Measure] = []
    for name in names {
      let text = try name.text()
      let file = text.hasSuffix(".json") ? try name.existing(in: folder) : nil
      let known = try name.blame { () throws(Problem) in
        var catalog = try TaskCatalog.builtIn()
        let found = try catalog.resolve([file ?? text])[0]
        return (name: found, protocolName: catalog.task(found)?.protocolName)
      }
      if let protocolName = known.protocolName {
        let found = try ProtocolCatalog.named(protocolName)
        measures.append(
          .perplexity(
            PerplexityMeasure(
              text: .named(protocolName), window: found.window, beginning: .first, windows: limit,
              measuresDivergence: true)))
      } else {
        measures.append(
          .task(
            TaskMeasure(
              name: known.name, file: file, limit: limit, fewShot: fewShot, seed: seed, beginning: beginning))
        )
      }
    }
    return measures
  }
}
