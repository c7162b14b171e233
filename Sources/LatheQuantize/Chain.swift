public import LatheEncoding
public import LatheTensor

/// Transforms and a method in one line, joined by "+": `gptq`, `awq`, `hadamard+gptq`.
///
/// The names before the last are transforms. Where the last is one too, the method that its paper pairs it with
/// follows.
public struct Chain: Sendable {
  /// The transforms, in order.
  public let transforms: [any Transform]
  /// The method.
  public let method: any QuantizationMethod

  /// The chain that `text` names, with some options changed.
  ///
  /// An option belongs to the method if that has it, else to the first transform that does; "awq.steps" says whose it is.
  /// - Throws: `Problem` of kind `usage` naming what is not known.
  public init(_ text: String, setting options: [(key: String, value: String)] = []) throws(Problem) {
    var names = text.split(separator: "+", omittingEmptySubsequences: false).map(String.init)
    let last = names.removeLast()
    var method: any QuantizationMethod
    if let type = MethodCatalog[last] {
      method = type.init()
    } else if let type = TransformCatalog[last] {
      method = try MethodDescription(name: type.companion.method, setting: type.companion.options).method
      names.append(last)
    } else {
      throw Self.unknown(last)
    }
    var transforms: [any Transform] = []
    for name in names {
      guard let type = TransformCatalog[name] else {
        if MethodCatalog[name] != nil {
          throw Problem(
            .usage, "\(name) is a method: it can only come last in \"\(text)\"",
            cure: "transforms are \(TransformCatalog.names.joined(separator: ", "))")
        }
        throw Self.unknown(name)
      }
      transforms.append(type.init() as any Transform)
    }
    let parts: [any Configurable] = [method as any Configurable] + transforms.map { $0 as any Configurable }
    for option in options {
      let (owner, key) = try Self.owner(of: option.key, among: parts)
      if owner == 0 {
        method = try Self.changed(method, key, option.value)
      } else {
        let old = transforms[owner - 1]
        transforms[owner - 1] = try Self.changed(old, key, option.value)
      }
    }
    (self.transforms, self.method) = (transforms, method)
  }

  private static func unknown(_ name: String) -> Problem {
    Problem(
      .usage, "unknown method \"\(name)\"",
      cure: "methods are \(MethodCatalog.names.joined(separator: ", ")); transforms are"
        + " \(TransformCatalog.names.joined(separator: ", ")), joined to one by \"+\"")
  }

  /// Whose option it is: 0 for the method, 1 and up for the transforms; and its name there.
  private static func owner(of key: String, among parts: [any Configurable]) throws(Problem) -> (Int, String)
  {
    if let dot = key.firstIndex(of: ".") {
      let name = String(key[..<dot])
      guard let found = parts.firstIndex(where: { type(of: $0).card.name == name }) else {
        throw Problem(.usage, "--set \(key): there is no \"\(name)\" here")
      }
      return (found, String(key[key.index(after: dot)...]))
    }
    return (parts.firstIndex { Settings.has(key, in: type(of: $0)) } ?? 0, key)
  }

  private static func changed<M: QuantizationMethod>(
    _ value: M, _ key: String, _ text: String
  ) throws(Problem) -> any QuantizationMethod { try Settings.changing(value, [(key, text)]) }

  private static func changed<T: Transform>(
    _ value: T, _ key: String, _ text: String
  ) throws(Problem) -> any Transform { try Settings.changing(value, [(key, text)]) }

  /// "awq+gptq".
  public var name: String {
    (transforms.map { type(of: $0).card.name } + [type(of: method).card.name]).joined(separator: "+")
  }

  /// "AWQ + GPTQ".
  public var title: String {
    (transforms.map { type(of: $0).card.title } + [type(of: method).card.title]).joined(separator: " + ")
  }

  /// Where its parts were published.
  public var paper: String {
    (transforms.map { type(of: $0).card.paper } + [type(of: method).card.paper]).joined(separator: "; ")
  }

  /// The grid to take where a user has said nothing: what the last transform's or the method's paper uses.
  public var defaults: GridRequest {
    transforms.reversed().compactMap { type(of: $0).grid }.first ?? type(of: method).grid
      ?? GridRequest(bits: 4, groupSize: 128, isSymmetric: false)
  }

  /// Whether the method stores codes in an encoding of its own: bits and groups then say nothing.
  public var bringsEncoding: Bool { type(of: method).bringsEncoding }

  /// One grid for every weight of the blocks.
  public func recipe(_ grid: any Grid) -> Recipe {
    let storage = method.storage(of: grid)
    return Recipe(
      name: "\(name) \(storage.label)", transforms: transforms, rules: [Rule(method: method, encoding: grid)])
  }
}
