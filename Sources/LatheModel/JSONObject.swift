public import Foundation
public import LatheTensor

/// A JSON object from a file, with members read by type.
public struct JSONObject {
  /// The file it came from.
  public let place: String
  /// The members, as Foundation reads them.
  private let members: [String: Any]

  /// Reads the object in the file at `path`.
  ///
  /// - Throws: `Problem` where there is no file, or no JSON object in it.
  public init(reading path: String) throws(Problem) {
    let bytes = try Bytes(mapping: path)
    guard bytes.count < 64 << 20 else {
      throw Problem(.badData, "a JSON file of \(bytes.count) bytes", at: path)
    }
    let data = bytes.withUnsafeBytes { Data($0) }
    do {
      guard let members = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
        throw Problem(.badData, "not a JSON object", at: path)
      }
      (place, self.members) = (path, members)
    } catch let problem as Problem {
      throw problem
    } catch {
      let detail = (error as NSError).userInfo["NSDebugDescription"] as? String
      throw Problem(
        .badData, "not valid JSON" + (detail.map { " (\($0))" } ?? ""), at: path, cure: "the file is damaged")
    }
  }

  /// The `config.json` of a model that comes from another kind of file.
  package init(describing model: Model) { self.init(describing: model.architecture, model.configuration) }

  /// The `config.json` of a model of these sizes.
  package init(describing architecture: Architecture, _ c: Configuration) {
    var members = architecture.configurationKeys.write(c)
    members["model_type"] = architecture.names.sorted()[0]
    self.init(place: "config.json", members: members)
  }

  private init(place: String, members: [String: Any]) { (self.place, self.members) = (place, members) }

  /// The keys.
  public var keys: [String] { members.keys.sorted() }

  /// The text under `key`.
  public func text(_ key: String) -> String? { members[key] as? String }

  /// The number under `key`.
  public func number(_ key: String) -> Double? { (members[key] as? NSNumber)?.doubleValue }

  /// The whole number under `key`; nil where it is none or does not fit.
  public func integer(_ key: String) -> Int? {
    number(key).flatMap { Int(exactly: $0) }
  }

  /// The whole numbers under `key`: one, or an array of them.
  public func integers(_ key: String) -> [Int] {
    if let one = integer(key) { return [one] }
    return (members[key] as? [NSNumber])?.compactMap { Int(exactly: $0.doubleValue) } ?? []
  }

  /// The numbers under `key`.
  public func numbers(_ key: String) -> [Double]? { (members[key] as? [NSNumber])?.map(\.doubleValue) }

  /// The truth value under `key`.
  public func flag(_ key: String) -> Bool? { members[key] as? Bool }

  /// The object under `key`.
  public func object(_ key: String) -> JSONObject? {
    (members[key] as? [String: Any]).map { JSONObject(place: "\(place), \(key)", members: $0) }
  }

  /// The member under `key` as JSON text.
  public func data(_ key: String) -> Data? {
    members[key].flatMap { try? JSONSerialization.data(withJSONObject: $0, options: [.fragmentsAllowed]) }
  }

  /// `value`, or a problem that names the missing key.
  public func required<T>(_ key: String, _ value: T?) throws(Problem) -> T {
    guard let value else { throw Problem(.badData, "\"\(key)\" is missing or of the wrong type", at: place) }
    return value
  }

  /// A copy of the object with `value` under `key`, as JSON text with sorted keys.
  public func json(setting key: String, to value: Data) throws(Problem) -> String {
    do {
      var members = members
      members[key] = try JSONSerialization.jsonObject(with: value, options: [.fragmentsAllowed])
      let data = try JSONSerialization.data(
        withJSONObject: members, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
      return String(decoding: data, as: UTF8.self) + "\n"
    } catch {
      throw Problem(.internal, "cannot write the configuration as JSON (\(error))", at: place)
    }
  }
}
