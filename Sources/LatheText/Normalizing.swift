internal import Foundation
internal import LatheTensor

/// A step that rewrites a text before it is cut into words (a normalizer).
enum NormalizerStep: Sendable {
  /// Puts a text before one that is not empty.
  case prepend([UInt8])
  /// Replaces a literal text.
  case replace([UInt8], with: [UInt8])
  /// Replaces the matches of an expression.
  case replacePattern(Pattern, with: [UInt8])
  case unicode(UnicodeForm)
  case lowercase
  /// Removes white space at the ends.
  case strip(left: Bool, right: Bool)
  /// Removes combining marks.
  case stripAccents
  /// SentencePiece's own rules.
  case sentencePiece(WhitespaceRules)

  /// Unicode's normal forms.
  enum UnicodeForm: String, Sendable {
    case composed = "NFC"
    case compatibilityComposed = "NFKC"
    case decomposed = "NFD"
    case compatibilityDecomposed = "NFKD"
  }

  /// Rewrites `text`, which is valid UTF-8.
  func apply(to text: inout [UInt8]) throws(Problem) {
    switch self {
    case .prepend(let prefix): if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
    case .replace(let old, let new): NormalizerStep.replace(old, with: new, in: &text)
    case .replacePattern(let pattern, let new):
      var found: [Range<Int>] = []
      let matcher = try pattern.matcher()
      try text.withUnsafeBufferPointer { buffer throws(Problem) in
        try matcher.forEachMatch(in: buffer) { found.append($0) }
      }
      NormalizerStep.replace(found, with: new, in: &text)
    case .unicode(let form): NormalizerStep.normalize(&text, form)
    case .lowercase: NormalizerStep.mapScalars(&text) { $0.properties.lowercaseMapping }
    case .strip(let left, let right): NormalizerStep.strip(&text, left, right)
    case .stripAccents:
      NormalizerStep.mapScalars(&text) {
        switch $0.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: ""
        default: String($0)
        }
      }
    case .sentencePiece(let rules): text = rules.normalized(text)
    }
  }

  private static func replace(_ old: [UInt8], with new: [UInt8], in text: inout [UInt8]) {
    guard !old.isEmpty, text.count >= old.count else { return }
    var target: [UInt8] = []
    target.reserveCapacity(text.count + text.count / 2)
    text.withUnsafeBufferPointer { text in
      var i = 0
      while i < text.count {
        if text[i] == old[0], i + old.count <= text.count,
          (1..<old.count).allSatisfy({ text[i + $0] == old[$0] })
        {
          target.append(contentsOf: new)
          i += old.count
        } else {
          target.append(text[i])
          i += 1
        }
      }
    }
    text = target
  }

  private static func replace(_ found: [Range<Int>], with new: [UInt8], in text: inout [UInt8]) {
    var target: [UInt8] = []
    target.reserveCapacity(text.count)
    var at = 0
    for match in found {
      target.append(contentsOf: text[at..<match.lowerBound])
      target.append(contentsOf: new)
      at = match.upperBound
    }
    target.append(contentsOf: text[at...])
    text = target
  }

  private static func normalize(_ text: inout [UInt8], _ form: UnicodeForm) {
    // Below U+0300, whose lead byte is 0xCC, canonical composition changes nothing; below U+00A0 none does.
    let limit: UInt8 = form == .composed ? 0xCC : 0x80
    guard text.contains(where: { $0 >= limit }) else { return }
    let string = String(decoding: text, as: UTF8.self)
    text =
      switch form {
      case .composed: Array(string.precomposedStringWithCanonicalMapping.utf8)
      case .compatibilityComposed: Array(string.precomposedStringWithCompatibilityMapping.utf8)
      case .decomposed: Array(string.decomposedStringWithCanonicalMapping.utf8)
      case .compatibilityDecomposed: Array(string.decomposedStringWithCompatibilityMapping.utf8)
      }
  }

  private static func mapScalars(_ text: inout [UInt8], _ map: (Unicode.Scalar) -> String) {
    var target: [UInt8] = []
    target.reserveCapacity(text.count)
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      target.append(contentsOf: map(scalar).utf8)
    }
    text = target
  }

  private static func strip(_ text: inout [UInt8], _ left: Bool, _ right: Bool) {
    var scalars = Substring(String(decoding: text, as: UTF8.self)).unicodeScalars
    if left { while scalars.first?.properties.isWhitespace == true { scalars.removeFirst() } }
    if right { while scalars.last?.properties.isWhitespace == true { scalars.removeLast() } }
    text = Array(String(scalars).utf8)
  }
}
