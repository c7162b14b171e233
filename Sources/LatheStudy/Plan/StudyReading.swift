internal import Foundation
internal import LatheEvaluate
internal import LatheQuantize
public import LatheTensor

extension Study {
  /// Reads the plan at `path`.
  ///
  /// - Throws: `Problem` that names the line, where a key is unknown, a value out of range, or a file missing.
  public init(reading path: String) throws(Problem) {
    try self.init(PlanNode(reading: path), folder: LatheTensor.folder(ofPath: path))
  }

  /// Reads a plan from `text`; paths in it are relative to `folder`, else to the working directory.
  ///
  /// - Throws: `Problem` as `init(reading:)` does.
  public init(text: String, file: String = "plan", folder: String) throws(Problem) {
    try self.init(PlanNode(text: text, file: file), folder: folder)
  }

  private init(_ root: PlanNode, folder: String) throws(Problem) {
    let known = [
      "name", "title", "description", "models", "calibration", "recipes", "measures", "keep", "published",
    ]
    let members = try root.members(known)
    func need(_ key: String) throws(Problem) -> PlanNode {
      guard let node = members[key] else {
        throw root.problem(
          "the plan has no \"\(key)\"", cure: "a plan needs name, models, recipes and measures")
      }
      return node
    }
    name = try need("name").fileName()
    title = try members["title"]?.text() ?? name
    summary = try members["description"]?.text().trimmingCharacters(in: .whitespacesAndNewlines)
    models = try need("models").list(of: "model").map { (node) throws(Problem) in
      try StudyModel(node, folder: folder)
    }
    calibration = try members["calibration"].map { (node) throws(Problem) in
      try CalibrationText(plan: node, folder: folder)
    }
    var recipes: [StudyRecipe] = []
    for node in try need("recipes").list(of: "recipe") {
      for recipe in try StudyRecipe.expanding(node, folder: folder) {
        if let twin = recipes.first(where: {
          ($0.recipe.rules == recipe.recipe.rules && $0.recipe.transforms == recipe.recipe.transforms)
            || $0.label == recipe.label
        }) {
          throw node.problem(
            "the recipe \"\(twin.label)\" occurs twice", cure: "remove one, or give it another label")
        }
        if members["calibration"] == nil, recipe.recipe.evidence != [] {
          throw node.problem(
            "the recipe \"\(recipe.label)\" needs calibration text and the plan has none",
            cure: "add calibration: {text: self}, or a file's name for self")
        }
        recipes.append(recipe)
      }
    }
    self.recipes = recipes
    var measures: [Measure] = []
    for node in try need("measures").list(of: "measure") {
      for measure in try Measure.reading(node, folder: folder) {
        if measures.contains(where: { $0.protocolName == measure.protocolName }) {
          throw node.problem("the measure \(measure.protocolName) occurs twice", cure: "remove one")
        }
        measures.append(measure)
      }
    }
    self.measures = measures
    published = try members["published"].map { (node) throws(Problem) in
      let members = try node.members(["file", "source"])
      guard let file = members["file"], let source = members["source"] else {
        throw node.problem("published figures need a file and a source")
      }
      return try PublishedFigures(reading: file.existing(in: folder), source: source.text())
    }
    keepsModels = try members["keep"]?.flag() ?? true
    let labels = models.map(\.label)
    guard Set(labels).count == labels.count else {
      throw try need("models").problem("two models have one label", cure: "give each a label of its own")
    }
  }
}

extension StudyModel {
  init(_ node: PlanNode, folder: String) throws(Problem) {
    if node.isScalar {
      path = try node.existing(in: folder)
    } else {
      let members = try node.members(["path", "label", "tokenizer"])
      guard let place = members["path"] else { throw node.problem("a model needs a path") }
      path = try place.existing(in: folder)
      tokenizer = try members["tokenizer"]?.existing(in: folder)
      if let given = try members["label"]?.text() {
        label = given
        return
      }
    }
    label =
      (((path as NSString).standardizingPath as NSString).lastPathComponent as NSString).deletingPathExtension
  }
}

extension CalibrationText {
  init(plan node: PlanNode, folder: String) throws(Problem) {
    let members = try node.members(["text", "samples", "length", "seed"])
    guard let place = members["text"] else {
      throw node.problem(
        "calibration needs a text", cure: "name a file, a protocol, or self for text the model writes")
    }
    var text = try place.text()
    if text != "self", !ProtocolCatalog.all.contains(where: { $0.name == text }) {
      text = try place.existing(in: folder)
    }
    self.init(
      text, samples: try members["samples"]?.integer(1...1 << 20) ?? 128,
      length: try members["length"]?.integer(1...1 << 20) ?? 512, seed: try members["seed"]?.seed())
  }
}

extension Measure {
  /// The measures of one entry of a plan: `tasks` may name several.
  static func reading(_ node: PlanNode, folder: String) throws(Problem) -> [Measure] {
    let members = try node.members(["perplexity", "speed", "tasks"])
    guard members.count == 1, let (kind, body) = members.first else {
      throw node.problem("a measure is perplexity, speed or tasks", cure: "begin each with \"- \"")
    }
    switch kind {
    case "speed": return [.speed(try SpeedMeasure(body))]
    case "tasks": return try tasks(body, folder: folder)
    default: return [.perplexity(try PerplexityMeasure(body, folder: folder))]
    }
  }
}

extension SpeedMeasure {
  init(_ node: PlanNode) throws(Problem) {
    let members = try node.members(["prompt", "generate", "repetitions"])
    self.init(
      prompt: try members["prompt"]?.integer(1...1 << 20) ?? 512,
      generate: try members["generate"]?.integer(1...1 << 20) ?? 128,
      repetitions: try members["repetitions"]?.integer(1...1000) ?? 5)
  }
}

extension PerplexityMeasure {
  init(_ node: PlanNode, folder: String) throws(Problem) {
    let members = try node.members(["protocol", "text", "window", "bos", "windows", "seed", "divergence"])
    windows = try members["windows"]?.integer(1...1 << 20)
    measuresDivergence = try members["divergence"]?.flag() ?? true
    window = try members["window"]?.integer(2...1 << 20) ?? 512
    beginning = .first
    if let bos = members["bos"] {
      guard
        let rule = [.every, .first, .none].first(where: { (b: PerplexityProtocol.Beginning) in
          b.rawValue == (try? bos.text())
        })
      else { throw bos.problem("bos must be every, first or none") }
      beginning = rule
    }
    switch (members["protocol"], members["text"]) {
    case (let name?, nil):
      try Self.refuse(["window", "bos", "seed"], in: members, "a named protocol has its own")
      let found = try name.blame { () throws(Problem) in try ProtocolCatalog.named(try name.text()) }
      (text, window) = (.named(found.name), found.window)
    case (nil, let place?) where try place.text() == "self":
      try Self.refuse(["bos"], in: members, "text the model writes begins every window with one")
      text = .selfWritten(seed: try members["seed"]?.seed() ?? 0)
    case (nil, let place?):
      try Self.refuse(["seed"], in: members, "only text the model writes has one")
      text = .file(try place.existing(in: folder))
    default:
      throw node.problem(
        "perplexity needs either a protocol or a text",
        cure:
          "protocols are \(ProtocolCatalog.all.map(\.name).joined(separator: ", ")); a text is a file, or self"
      )
    }
  }

  private static func refuse(_ keys: [String], in members: [String: PlanNode], _ why: String) throws(Problem)
  {
    for key in keys {
      if let node = members[key] { throw node.problem("\(key) has no place here: \(why)", cure: "remove it") }
    }
  }
}

extension PlanNode {
  /// The path the value names, relative to `folder`, else to the working directory.
  func existing(in folder: String) throws(Problem) -> String {
    let path = try text()
    let beside = path.hasPrefix("/") || folder.isEmpty ? path : folder + "/" + path
    for candidate in [beside, path] where FileManager.default.fileExists(atPath: candidate) {
      return (candidate as NSString).standardizingPath
    }
    throw Problem(
      .noInput, "no such file or folder: \(path)", at: place,
      cure: "paths are relative to the plan's folder, or to the working directory")
  }

  /// A text that can be the name of a folder.
  func fileName() throws(Problem) -> String {
    let name = try text()
    let allowed = CharacterSet.alphanumerics.union(CharacterSet(charactersIn: "-_."))
    guard name.count <= 80, !name.hasPrefix("."), name.unicodeScalars.allSatisfy(allowed.contains) else {
      throw problem("\"\(name)\" cannot name a run", cure: "use letters, digits, \"-\", \"_\" and \".\"")
    }
    return name
  }
}
