/// A token that is found in a text before anything else looks at it.
struct AddedToken: Sendable {
  var text: [UInt8]
  var id: Int32
  /// Whether it steers the model rather than being text; decoding can leave it out.
  var isSpecial = true
  /// Whether white space before or after it belongs to it.
  var takesSpaceBefore = false
  var takesSpaceAfter = false
  /// Whether it counts only between characters that are not part of a word.
  var isWord = false
}

/// A set of literal texts; finds the longest one at a place of a text.
struct LiteralSet: Sendable {
  private var table = PieceTable()
  // For each first byte, the lengths of the texts that start with it, the longest first.
  private var lengths = [[Int]](repeating: [], count: 256)
  private var starts = [Bool](repeating: false, count: 256)

  var isEmpty: Bool { table.count == 0 }

  /// Adds a text, unless it is there already, under an id.
  mutating func insert(_ text: some Collection<UInt8>, id: Int32 = 0) {
    guard let first = text.first, table.insert(text, id: id) else { return }
    starts[Int(first)] = true
    if !lengths[Int(first)].contains(text.count) {
      lengths[Int(first)].append(text.count)
      lengths[Int(first)].sort(by: >)
    }
  }

  /// The length of the longest of the texts that stands at `start`, if one does.
  @inline(__always)
  func match(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> Int? {
    starts[Int(text[start])] ? longest(in: text, at: start)?.length : nil
  }

  /// The length and the id of the longest of the texts that stands at `start`, if one does.
  func longest(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> (length: Int, id: Int32)? {
    for length in lengths[Int(text[start])] where start + length <= text.count {
      let id = table.find(text.baseAddress! + start, length)
      if id >= 0 { return (length, id) }
    }
    return nil
  }

  /// The first place from `start` on where one of the texts stands.
  func first(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> (at: Int, length: Int, id: Int32)? {
    guard !isEmpty else { return nil }
    return starts.withUnsafeBufferPointer { starts in
      for i in start..<max(start, text.count) where starts[Int(text[i])] {
        if let found = longest(in: text, at: i) { return (i, found.length, found.id) }
      }
      return nil
    }
  }
}

/// The added tokens of a tokenizer that are looked for at one stage: in the raw or in the normalized text.
struct AddedTokens: Sendable {
  private(set) var all: [AddedToken] = []
  private var every = LiteralSet()
  private var plain = LiteralSet()

  var isEmpty: Bool { all.isEmpty }

  mutating func insert(_ token: AddedToken) {
    guard !token.text.isEmpty else { return }
    every.insert(token.text, id: Int32(all.count))
    if !token.isSpecial { plain.insert(token.text, id: Int32(all.count)) }
    all.append(token)
  }

  /// A part of a text: the bytes between tokens, or a token.
  enum Part {
    case text(Range<Int>)
    case token(Int32)
  }

  /// Cuts `text` at the tokens in it; those that steer the model count only where `parsesSpecial`.
  func parts(of text: UnsafeBufferPointer<UInt8>, parsesSpecial: Bool) -> [Part] {
    let literals = parsesSpecial ? every : plain
    guard !literals.isEmpty else { return text.isEmpty ? [] : [.text(0..<text.count)] }
    var parts: [Part] = []
    var taken = 0
    var at = 0
    while let found = literals.first(in: text, from: at) {
      let token = all[Int(found.id)]
      var start = found.at
      var end = found.at + found.length
      at = end
      if token.isWord, isWordCharacter(before: start, in: text) || isWordCharacter(at: end, in: text) {
        continue
      }
      if token.takesSpaceBefore { start = max(taken, spaceStart(before: start, in: text)) }
      if token.takesSpaceAfter { end = spaceEnd(after: end, in: text) }
      if taken < start { parts.append(.text(taken..<start)) }
      parts.append(.token(token.id))
      taken = end
      at = end
    }
    if taken < text.count { parts.append(.text(taken..<text.count)) }
    return parts
  }

  private func scalar(at index: Int, in text: UnsafeBufferPointer<UInt8>) -> Unicode.Scalar? {
    guard index < text.count else { return nil }
    let end = min(text.count, index + characterLength(text[index]))
    return String(decoding: text[index..<end], as: UTF8.self).unicodeScalars.first
  }

  private func scalar(before index: Int, in text: UnsafeBufferPointer<UInt8>) -> (Unicode.Scalar, start: Int)?
  {
    var start = index - 1
    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
    return start < 0 ? nil : scalar(at: start, in: text).map { ($0, start) }
  }

  private func isWordCharacter(_ scalar: Unicode.Scalar) -> Bool {
    let properties = scalar.properties
    return properties.isAlphabetic || scalar == "_" || properties.numericType == .decimal
      || properties.generalCategory == .nonspacingMark
  }

  private func isWordCharacter(at index: Int, in text: UnsafeBufferPointer<UInt8>) -> Bool {
    scalar(at: index, in: text).map(isWordCharacter) ?? false
  }

  private func isWordCharacter(before index: Int, in text: UnsafeBufferPointer<UInt8>) -> Bool {
    scalar(before: index, in: text).map { isWordCharacter($0.0) } ?? false
  }

  private func spaceStart(before index: Int, in text: UnsafeBufferPointer<UInt8>) -> Int {
    var at = index
    while let (scalar, start) = scalar(before: at, in: text), scalar.properties.isWhitespace { at = start }
    return at
  }

  private func spaceEnd(after index: Int, in text: UnsafeBufferPointer<UInt8>) -> Int {
    var at = index
    while let scalar = scalar(at: at, in: text), scalar.properties.isWhitespace {
      at += characterLength(text[at])
    }
    return at
  }
}
