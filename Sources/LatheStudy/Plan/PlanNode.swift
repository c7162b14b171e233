internal import Foundation
internal import LatheTensor
internal import Yams

/// A value in a YAML file, which knows where it stands.
struct PlanNode {
  let node: Node
  let file: String
  /// What the value is, for sentences: "bits", "measures", ….
  let name: String

  /// The root of the YAML file at `path`.
  ///
  /// - Throws: `Problem` where the file is missing, is not YAML, or is larger than any plan.
  init(reading path: String) throws(Problem) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue else {
      throw Problem(.noInput, "no such file", at: path, cure: "check the path")
    }
    let bytes = try Bytes(mapping: path)
    guard bytes.count <= 1 << 18 else {
      throw Problem(
        .badData, "\(bytes.count) bytes are too many for a plan or a recipe", at: path,
        cure: "keep it below 256 KiB")
    }
    try self.init(text: bytes.text, file: path)
  }

  init(text: String, file: String) throws(Problem) {
    do {
      guard let root = try Yams.compose(yaml: text) else {
        throw Problem(
          .badData, "the file is empty", at: file, cure: "the project's Studies folder has an example")
      }
      self.init(root, file: file, name: "the file")
    } catch let problem as Problem {
      throw problem
    } catch let error as YamlError {
      throw Self.problem(error, file)
    } catch {
      throw Problem(.badData, "the file is not YAML", at: file)
    }
  }

  private init(_ node: Node, file: String, name: String) {
    (self.node, self.file, self.name) = (node, file, name)
  }

  private static func problem(_ error: YamlError, _ file: String) -> Problem {
    let cure = "correct the YAML"
    switch error {
    case .scanner(_, let what, let mark, _), .parser(_, let what, let mark, _),
      .composer(_, let what, let mark, _):
      return Problem(.badData, "not YAML: \(what)", at: "\(file):\(mark.line)", cure: cure)
    case .duplicatedKeysInMapping(let keys, let context):
      return Problem(
        .badData, "the key \(keys.map { "\"\($0)\"" }.joined(separator: ", ")) occurs twice",
        at: "\(file):\(context.mark.line)", cure: "remove one")
    case .reader(let what, _, _, _): return Problem(.badData, "not YAML: \(what)", at: file, cure: cure)
    default: return Problem(.badData, "the file is not YAML", at: file, cure: cure)
    }
  }

  /// The file, and the line where the value stands.
  var place: String { node.mark.map { "\(file):\($0.line)" } ?? file }

  /// A problem with this value.
  func problem(_ what: String, cure: String? = nil) -> Problem {
    Problem(.badData, what, at: place, cure: cure)
  }

  /// Runs `body`, whose problems are this value's.
  func blame<T>(_ body: () throws(Problem) -> T) throws(Problem) -> T {
    do throws(Problem) {
      return try body()
    } catch {
      let kind: Problem.Kind = error.kind == .usage ? .badData : error.kind
      throw Problem(kind, error.what, at: error.place ?? place, cure: error.cure)
    }
  }

  // MARK: Shapes

  /// The members of a mapping, every key of which is in `known`.
  func members(_ known: [String]) throws(Problem) -> [String: PlanNode] {
    guard case .mapping(let mapping) = node else {
      throw problem("\(name) must be a mapping", cure: "its keys are \(known.joined(separator: ", "))")
    }
    var members: [String: PlanNode] = [:]
    for (key, value) in mapping {
      let text = key.string ?? "?"
      guard known.contains(text) else {
        throw PlanNode(key, file: file, name: text).problem(
          "unknown key \"\(text)\" in \(name)", cure: "known are \(known.joined(separator: ", "))")
      }
      members[text] = PlanNode(value, file: file, name: text)
    }
    return members
  }

  /// The members of a mapping in their order, whatever their keys.
  func entries() throws(Problem) -> [PlanNode] {
    guard case .mapping(let mapping) = node else { throw problem("\(name) must be a mapping of key: value") }
    return mapping.map { PlanNode($0.value, file: file, name: $0.key.string ?? "?") }
  }

  /// The items of a list; a lone value counts as a list of one.
  var items: [PlanNode] {
    guard case .sequence(let sequence) = node else { return [self] }
    return sequence.map { PlanNode($0, file: file, name: name) }
  }

  /// The items of a list that must be one, under the name each has in sentences.
  func list(of item: String) throws(Problem) -> [PlanNode] {
    guard case .sequence(let sequence) = node else {
      throw problem("\(name) must be a list", cure: "begin each entry with \"- \"")
    }
    guard !sequence.isEmpty else { throw problem("\(name) is empty", cure: "list at least one \(item)") }
    return sequence.map { PlanNode($0, file: file, name: item) }
  }

  var isScalar: Bool { node.scalar != nil }

  // MARK: Values

  /// A text that is not empty.
  func text() throws(Problem) -> String {
    guard let text = node.scalar?.string, !text.isEmpty else { throw problem("\(name) must be a text") }
    return text
  }

  func flag() throws(Problem) -> Bool {
    switch node.scalar?.string {
    case "true": return true
    case "false": return false
    default: throw problem("\(name) must be true or false\(given)")
    }
  }

  func integer(_ range: ClosedRange<Int>) throws(Problem) -> Int {
    guard let value = node.scalar.flatMap({ Int($0.string) }), range.contains(value) else {
      throw problem("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)\(given)")
    }
    return value
  }

  func seed() throws(Problem) -> UInt64 {
    guard let value = node.scalar.flatMap({ UInt64($0.string) }) else {
      throw problem("\(name) must be a whole number, 0 or more\(given)")
    }
    return value
  }

  func number() throws(Problem) -> Double {
    guard let value = node.scalar.flatMap({ Double($0.string) }), value.isFinite else {
      throw problem("\(name) must be a number\(given)")
    }
    return value
  }

  private var given: String { node.scalar.map { ", not \"\($0.string)\"" } ?? "" }
}
