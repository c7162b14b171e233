internal import Foundation
internal import LatheQuantize
public import LatheTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The directory of a study's runs: the results, the texts models wrote, the quantized models, the report.
///
/// One process at a time works in it.
public final class RunFolder {
  /// The directory.
  public let path: String
  private var lock: Int32 = -1

  /// The results database of the run at `path`.
  public static func database(in path: String) -> String { path + "/results.sqlite" }

  /// Opens the directory at `path`, or makes it.
  ///
  /// - Throws: `Problem` of kind `cannotCreate` where something else is there, of kind `tryAgain` where another
  ///   process works in it.
  public init(at path: String) throws(Problem) {
    self.path = path
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
      guard isFolder.boolValue, names.isEmpty || names.contains("results.sqlite") || names == ["lock"] else {
        throw Problem(
          .cannotCreate, "exists already and is not the directory of a study", at: path,
          cure: "choose another with --out, or remove it")
      }
    } else {
      do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      } catch {
        throw Problem(
          .cannotCreate, "cannot create the directory", at: path, cure: "check that its parent can be written"
        )
      }
    }
    lock = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard lock >= 0 else {
      throw Problem(.cannotCreate, "the directory cannot be written", at: path, cure: "check its permissions")
    }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      throw Problem(
        .tryAgain, "another process works in the directory", at: path,
        cure: "wait for it to end, or choose another --out")
    }
  }

  deinit { if lock >= 0 { close(lock) } }

  /// Where the quantized model of a key lies.
  func model(_ key: String) -> String { path + "/models/" + key }

  /// Makes the folder `name` of the directory.
  func makeFolder(_ name: String) throws(Problem) {
    do {
      try FileManager.default.createDirectory(atPath: path + "/" + name, withIntermediateDirectories: true)
    } catch {
      throw Problem(
        .cannotCreate, "cannot create the folder", at: path + "/" + name, cure: "check that it can be written"
      )
    }
  }

  /// The runs of tokens kept under `key`, or those that `body` writes and this keeps.
  ///
  /// A file that does not match its digest is written anew.
  func tokens(
    _ key: String, count: Int, length: Int, writing body: () throws(Problem) -> [[Int32]]
  ) throws(Problem) -> [[Int32]] {
    let file = path + "/texts/" + key + ".tokens"
    let digestLength = 24
    if let bytes = try? Bytes(mapping: file), bytes.count == digestLength + 4 * count * length {
      let rest = bytes[digestLength..<bytes.count]
      if bytes[0..<digestLength].text == Digest.of(rest) {
        let all = rest.elements(as: Int32.self)
        return (0..<count).map { Array(all[$0 * length..<($0 + 1) * length]) }
      }
    }
    let runs = try body()
    try makeFolder("texts")
    let content = Bytes(elements: runs.flatMap { $0 })
    let out = try AtomicFile(creating: file)
    try out.write(Digest.of(content))
    try out.write(content)
    try out.commit()
    return runs
  }
}
