internal import Foundation
public import LatheEncoding
public import LatheModel
public import LatheTensor

/// What to do to a model: for each weight a method and an encoding. The first rule that matches a site wins;
/// a weight no rule matches stays as it is.
public struct Recipe: Codable, Hashable, Sendable {
  /// A name for tables.
  public var name: String
  /// The rules, in order.
  public var rules: [Rule]

  /// A recipe of the given rules.
  public init(name: String, rules: [Rule]) { (self.name, self.rules) = (name, rules) }

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
  public func leavingOutMisfits(of model: Model) -> (recipe: Recipe, misfits: [Role]) {
    guard let rule = rules.first, let block = model.blocks.first,
      let grid = rule.encoding.encoding as? any Grid
    else { return (self, []) }
    var copy = self
    var fitting: [Role] = [], misfits: [Role] = []
    for role in Role.allCases {
      let columns = block.weights[role]?.weight.columns ?? 0
      if columns == 0 || (try? rule.storage.parts(rows: 1, columns: columns)) != nil {
        fitting.append(role)
      } else if let other = grid.fitting(columns: columns) {
        copy.rules.append(Rule(sites: "*.\(role.rawValue)", method: rule.method.method, encoding: other))
      } else {
        misfits.append(role)
      }
    }
    if fitting.count == Role.allCases.count || (fitting.isEmpty && copy.rules.count == rules.count) {
      return (self, [])
    }
    copy.rules[0].sites = fitting.map { "*.\($0.rawValue)" }.joined(separator: "|")
    if fitting.isEmpty { copy.rules.removeFirst() }
    return (copy, misfits)
  }

  /// The recipe as JSON with sorted keys: equal recipes give equal text.
  public var text: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  /// Everything any of its methods asks calibration for.
  public var evidence: EvidenceKinds { rules.reduce([]) { $0.union($1.method.method.evidence) } }
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

/// A method by name and options.
public struct MethodDescription: Codable, Hashable, Sendable {
  /// The method itself.
  public let method: any QuantizationMethod

  /// Describes `method`.
  public init(_ method: any QuantizationMethod) { self.method = method }

  /// The method called `name` with some options changed, given as text.
  ///
  /// - Throws: `Problem` of kind `usage` naming the method or option that is not known, or the value that does not fit.
  public init(name: String, setting options: [(key: String, value: String)] = []) throws(Problem) {
    guard let type = MethodCatalog[name] else {
      throw Problem(
        .usage, "unknown method \"\(name)\"", cure: "known are \(MethodCatalog.names.joined(separator: ", "))"
      )
    }
    method = try Self.make(type, options)
  }

  private static func make<M: QuantizationMethod>(
    _ type: M.Type, _ options: [(key: String, value: String)]
  ) throws(Problem) -> M {
    do {
      var members = try JSONDecoder().decode([String: Scalar].self, from: JSONEncoder().encode(M()))
      for (key, value) in options {
        guard let old = members[key] else {
          let known = members.keys.sorted().joined(separator: ", ")
          throw Problem(.usage, "\(M.card.name) has no option \"\(key)\"", cure: "its options are \(known)")
        }
        guard let new = old.parsing(value) else {
          throw Problem(.usage, "\(M.card.name) cannot set \(key) to \"\(value)\"", cure: "give \(old.kind)")
        }
        members[key] = new
      }
      return try JSONDecoder().decode(M.self, from: JSONEncoder().encode(members))
    } catch let problem as Problem {
      throw problem
    } catch {
      throw Problem(.usage, "the options do not fit \(M.card.name)")
    }
  }

  public init(from decoder: any Decoder) throws {
    // A bare name, or an object of the name and the options that differ from the defaults.
    if let name = try? decoder.singleValueContainer().decode(String.self) {
      try self.init(name: name)
      return
    }
    var options = try decoder.singleValueContainer().decode([String: Scalar].self)
    guard let name = options.removeValue(forKey: "name") else {
      throw Problem(.usage, "a method needs a name")
    }
    try self.init(
      name: name.text, setting: options.sorted { $0.key < $1.key }.map { ($0.key, $0.value.text) })
  }

  public func encode(to encoder: any Encoder) throws {
    let data = try JSONEncoder().encode(AnyMethod(method))
    var members = try JSONDecoder().decode([String: Scalar].self, from: data)
    members["name"] = .text(type(of: method).card.name)
    var container = encoder.singleValueContainer()
    try container.encode(members)
  }

  public static func == (a: Self, b: Self) -> Bool { AnyHashable(a.method) == AnyHashable(b.method) }

  public func hash(into hasher: inout Hasher) { hasher.combine(AnyHashable(method)) }

  private struct AnyMethod: Encodable {
    let method: any QuantizationMethod
    init(_ method: any QuantizationMethod) { self.method = method }
    func encode(to encoder: any Encoder) throws { try method.encode(to: encoder) }
  }

  /// The value of an option.
  private enum Scalar: Codable {
    case flag(Bool)
    case number(Double)
    case text(String)

    var text: String {
      switch self {
      case .flag(let flag): "\(flag)"
      case .number(let number): "\(number)"
      case .text(let text): text
      }
    }

    var kind: String {
      switch self {
      case .flag: "true or false"
      case .number: "a number"
      case .text: "a text"
      }
    }

    /// The value `text` stands for, of the same kind as this one.
    func parsing(_ text: String) -> Scalar? {
      switch self {
      case .flag: Bool(text).map(Scalar.flag)
      case .number: Double(text).flatMap { $0.isFinite ? .number($0) : nil }
      case .text: .text(text)
      }
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let flag = try? container.decode(Bool.self) {
        self = .flag(flag)
      } else if let number = try? container.decode(Double.self) {
        self = .number(number)
      } else {
        self = .text(try container.decode(String.self))
      }
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .flag(let flag): try container.encode(flag)
      case .number(let number): try container.encode(number)
      case .text(let text): try container.encode(text)
      }
    }
  }
}

extension Recipe {
  /// One method and one grid for every weight of the blocks.
  public init(method: any QuantizationMethod, grid: any Grid) {
    self.init(
      name: "\(type(of: method).card.name) \(grid.label)", rules: [Rule(method: method, encoding: grid)])
  }
}
