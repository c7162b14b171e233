internal import Foundation
public import LatheEncoding
public import LatheModel
public import LatheTensor

/// What to do to a model: what makes its weights easier, then for each weight a method and an encoding. The first rule
/// that matches a site wins; a weight no rule matches stays as it is.
public struct Recipe: Codable, Hashable, Sendable {
  /// A name for tables.
  public var name: String
  /// Rewrites that keep the model's function, in the order they are made.
  public var transforms: [TransformDescription]
  /// The rules, in order.
  public var rules: [Rule]

  /// A recipe of the given transforms and rules.
  public init(name: String, transforms: [any Transform] = [], rules: [Rule]) {
    (self.name, self.rules) = (name, rules)
    self.transforms = transforms.map(TransformDescription.init)
  }

  private enum CodingKeys: String, CodingKey { case name, transforms, rules }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    name = try container.decode(String.self, forKey: .name)
    transforms = try container.decodeIfPresent([TransformDescription].self, forKey: .transforms) ?? []
    rules = try container.decode([Rule].self, forKey: .rules)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(name, forKey: .name)
    if !transforms.isEmpty { try container.encode(transforms, forKey: .transforms) }
    try container.encode(rules, forKey: .rules)
  }

  /// The rule for `site`.
  public func rule(for site: Site) -> Rule? { rules.first { $0.matches(site) } }

  /// The rule for the embedding or the head, which only a rule that names them means.
  public func rule(for end: ModelEnd) -> Rule? { rules.first { $0.names(end) } }

  /// Refuses a recipe whose encodings cannot hold the weights they are meant for.
  ///
  /// - Throws: `Problem` of kind `usage` naming the first weight that does not fit.
  public func validate(for model: Model) throws(Problem) {
    for end in ModelEnd.allCases {
      guard let rule = rule(for: end), let weight = end.weight(of: model) else { continue }
      do throws(Problem) {
        _ = try rule.storage.parts(rows: weight.rows, columns: weight.columns)
      } catch {
        throw Problem(.usage, error.what, at: "the \(end.rawValue)", cure: "choose another encoding for it")
      }
    }
    for (layer, block) in model.blocks.enumerated() {
      for role in Role.allCases {
        guard let weight = block.weights[role]?.weight, let rule = rule(for: Site(layer, role)) else {
          continue
        }
        do throws(Problem) {
          _ = try rule.storage.parts(rows: weight.rows, columns: weight.columns)
        } catch {
          throw Problem(
            .usage, error.what, at: "weight \(Site(layer, role))", cure: "choose another encoding for it")
        }
      }
    }
  }

  /// The recipe with other encodings for roles whose weights its first rule's encoding cannot hold, and the roles no
  /// such encoding is found for.
  ///
  /// GGUF's blocks do not fit every width; such weights get the type that llama.cpp's tools fall back to, or stay as
  /// they are.
  public func leavingOutMisfits(of model: Model) -> (recipe: Recipe, misfits: [(role: Role, columns: Int)]) {
    guard let rule = rules.first, let grid = rule.encoding.encoding as? any Grid else { return (self, []) }
    var copy = self
    var fitting: [String] = [], misfits: [(role: Role, columns: Int)] = []
    for role in Role.allCases {
      let layers = Dictionary(grouping: model.blocks.indices) {
        model.blocks[$0].weights[role]?.weight.columns ?? 0
      }
      for (columns, layers) in layers.sorted(by: { $0.key < $1.key }) {
        let isEverywhere = layers.count == model.blocks.count
        let sites = isEverywhere ? ["*.\(role.rawValue)"] : layers.map { "\(Site($0, role))" }
        if columns == 0 || (try? rule.storage.parts(rows: 1, columns: columns)) != nil {
          fitting += sites
        } else if let other = grid.fitting(columns: columns) {
          let sites = sites.joined(separator: "|")
          copy.rules.append(Rule(sites: sites, method: rule.method.method, encoding: other))
        } else {
          misfits.append((role, columns))
        }
      }
    }
    if copy.rules.count == rules.count, misfits.isEmpty || fitting.isEmpty {
      return (self, [])
    }
    copy.rules[0].sites = fitting.joined(separator: "|")
    if fitting.isEmpty { copy.rules.removeFirst() }
    return (copy, misfits)
  }

  /// The bytes stored for a weight of this shape at `site`; nil where no rule quantizes it.
  ///
  /// - Throws: `Problem` where the encoding cannot hold such a shape.
  public func storedBytes(at site: Site, rows: Int, columns: Int) throws(Problem) -> Int? {
    guard let rule = rule(for: site) else { return nil }
    let parts = try rule.storage.parts(rows: rows, columns: columns).reduce(0) { $0 + $1.byteCount }
    return transforms.reduce(parts) { $0 + $1.transform.storedBytes(rows: rows, columns: columns) }
  }

  /// The recipe as JSON with sorted keys: equal recipes give equal text.
  public var text: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  /// Everything any of its methods asks calibration for.
  public var evidence: EvidenceKinds {
    let transforms = transforms.reduce(EvidenceKinds()) { $0.union($1.transform.evidence) }
    return rules.reduce(transforms) { $0.union($1.method.method.evidence) }
  }
}

/// A method and an encoding for the sites a pattern matches.
public struct Rule: Codable, Hashable, Sendable {
  /// Which sites, "layer.role": "*" stands for anything, alternatives are separated by "|". "*.down|0.*".
  /// "embedding" and "head", where an alternative says so word for word.
  public var sites: String
  /// How codes are chosen.
  public var method: MethodDescription
  /// What is stored.
  public var encoding: EncodingDescription

  /// A rule of the given parts.
  public init(sites: String = "*", method: any QuantizationMethod, encoding: any Grid) {
    (self.sites, self.method, self.encoding) = (
      sites, MethodDescription(method), EncodingDescription(encoding)
    )
  }

  /// The encoding the weights end up in, where the method brings one of its own.
  public var storage: any Encoding {
    guard let grid = encoding.encoding as? any Grid else { return encoding.encoding }
    return method.method.storage(of: grid)
  }

  private enum CodingKeys: String, CodingKey { case sites, method, encoding }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    sites = try container.decodeIfPresent(String.self, forKey: .sites) ?? "*"
    method = try container.decode(MethodDescription.self, forKey: .method)
    encoding = try container.decode(EncodingDescription.self, forKey: .encoding)
  }

  /// Whether the pattern matches `site`.
  public func matches(_ site: Site) -> Bool {
    sites.split(separator: "|").contains { Self.match(Substring($0), Substring(site.description)) }
  }

  /// Whether an alternative of the pattern is the name of `end`.
  public func names(_ end: ModelEnd) -> Bool { sites.split(separator: "|").contains { $0 == end.rawValue } }

  private static func match(_ pattern: Substring, _ text: Substring) -> Bool {
    guard let first = pattern.first else { return text.isEmpty }
    if first == "*" {
      return match(pattern.dropFirst(), text) || (!text.isEmpty && match(pattern, text.dropFirst()))
    }
    return first == text.first && match(pattern.dropFirst(), text.dropFirst())
  }
}

extension Recipe {
  /// One method and one grid for every weight of the blocks.
  public init(method: any QuantizationMethod, grid: any Grid) {
    self.init(
      name: "\(type(of: method).card.name) \(method.storage(of: grid).label)",
      rules: [Rule(method: method, encoding: grid)])
  }
}
