internal import Foundation
public import LatheTensor

/// The options of a method or a transform as plain values by name: what recipes hold and `--set` changes.
struct Settings {
  private var members: [String: Scalar]

  /// The options as they stand in `value`.
  init(of value: any Configurable) throws {
    members = try JSONDecoder().decode([String: Scalar].self, from: JSONEncoder().encode(value))
  }

  /// What a recipe says: a bare name, or an object of the name and the options that differ from the defaults.
  static func read(from decoder: any Decoder, what: String) throws -> (
    name: String, options: [(key: String, value: String)]
  ) {
    if let name = try? decoder.singleValueContainer().decode(String.self) { return (name, []) }
    var options = try decoder.singleValueContainer().decode([String: Scalar].self)
    guard let name = options.removeValue(forKey: "name") else {
      throw Problem(.usage, "a \(what) needs a name")
    }
    return (name.text, options.sorted { $0.key < $1.key }.map { ($0.key, $0.value.text) })
  }

  /// Writes name and options in the form that `read` takes.
  static func write(_ value: any Configurable, to encoder: any Encoder) throws {
    var settings = try Settings(of: value)
    settings.members["name"] = .text(type(of: value).card.name)
    var container = encoder.singleValueContainer()
    try container.encode(settings.members)
  }

  /// A value of `type` with some options changed.
  ///
  /// - Throws: `Problem` of kind `usage` naming the option that is not known, or the value that does not fit.
  static func make<C: Configurable>(
    _ type: C.Type, _ options: [(key: String, value: String)]
  ) throws(Problem) -> C {
    try changing(C(), options)
  }

  /// `value` with some options changed.
  ///
  /// - Throws: `Problem` of kind `usage` naming the option that is not known, or the value that does not fit.
  static func changing<C: Configurable>(
    _ value: C, _ options: [(key: String, value: String)]
  ) throws(Problem) -> C {
    do {
      var settings = try Settings(of: value)
      for (key, value) in options {
        guard let old = settings.members[key] else {
          let known = settings.members.keys.sorted().joined(separator: ", ")
          throw Problem(
            .usage, "\(C.card.name) has no option \"\(key)\"",
            cure: known.isEmpty ? "it has none" : "its options are \(known)")
        }
        guard let new = old.parsing(value) else {
          throw Problem(.usage, "\(C.card.name) cannot set \(key) to \"\(value)\"", cure: "give \(old.kind)")
        }
        settings.members[key] = new
      }
      return try JSONDecoder().decode(C.self, from: JSONEncoder().encode(settings.members))
    } catch let problem as Problem {
      throw problem
    } catch {
      throw Problem(.usage, "the options do not fit \(C.card.name)")
    }
  }

  /// Whether `type` has an option called `key`.
  static func has(_ key: String, in type: any Configurable.Type) -> Bool {
    (try? Settings(of: type.init()))?.members[key] != nil
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
    method = try Settings.make(type, options)
  }

  public init(from decoder: any Decoder) throws {
    let (name, options) = try Settings.read(from: decoder, what: "method")
    try self.init(name: name, setting: options)
  }

  public func encode(to encoder: any Encoder) throws { try Settings.write(method, to: encoder) }

  public static func == (a: Self, b: Self) -> Bool { AnyHashable(a.method) == AnyHashable(b.method) }

  public func hash(into hasher: inout Hasher) { hasher.combine(AnyHashable(method)) }
}

/// A transform by name and options.
public struct TransformDescription: Codable, Hashable, Sendable {
  /// The transform itself.
  public let transform: any Transform

  /// Describes `transform`.
  public init(_ transform: any Transform) { self.transform = transform }

  /// The transform called `name` with some options changed, given as text.
  ///
  /// - Throws: `Problem` of kind `usage` naming the transform or option that is not known, or the value that does not
  ///   fit.
  public init(name: String, setting options: [(key: String, value: String)] = []) throws(Problem) {
    guard let type = TransformCatalog[name] else {
      throw Problem(
        .usage, "unknown transform \"\(name)\"",
        cure: "known are \(TransformCatalog.names.joined(separator: ", "))")
    }
    transform = try Settings.make(type, options)
  }

  public init(from decoder: any Decoder) throws {
    let (name, options) = try Settings.read(from: decoder, what: "transform")
    try self.init(name: name, setting: options)
  }

  public func encode(to encoder: any Encoder) throws { try Settings.write(transform, to: encoder) }

  public static func == (a: Self, b: Self) -> Bool { AnyHashable(a.transform) == AnyHashable(b.transform) }

  public func hash(into hasher: inout Hasher) { hasher.combine(AnyHashable(transform)) }
}
