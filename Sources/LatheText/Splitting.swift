internal import LatheTensor

/// A step that cuts a text into words before the model sees it (a pre-tokenizer).
enum SplitStep: Sendable {
  /// What becomes of the matches and of what lies between them.
  enum Behavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  /// Cuts at the matches of an expression; `inverted`, the matches are the words and the rest the separators.
  case pattern(Pattern, Behavior, inverted: Bool)
  /// Cuts at a literal text.
  case literal([UInt8], Behavior, inverted: Bool)
  /// Puts a space before a text that does not start with one.
  case prefixSpace
  /// Replaces spaces by a symbol, puts the symbol before the text, and cuts before every symbol.
  case metaspace(symbol: [UInt8], prefix: MetaspacePrefix, cuts: Bool)
}

/// When a Metaspace step puts its symbol before a text.
enum MetaspacePrefix: String, Sendable {
  case always, first, never
}

/// A text and the words it is cut into, on the way through the steps.
struct SplitText {
  var bytes: [UInt8]
  var words: [Range<Int>]

  /// Applies `steps`, one after the other; `isFirst` says that the text begins the whole input.
  mutating func apply(_ steps: [SplitStep], isFirst: Bool) throws(Problem) {
    for step in steps {
      switch step {
      case .pattern(let pattern, let behavior, let inverted):
        let bytes = bytes
        let matcher = try pattern.matcher()
        try cut(behavior, inverted) { (word, found) throws(Problem) in
          try bytes.withUnsafeBufferPointer { buffer throws(Problem) in
            try matcher.forEachMatch(in: UnsafeBufferPointer(rebasing: buffer[word])) {
              found.append(word.lowerBound + $0.lowerBound..<word.lowerBound + $0.upperBound)
            }
          }
        }
      case .literal(let literal, let behavior, let inverted):
        let bytes = bytes
        try cut(behavior, inverted) { (word, found) throws(Problem) in
          matches(of: literal, in: bytes, word, into: &found)
        }
      case .prefixSpace:
        rewrite { word, target in
          if !startsWithSpace(word) { target.append(0x20) }
          target.append(contentsOf: word)
        }
      case .metaspace(let symbol, let prefix, let cuts):
        applyMetaspace(symbol, prefix, isFirst: isFirst)
        if cuts {
          let bytes = bytes
          try cut(.mergedWithNext, false) { (word, found) throws(Problem) in
            matches(of: symbol, in: bytes, word, into: &found)
          }
        }
      }
    }
  }

  private mutating func applyMetaspace(_ symbol: [UInt8], _ prefix: MetaspacePrefix, isFirst: Bool) {
    rewrite { word, target in
      let begins = word.startIndex == 0 && isFirst
      let hasOne = word.starts(with: symbol) || word.first == 0x20
      if !hasOne, prefix == .always || (prefix == .first && begins) { target.append(contentsOf: symbol) }
      for byte in word {
        if byte == 0x20 { target.append(contentsOf: symbol) } else { target.append(byte) }
      }
    }
  }

  /// Replaces every word by what `body` appends for it.
  private mutating func rewrite(_ body: (ArraySlice<UInt8>, inout [UInt8]) -> Void) {
    var target: [UInt8] = []
    target.reserveCapacity(bytes.count + words.count)
    for index in words.indices {
      let start = target.count
      body(bytes[words[index]], &target)
      words[index] = start..<target.count
    }
    bytes = target
  }

  /// Cuts every word at what `find` appends for it.
  private mutating func cut(
    _ behavior: Behavior, _ inverted: Bool,
    _ find: (Range<Int>, inout [Range<Int>]) throws(Problem) -> Void
  ) throws(Problem) {
    var result: [Range<Int>] = []
    var found: [Range<Int>] = []
    result.reserveCapacity(words.count == 1 ? bytes.count / 4 : words.count)
    for word in words {
      found.removeAll(keepingCapacity: true)
      try find(word, &found)
      if behavior == .isolated {
        SplitText.isolate(found, in: word, into: &result)
      } else {
        SplitText.arrange(SplitText.parts(found, in: word, inverted), behavior, into: &result)
      }
    }
    words = result
  }

  typealias Behavior = SplitStep.Behavior
  private typealias Part = (range: Range<Int>, isMatch: Bool)

  private static func isolate(_ found: [Range<Int>], in word: Range<Int>, into result: inout [Range<Int>]) {
    var at = word.lowerBound
    for match in found {
      if at < match.lowerBound { result.append(at..<match.lowerBound) }
      if !match.isEmpty { result.append(match) }
      at = match.upperBound
    }
    if at < word.upperBound { result.append(at..<word.upperBound) }
  }

  private static func parts(_ found: [Range<Int>], in word: Range<Int>, _ inverted: Bool) -> [Part] {
    var parts: [Part] = []
    var at = word.lowerBound
    for match in found where !match.isEmpty {
      if at < match.lowerBound { parts.append((at..<match.lowerBound, inverted)) }
      parts.append((match, !inverted))
      at = match.upperBound
    }
    if at < word.upperBound { parts.append((at..<word.upperBound, inverted)) }
    return parts
  }

  private static func arrange(_ parts: [Part], _ behavior: Behavior, into result: inout [Range<Int>]) {
    switch behavior {
    case .removed: result += parts.lazy.filter { !$0.isMatch }.map(\.range)
    case .isolated: result += parts.lazy.map(\.range)
    case .contiguous:
      var last: Bool?
      for part in parts {
        if part.isMatch == last {
          result[result.count - 1] = result[result.count - 1].lowerBound..<part.range.upperBound
        } else {
          result.append(part.range)
        }
        last = part.isMatch
      }
    case .mergedWithPrevious:
      var previousIsMatch = true
      for part in parts {
        if part.isMatch, !previousIsMatch {
          result[result.count - 1] = result[result.count - 1].lowerBound..<part.range.upperBound
        } else {
          result.append(part.range)
        }
        previousIsMatch = part.isMatch
      }
    case .mergedWithNext:
      var pending: Int?
      for (index, part) in parts.enumerated() {
        if part.isMatch {
          if let pending { result.append(pending..<part.range.lowerBound) }
          pending = part.range.lowerBound
          if index == parts.count - 1 { result.append(part.range) }
        } else {
          result.append((pending ?? part.range.lowerBound)..<part.range.upperBound)
          pending = nil
        }
      }
    }
  }
}

/// Whether a text starts with a Unicode white space.
func startsWithSpace(_ text: ArraySlice<UInt8>) -> Bool {
  guard let scalar = String(decoding: text.prefix(4), as: UTF8.self).unicodeScalars.first else {
    return false
  }
  return scalar.properties.isWhitespace
}

/// Appends where `literal` stands in `bytes[part]`, leftmost first, without overlaps.
func matches(of literal: [UInt8], in bytes: [UInt8], _ part: Range<Int>, into found: inout [Range<Int>]) {
  guard !literal.isEmpty else { return }
  var i = part.lowerBound
  while i + literal.count <= part.upperBound {
    if bytes[i] == literal[0], bytes[i..<(i + literal.count)].elementsEqual(literal) {
      found.append(i..<(i + literal.count))
      i += literal.count
    } else {
      i += 1
    }
  }
}
