internal import Foundation
public import LatheTensor

/// How a corpus file becomes the one text that a protocol tokenizes.
public enum TextPreparation: Codable, Hashable, Sendable {
  /// The file is the text.
  case asIs
  /// The rows of the hub's WikiText-2, joined with two newlines: a row is a line with its newline, a blank line is empty.
  case wikitextRows
  /// The lines without the white space around them, joined.
  case lines(separator: String)
  /// The member "text" of the first documents of a JSON Lines file, joined with a space.
  case jsonDocuments(Int)

  /// The text in `file`.
  ///
  /// - Throws: `Problem` of kind `badData` where a line is not what it should be.
  public func text(of file: Bytes) throws(Problem) -> Bytes {
    switch self {
    case .asIs: return file
    case .wikitextRows:
      var rows = file.text.split(separator: "\n", omittingEmptySubsequences: false)
      if rows.last?.isEmpty == true { rows.removeLast() }
      return Self.join(rows.map { $0.allSatisfy(\.isWhitespace) ? "" : $0 + "\n" }, "\n\n")
    case .lines(let separator):
      var rows = file.text.split(separator: "\n", omittingEmptySubsequences: false)
      if rows.last?.isEmpty == true { rows.removeLast() }
      return Self.join(rows.map { $0.trimmingCharacters(in: .whitespaces) }, separator)
    case .jsonDocuments(let count):
      var texts: [String] = []
      for (number, line) in file.text.split(separator: "\n").prefix(count).enumerated() {
        guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
          let text = object["text"] as? String
        else { throw Problem(.badData, "line \(number + 1) is not a JSON object with a member \"text\"") }
        texts.append(text)
      }
      return Self.join(texts, " ")
    }
  }

  private static func join(_ rows: [String], _ separator: String) -> Bytes {
    Bytes(Array(rows.joined(separator: separator).utf8))
  }
}

/// Finds the corpora that protocols name.
public struct DataFolder: Sendable {
  /// The folder.
  public let path: String

  /// The folder at `path`, or the one the environment variable `LATHE_DATA` names.
  ///
  /// - Throws: `Problem` of kind `noInput` where neither names a folder.
  public init(_ path: String? = nil) throws(Problem) {
    guard let found = path ?? ProcessInfo.processInfo.environment["LATHE_DATA"] else {
      throw Problem(
        .noInput, "the protocol's corpus is not at hand",
        cure: "give --data FOLDER, or set LATHE_DATA, to where corpora/ lies")
    }
    self.path = found
  }

  /// The text of a protocol.
  ///
  /// - Throws: `Problem` where the file is missing or not what it should be.
  public func text(for measure: PerplexityProtocol) throws(Problem) -> Bytes {
    let file = path + "/" + measure.file
    do throws(Problem) {
      return try measure.preparation.text(of: Bytes(mapping: file))
    } catch {
      throw error.located(at: file)
    }
  }
}
