internal import Crypto
internal import Foundation
internal import LatheFormats
public import LatheTensor

/// Digests that tell whether two things are the same.
public enum Digest {
  /// The first 24 hexadecimal digits of the SHA-256 of `text`.
  public static func of(_ text: String) -> String { of(Bytes(Array(text.utf8))) }

  /// The first 24 hexadecimal digits of the SHA-256 of `bytes`.
  public static func of(_ bytes: Bytes) -> String {
    var hash = SHA256()
    bytes.withUnsafeBytes { hash.update(bufferPointer: $0) }
    return hash.finalize().prefix(12).map { String(format: "%02x", $0) }.joined()
  }

  /// The digest of everything that makes up the model at `path`: its weights and its configuration.
  ///
  /// - Throws: `Problem` where the model cannot be read.
  public static func ofModel(at path: String) throws(Problem) -> String {
    var files = try Checkpoint(reading: path).files
    let configuration = path + "/config.json"
    if FileManager.default.fileExists(atPath: configuration) { files.append(configuration) }
    var parts: [String] = []
    for file in files.sorted() { parts.append(of(try Bytes(mapping: file))) }
    return of(parts.joined(separator: " "))
  }
}

/// What must be the same for a run to be continued.
public struct Fingerprint: Codable, Hashable, Sendable {
  /// The digest of the model's files.
  public var model: String
  /// The recipe, as text.
  public var recipe: String
  /// The calibration text: its source and the digest of its tokens.
  public var calibration: String
  /// The version of the layout that is written.
  public var version: Int

  /// What a run of `recipe` on the model at `path` depends on.
  ///
  /// - Throws: `Problem` where the model cannot be read.
  public init(model path: String, recipe: Recipe, calibration: Calibration?) throws(Problem) {
    model = try Digest.ofModel(at: path)
    self.recipe = recipe.text
    self.calibration = calibration.map { "\($0.source), digest \($0.digest)" } ?? "none"
    version = 2
  }

  /// The first member in which `other` differs, in words.
  func difference(from other: Fingerprint) -> String? {
    if model != other.model { return "another model (digest \(other.model), now \(model))" }
    if recipe != other.recipe { return "another recipe (\(other.recipe), now \(recipe))" }
    if calibration != other.calibration {
      return "other calibration text (\(other.calibration), now \(calibration))"
    }
    if version != other.version { return "another version of this program" }
    return nil
  }
}
