import Foundation
public import LatheTensor

/// GGUF, versions 2 and 3: the container of llama.cpp and what builds on it.
///
/// Layout, little-endian: magic, version, counts, metadata, tensor infos, padding, data. A tensor's dimensions are
/// innermost first in the file and outermost first here. Source: `ggml/include/gguf.h`.
public enum GGUF: WritableFormat {
  /// The name people use.
  public static let name = "GGUF"

  static let magic: [UInt8] = Array("GGUF".utf8)
  /// Strings and arrays of metadata beyond this are refused.
  static let maximumValueBytes = 64 << 20
  /// Keys beyond this are refused.
  static let maximumKeyBytes = 65535
  /// Where data starts is a multiple of this, unless the file says otherwise.
  static let defaultAlignment = 32
  static let maximumAlignment = 1 << 20
  static let alignmentKey = "general.alignment"

  /// Whether the file starts with GGUF's magic, or a folder holds such a file.
  public static func recognises(path: String, head: Bytes) -> Bool {
    head.count >= 4
      ? head[0..<4].elements(as: UInt8.self) == magic : FormatCatalog.folder(path, holds: ".gguf")
  }

  /// Reads one file, all files of a split model, or the only model of a folder.
  ///
  /// - Throws: `Problem` of kind `noInput` where a part is missing, `badData` for content the format does not allow.
  public static func read(_ path: String) throws(Problem) -> Checkpoint {
    let path = try entry(ofFolder: path) ?? path
    guard let split = SplitName(path) else { return try GGUFReader.read(path) }
    var parts: [Checkpoint] = []
    for number in 1...split.count { parts.append(try GGUFReader.read(split.path(number))) }
    do throws(Problem) {
      return try joined(parts)
    } catch {
      throw error.located(at: path)
    }
  }

  private static func joined(_ parts: [Checkpoint]) throws(Problem) -> Checkpoint {
    let tensors = parts.flatMap(\.tensors)
    for (number, part) in parts.enumerated() {
      if let no = part.metadata["split.no"]?.integer, no != number {
        throw Problem(
          .badData, "part \(number + 1) says it is part \(no + 1)", cure: "the files were renamed")
      }
      if let count = part.metadata["split.count"]?.integer, count != parts.count {
        throw Problem(.badData, "part \(number + 1) is one of \(count), its name says \(parts.count)")
      }
    }
    if let total = parts[0].metadata["split.tensors.count"]?.integer, total != tensors.count {
      throw Problem(.badData, "the parts hold \(tensors.count) tensors, \(total) are announced")
    }
    return try Checkpoint(
      format: name, files: parts.flatMap(\.files),
      metadata: parts[0].orderedMetadata.filter { !$0.key.hasPrefix("split.") }, tensors: tensors)
  }

  /// The file to open for a folder: its only GGUF file, or the first part of its only split model.
  ///
  /// - Throws: `Problem` where the folder holds none, or several.
  private static func entry(ofFolder path: String) throws(Problem) -> String? {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else { return nil }
    let files = names.filter { name in
      name.hasSuffix(".gguf") && (SplitName(name).map { $0.number == 1 } ?? true)
    }
    guard files.count == 1 else {
      throw Problem(
        files.isEmpty ? .noInput : .badData, "the folder holds \(files.count) GGUF models", at: path,
        cure: "name one file")
    }
    return path + "/" + files[0]
  }
}

/// `NAME-00001-of-00003.gguf`, numbered from 1.
struct SplitName {
  let stem: String
  let number: Int
  let count: Int

  /// The parts of `path`; nil where it is no such name.
  init?(_ path: String) {
    guard let match = path.wholeMatch(of: /(.*)-([0-9]{5})-of-([0-9]{5})\.gguf/.dotMatchesNewlines()),
      let number = Int(match.2), let count = Int(match.3), number >= 1, number <= count
    else { return nil }
    (stem, self.number, self.count) = (String(match.1), number, count)
  }

  /// The path of part `number`.
  func path(_ number: Int) -> String { "\(stem)-\(Self.digits(number))-of-\(Self.digits(count)).gguf" }

  private static func digits(_ n: Int) -> String { String(String(100_000 + n).dropFirst()) }
}
