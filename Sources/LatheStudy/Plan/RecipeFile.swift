internal import Foundation
public import LatheQuantize
public import LatheTensor

extension Recipe {
  /// Reads a recipe in YAML: a name and rules, each of sites, a method with options, and an encoding or its bits.
  ///
  ///     name: mixed
  ///     rules:
  ///       - {sites: "*.down|0.*", method: gptq, bits: 8, group: 128}
  ///       - {sites: "*", method: gptq, set: {actOrder: true}, encoding: {encoding: integer, bits: 4, group_size: 64}}
  ///
  /// - Throws: `Problem` that names the line, where a key is unknown or a value does not fit.
  public init(reading path: String) throws(Problem) {
    let root = try PlanNode(reading: path)
    let members = try root.members(["name", "rules"])
    guard let rules = members["rules"] else {
      throw root.problem("the recipe has no \"rules\"", cure: "a recipe needs name and rules")
    }
    let file = ((path as NSString).lastPathComponent as NSString).deletingPathExtension
    self.init(
      name: try members["name"]?.text() ?? file,
      rules: try rules.list(of: "rule").map { (rule) throws(Problem) in try Rule(rule) })
  }
}
