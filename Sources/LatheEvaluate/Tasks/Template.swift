internal import Foundation
internal import LatheTensor

/// A text with holes for a document's members: `Question: {{goal|strip}}`.
///
/// A hole names a member, a member of a member (`choices.text`), or an element (`choices[0]`), and perhaps filters from
/// a closed list. That is all there is: a task is data, and runs nothing.
struct Template: Hashable, Sendable {
  private enum Piece: Hashable, Sendable {
    case text(String)
    case hole(Hole)
  }

  private enum Step: Hashable, Sendable {
    case member(String)
    case element(Int)
  }

  private struct Hole: Hashable, Sendable {
    /// What it names, without filters.
    var source: String
    var steps: [Step]
    var filters: [Filter]
  }

  enum Filter: String, Hashable, Sendable, CaseIterable {
    case strip, lower, capitalize, spaces

    func apply(_ text: String) -> String {
      switch self {
      case .strip: text.trimmingCharacters(in: .whitespacesAndNewlines)
      case .lower: text.lowercased()
      case .capitalize: text.capitalizedAsPython
      case .spaces: text.split(separator: "_", omittingEmptySubsequences: false).joined(separator: " ")
      }
    }
  }

  private let pieces: [Piece]
  let source: String

  /// Reads a template.
  ///
  /// - Throws: `Problem` of kind `badData` where a hole is malformed or names an unknown filter.
  init(_ source: String) throws(Problem) {
    self.source = source
    var pieces: [Piece] = []
    var rest = source[...]
    while let open = rest.range(of: "{{") {
      if open.lowerBound > rest.startIndex { pieces.append(.text(String(rest[..<open.lowerBound]))) }
      guard let close = rest.range(of: "}}", range: open.upperBound..<rest.endIndex) else {
        throw Problem(.badData, "\"{{\" without \"}}\" in a template")
      }
      pieces.append(.hole(try Self.hole(String(rest[open.upperBound..<close.lowerBound]))))
      rest = rest[close.upperBound...]
    }
    if !rest.isEmpty { pieces.append(.text(String(rest))) }
    self.pieces = pieces
  }

  private static func hole(_ source: String) throws(Problem) -> Hole {
    let parts = source.split(separator: "|", omittingEmptySubsequences: false).map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    var filters: [Filter] = []
    for name in parts.dropFirst() {
      guard let filter = Filter(rawValue: name) else {
        throw Problem(
          .badData, "unknown filter \"\(name)\" in {{\(source)}}",
          cure: "known are \(Filter.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      filters.append(filter)
    }
    var steps: [Step] = []
    for part in parts[0].split(separator: ".", omittingEmptySubsequences: false) {
      let pieces = part.split(separator: "[", omittingEmptySubsequences: false)
      guard let name = pieces.first, !name.isEmpty,
        name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" })
      else { throw Problem(.badData, "{{\(source)}} names no member") }
      steps.append(.member(String(name)))
      for index in pieces.dropFirst() {
        guard index.hasSuffix("]"), let number = Int(index.dropLast()), number >= 0, number < 1000 else {
          throw Problem(.badData, "{{\(source)}} has a bad index")
        }
        steps.append(.element(number))
      }
    }
    return Hole(source: parts[0], steps: steps, filters: filters)
  }

  /// The names of the members it begins at.
  var roots: [String] {
    pieces.compactMap {
      if case .hole(let hole) = $0, case .member(let name) = hole.steps.first { name } else { nil }
    }
  }

  private static func find(_ hole: Hole, in document: DataNode) throws(Problem) -> DataNode {
    var node = document
    for step in hole.steps {
      switch step {
      case .member(let name):
        guard let next = node[name] else {
          throw Problem(
            .badData, "the record has no \"\(hole.source)\"",
            cure: "the file is not of the form the task reads")
        }
        node = next
      case .element(let index):
        guard let list = node.list, index < list.count else {
          throw Problem(
            .badData, "the record has no \"\(hole.source)\"",
            cure: "the file is not of the form the task reads")
        }
        node = list[index]
      }
    }
    return node
  }

  /// The text with the holes filled from `document`.
  ///
  /// - Throws: `Problem` of kind `badData` where a member is missing or is no text.
  func text(_ document: DataNode) throws(Problem) -> String {
    var result = ""
    for piece in pieces {
      switch piece {
      case .text(let text): result += text
      case .hole(let hole):
        guard let text = try Self.find(hole, in: document).printed else {
          throw Problem(.badData, "\"\(hole.source)\" of the record is no text")
        }
        result += hole.filters.reduce(text) { $1.apply($0) }
      }
    }
    return result
  }

  /// The texts of a list, where the template is one hole that names a list.
  ///
  /// - Throws: `Problem` of kind `badData` where it is not, or an element is no text.
  func list(_ document: DataNode) throws(Problem) -> [String] {
    guard pieces.count == 1, case .hole(let hole) = pieces[0],
      let elements = try Self.find(hole, in: document).list
    else { throw Problem(.badData, "\"\(source)\" names no list of the record") }
    var texts: [String] = []
    for element in elements {
      guard let text = element.printed else {
        throw Problem(.badData, "\"\(hole.source)\" of the record holds something else than texts")
      }
      texts.append(hole.filters.reduce(text) { $1.apply($0) })
    }
    return texts
  }
}

/// Several texts: one template each, or one hole that names a list.
enum ListTemplate: Hashable, Sendable {
  case each([Template])
  case one(Template)

  func texts(_ document: DataNode) throws(Problem) -> [String] {
    switch self {
    case .one(let template): return try template.list(document)
    case .each(let templates):
      var texts: [String] = []
      for template in templates { texts.append(try template.text(document)) }
      return texts
    }
  }
}

extension String {
  /// The first letter large and all others small.
  var capitalizedAsPython: String {
    guard let first = unicodeScalars.first else { return self }
    return first.properties.titlecaseMapping
      + String(String.UnicodeScalarView(unicodeScalars.dropFirst())).lowercased()
  }
}
