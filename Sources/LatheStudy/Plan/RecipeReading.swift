internal import Foundation
internal import LatheEncoding
internal import LatheQuantize
internal import LatheTensor
internal import Yams

extension StudyRecipe {
  private static let shortKeys = ["method", "bits", "encoding", "group", "symmetric", "set", "label"]

  /// The recipes an entry of a plan stands for: a file's, that of rules, or every combination of the lists in it.
  static func expanding(_ node: PlanNode, folder: String) throws(Problem) -> [StudyRecipe] {
    let members = try node.members(shortKeys + ["rules", "file", "preset"])
    if let presets = members["preset"] {
      _ = try node.members(["preset"])
      return try presets.items.map { (item) throws(Problem) in try preset(item) }
    }
    if let file = members["file"] {
      let only = try node.members(["file", "label"])
      let path = try file.existing(in: folder)
      var recipe = try Recipe(reading: path)
      let label = try only["label"]?.text() ?? recipe.name
      recipe.name = label
      return [StudyRecipe(label: label, family: label, recipe: recipe, options: "--recipe \(path)")]
    }
    if let rules = members["rules"] {
      let only = try node.members(["rules", "label"])
      guard let label = try only["label"]?.text() else {
        throw node.problem("a recipe of rules needs a label")
      }
      let recipe = Recipe(
        name: label, rules: try rules.list(of: "rule").map { (rule) throws(Problem) in try Rule(rule) })
      return [StudyRecipe(label: label, family: label, recipe: recipe, options: nil)]
    }
    return try combinations(node, members)
  }

  /// A recipe known by name.
  private static func preset(_ node: PlanNode) throws(Problem) -> StudyRecipe {
    let name = try node.text()
    guard let preset = PresetCatalog[name], preset.suitsEveryModel else {
      throw node.problem(
        "there is no preset \"\(name)\" for plans",
        cure: "`lathe recipes` lists the names; mixes of GGUF types are not among these")
    }
    let recipe = try node.blame { () throws(Problem) in try preset.recipe(for: nil) }
    return StudyRecipe(label: name, family: preset.title, recipe: recipe, options: "--recipe \(name)")
  }

  /// Bits vary slowest and methods fast, so that what is to be compared stands together.
  private static func combinations(_ node: PlanNode, _ members: [String: PlanNode]) throws(Problem)
    -> [StudyRecipe]
  {
    guard let methods = members["method"]?.items else {
      throw node.problem(
        "a recipe needs a method",
        cure: "or rules with a label, or a file; methods are \(MethodCatalog.names.joined(separator: ", ")),"
          + " transforms before them \(TransformCatalog.names.joined(separator: ", "))")
    }
    if members["encoding"] != nil, members["bits"] ?? members["group"] ?? members["symmetric"] != nil {
      throw node.problem("an encoding's name says bits, group and symmetric", cure: "leave these out")
    }
    let widths: [PlanNode?] = (members["encoding"] ?? members["bits"])?.items ?? [nil]
    let groups = try members["group"]?.items.map { (item) throws(Problem) -> Int? in
      try item.integer(0...1 << 20)
    }
    let signs = try members["symmetric"]?.items.map { (item) throws(Problem) -> Bool? in try item.flag() }
    let settings = try Self.settings(members["set"])
    let label = try members["label"]?.text()
    var recipes: [StudyRecipe] = []
    for width in widths {
      for group in groups ?? [nil] {
        for symmetric in signs ?? [nil] {
          for method in methods {
            for set in settings {
              let one = ShortForm(
                method: method, bits: members["encoding"] == nil ? width : nil,
                encoding: members["encoding"] == nil ? nil : width, group: group, symmetric: symmetric,
                settings: set)
              recipes.append(try one.recipe())
            }
          }
        }
      }
    }
    if let label {
      for i in recipes.indices {
        recipes[i].label = recipes.count == 1 ? label : "\(label) \(recipes[i].label)"
        recipes[i].family = recipes.count == 1 ? label : "\(label) \(recipes[i].family)"
      }
    }
    return recipes
  }

  /// Every combination of an entry's options.
  private static func settings(_ node: PlanNode?) throws(Problem) -> [[(key: String, value: String)]] {
    var all: [[(key: String, value: String)]] = [[]]
    for entry in try node?.entries() ?? [] {
      let values = try entry.items.map { (item) throws(Problem) in try item.text() }
      all = all.flatMap { begun in values.map { begun + [(entry.name, $0)] } }
    }
    return all
  }
}

/// One combination of an entry in short form.
private struct ShortForm {
  let method: PlanNode
  let bits: PlanNode?
  let encoding: PlanNode?
  let group: Int?
  let symmetric: Bool?
  let settings: [(key: String, value: String)]

  func recipe() throws(Problem) -> StudyRecipe {
    let name = try method.text()
    let chain = try method.blame { () throws(Problem) in try Chain(name, setting: settings) }
    var request = chain.defaults
    if let bits { request.bits = try bits.number() }
    if let group { request.groupSize = group == 0 ? nil : group }
    if let symmetric { request.isSymmetric = symmetric }
    if let encoding { request.family = try encoding.text() }
    if bits == nil, encoding == nil, !chain.bringsEncoding {
      throw method.problem("\(name) needs bits", cure: "say {method: \(name), bits: [4, 3]}")
    }
    let grid = try (bits ?? encoding ?? method).blame { () throws(Problem) in
      try EncodingCatalog.grid(for: request)
    }
    var recipe = chain.recipe(grid)
    let extras = settings.map { $0.value == "true" ? $0.key : "\($0.key)=\($0.value)" }
    if !extras.isEmpty { recipe.name += " " + extras.joined(separator: " ") }
    var family = [chain.title]
    if !chain.bringsEncoding {
      if request.groupSize != chain.defaults.groupSize {
        family.append(request.groupSize.map { "g\($0)" } ?? "rows")
      }
      if request.isSymmetric != chain.defaults.isSymmetric {
        family.append(request.isSymmetric ? "symmetric" : "asymmetric")
      }
    }
    return StudyRecipe(
      label: recipe.name, family: (family + extras).joined(separator: " "), recipe: recipe,
      options: options(name, request))
  }

  private func options(_ name: String, _ request: GridRequest) -> String {
    var options = "--method \(name)"
    let width = request.bits
    if bits != nil { options += " --bits \(width == width.rounded() ? "\(Int(width))" : "\(width)")" }
    if let family = request.family { options += " --encoding \(family)" }
    if bits != nil || group != nil { options += " --group-size \(request.groupSize ?? 0)" }
    if symmetric == true { options += " --symmetric" }
    for setting in settings { options += " --set \(setting.key)=\(setting.value)" }
    return options
  }
}

extension Rule {
  /// A rule of a recipe: sites, a method, and either an encoding or bits, group and symmetric.
  init(_ node: PlanNode) throws(Problem) {
    let members = try node.members(["sites", "method", "set", "encoding", "bits", "group", "symmetric"])
    let sites = try members["sites"]?.text() ?? "*"
    guard let name = members["method"] else { throw node.problem("a rule needs a method") }
    var settings: [(key: String, value: String)] = []
    for entry in try members["set"]?.entries() ?? [] { settings.append((entry.name, try entry.text())) }
    let method = try name.blame { () throws(Problem) in
      try MethodDescription(name: try name.text(), setting: settings)
    }
    let grid: any Grid
    if let encoding = members["encoding"] {
      _ = try node.members(["sites", "method", "set", "encoding"])
      grid = try encoding.grid()
    } else {
      guard let bits = members["bits"] else { throw node.problem("a rule needs bits, or an encoding") }
      let group = try members["group"]?.integer(0...1 << 20) ?? 128
      let symmetric = try members["symmetric"]?.flag() ?? false
      let width = try bits.number()
      let request = GridRequest(bits: width, groupSize: group == 0 ? nil : group, isSymmetric: symmetric)
      grid = try bits.blame { () throws(Problem) in try EncodingCatalog.grid(for: request) }
    }
    self.init(sites: sites, method: method.method, encoding: grid)
  }
}

extension PlanNode {
  /// A grid by the name a request may ask by, or by the encoding's name and settings.
  fileprivate func grid() throws(Problem) -> any Grid {
    if let family = node.scalar?.string {
      let request = GridRequest(bits: 4, groupSize: 128, isSymmetric: false, family: family)
      return try blame { () throws(Problem) in try EncodingCatalog.grid(for: request) }
    }
    guard let found = try encoding() as? any Grid else {
      throw problem("no method can choose codes of this encoding")
    }
    return found
  }

  /// An encoding by name and settings, in the form model files describe it.
  fileprivate func encoding() throws(Problem) -> any Encoding {
    var object: [String: Any] = [:]
    for entry in try entries() {
      let scalar = entry.node.scalar?.string ?? ""
      object[entry.name] = Int(scalar) ?? Double(scalar) ?? Bool(scalar) ?? scalar
    }
    do {
      let description = try JSONDecoder().decode(
        EncodingDescription.self, from: JSONSerialization.data(withJSONObject: object))
      let back =
        try JSONSerialization.jsonObject(with: JSONEncoder().encode(description)) as? [String: Any] ?? [:]
      for entry in try entries() where back[entry.name] == nil {
        throw entry.problem(
          "the encoding has no setting \"\(entry.name)\"",
          cure: "known are \(back.keys.sorted().joined(separator: ", "))")
      }
      return description.encoding
    } catch let problem as Problem {
      throw Problem(.badData, problem.what, at: problem.place ?? place, cure: problem.cure)
    } catch {
      throw problem(
        "the encoding is not complete, or a setting does not fit it",
        cure: "say {encoding: NAME, …}; names are \(EncodingCatalog.names.joined(separator: ", "))")
    }
  }
}
