internal import Crypto
internal import Foundation
public import LatheTensor

/// The files of data sets with their digests: figures are comparable only on the same questions.
public struct DataManifest: Sendable {
  /// A file of a set.
  public struct File: Hashable, Sendable {
    /// Where it lies in the data folder.
    public let path: String
    /// Its size.
    public let bytes: Int
    /// Its SHA-256, in hexadecimal digits.
    public let digest: String
    /// Where it is to be had by itself; nil where only an archive holds it.
    public let url: String?

    /// Whether `data` is the file.
    public func matches(_ data: Bytes) -> Bool {
      guard data.count == bytes else { return false }
      var hash = SHA256()
      data.withUnsafeBytes { hash.update(bufferPointer: $0) }
      return hash.finalize().map { String(format: "%02x", $0) }.joined() == digest
    }

    /// What is found of it in a folder.
    public func state(in folder: DataFolder) -> State {
      let place = folder.path + "/" + path
      guard FileManager.default.fileExists(atPath: place) else { return .missing }
      guard let data = try? Bytes(mapping: place) else { return .different }
      return matches(data) ? .right : .different
    }
  }

  /// What is found of a file.
  public enum State: Sendable {
    /// It is there, byte by byte.
    case right
    /// It is not there.
    case missing
    /// Something else is there.
    case different
  }

  /// A data set.
  public struct Set: Hashable, Sendable {
    /// The name.
    public let name: String
    /// Where it is to be had.
    public let origin: String
    /// Its files.
    public let files: [File]
  }

  /// The sets, by name.
  public let sets: [Set]

  /// The manifest that is built in.
  ///
  /// - Throws: `Problem` where it is damaged, which a test rules out.
  public static func builtIn() throws(Problem) -> DataManifest {
    try DataManifest(DataParser.parse(PackageResources.manifest_json, file: "manifest.json"))
  }

  init(_ node: DataNode) throws(Problem) {
    let root = try DefinitionReader(node, file: "manifest.json", known: ["sets"])
    var sets: [Set] = []
    for entry in root.node["sets"]?.list ?? [] {
      let set = try DefinitionReader(entry, file: "manifest.json", known: ["name", "from", "files"])
      var files: [File] = []
      for entry in entry["files"]?.list ?? [] {
        let file = try DefinitionReader(
          entry, file: "manifest.json", known: ["file", "bytes", "sha256", "url"])
        files.append(
          File(
            path: try file.needed("file"), bytes: try file.count("bytes", upTo: 1 << 40) ?? 0,
            digest: try file.needed("sha256"), url: try file.text("url")))
      }
      sets.append(Set(name: try set.needed("name"), origin: try set.needed("from"), files: files))
    }
    self.sets = sets
  }

  /// The sets called `names`; all where none is named.
  ///
  /// - Throws: `Problem` of kind `usage` where one is unknown.
  public func sets(_ names: [String]) throws(Problem) -> [Set] {
    var found: [Set] = []
    for name in names {
      guard let set = sets.first(where: { $0.name == name }) else {
        throw Problem(
          .usage, "unknown data set \"\(name)\"",
          cure: "known are \(sets.map(\.name).joined(separator: ", "))")
      }
      found.append(set)
    }
    return names.isEmpty ? sets : found
  }
}
