internal import Crypto
internal import Foundation
internal import LatheTensor

/// The record of a run: samples are appended as they come, and a run that was killed finds those it has.
final class TaskJournal {
  private struct Header: Codable, Hashable {
    var task: String
    var key: String
  }

  let path: String
  private(set) var samples: [TaskSample] = []
  private let handle: FileHandle

  /// Opens the record at `path`, or begins it.
  ///
  /// - Parameter key: what must be the same for the run to go on.
  /// - Throws: `Problem` of kind `cannotCreate` where the file belongs to another run or cannot be written.
  init(at path: String, task: String, key: String) throws(Problem) {
    self.path = path
    let header = Header(task: task, key: key)
    var whole = Data()
    if let data = FileManager.default.contents(atPath: path) {
      let (found, samples, length) = Self.read(data)
      guard let found else {
        throw Problem(.cannotCreate, "the file is no record of a task", at: path, cure: "give another --out")
      }
      guard found == header else {
        throw Problem(
          .cannotCreate, "the record is of another model, task or setting", at: path,
          cure: "give another --out, or remove the file")
      }
      self.samples = samples
      whole = data.prefix(length)
    } else {
      whole = Self.line(header)
    }
    // What a killed run left of its last line is cut off.
    do {
      try whole.write(to: URL(fileURLWithPath: path), options: .atomic)
      handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
      try handle.seekToEnd()
    } catch {
      throw Problem(.cannotCreate, "the record cannot be written", at: path, cure: "check the folder")
    }
  }

  deinit { try? handle.close() }

  /// Appends samples.
  ///
  /// - Throws: `Problem` of kind `inputOutput`, a full disk included.
  func append(_ new: [TaskSample]) throws(Problem) {
    var data = Data()
    for sample in new { data += Self.line(sample) }
    do {
      try handle.write(contentsOf: data)
    } catch {
      throw Problem(
        .inputOutput, "the record cannot be written", at: path,
        cure: "free space on the disk and give the same command again")
    }
    samples += new
  }

  private static func line(_ value: some Encodable) -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return ((try? encoder.encode(value)) ?? Data()) + Data([0x0A])
  }

  private static func read(_ data: Data) -> (Header?, [TaskSample], length: Int) {
    var header: Header?, samples: [TaskSample] = []
    var length = 0
    let decoder = JSONDecoder()
    for line in data.split(separator: 0x0A, omittingEmptySubsequences: false).dropLast() {
      if header == nil {
        guard let found = try? decoder.decode(Header.self, from: line) else { return (nil, [], 0) }
        header = found
      } else {
        guard let sample = try? decoder.decode(TaskSample.self, from: line) else { break }
        samples.append(sample)
      }
      length += line.count + 1
    }
    return (header, samples, length)
  }

  /// The samples of the record at `path`, and the name of their task.
  ///
  /// - Throws: `Problem` where the file is missing or no record.
  static func samples(at path: String) throws(Problem) -> (task: String, samples: [TaskSample]) {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw Problem(.noInput, "no such file", at: path, cure: "lathe eval --tasks writes it with --out")
    }
    let (header, samples, _) = read(data)
    guard let header else { throw Problem(.badData, "the file is no record of a task", at: path) }
    return (header.task, samples)
  }
}

/// Digests of texts.
enum TextDigest {
  /// The first 16 hexadecimal digits of the SHA-256 of `texts`, one after another.
  static func of(_ texts: [String]) -> String {
    var hash = SHA256()
    for text in texts {
      hash.update(data: Data(text.utf8))
      hash.update(data: Data([0]))
    }
    return hash.finalize().prefix(8).map { String(format: "%02x", $0) }.joined()
  }
}
