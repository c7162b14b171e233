internal import LatheTensor

/// How SentencePiece rewrites a text before it looks for pieces: characters mapped, spaces collapsed, turned
/// into a symbol, and one put before the text.
struct WhitespaceRules: Sendable {
  /// U+2581, which stands for a space inside pieces.
  static let symbol: [UInt8] = [0xE2, 0x96, 0x81]

  var addsDummyPrefix = true
  var removesExtraWhitespace = true
  var escapesWhitespace = true
  var treatsWhitespaceAsSuffix = false
  var characters: CharacterMap?
  /// Pieces a user defined, which no rule changes.
  var kept = LiteralSet()

  /// The text that is cut into pieces.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    if characters == nil, kept.isEmpty, !removesExtraWhitespace { return escaped(text) }
    var target: [UInt8] = []
    target.reserveCapacity(text.count + text.count / 2 + 8)
    let space = escapesWhitespace ? WhitespaceRules.symbol : [0x20]
    text.withUnsafeBufferPointer { text in
      var at = 0
      if removesExtraWhitespace {
        while at < text.count {
          let step = next(in: text, at: at)
          guard step.mapped.map({ $0 == [0x20] }) ?? (step.end == at + 1 && text[at] == 0x20) else { break }
          at = step.end
        }
        if at == text.count { return }
      }
      if addsDummyPrefix, !treatsWhitespaceAsSuffix, !text.isEmpty { target += space }
      var previousIsSpace = removesExtraWhitespace
      while at < text.count {
        let step = next(in: text, at: at)
        var last: UInt8?
        func append(_ byte: UInt8) {
          if previousIsSpace, last == nil, byte == 0x20 { return }
          if byte == 0x20 { target += space } else { target.append(byte) }
          last = byte
        }
        if let mapped = step.mapped {
          for byte in mapped { append(byte) }
        } else {
          for i in at..<step.end { append(text[i]) }
        }
        if let last { previousIsSpace = last == 0x20 }
        if !removesExtraWhitespace { previousIsSpace = false }
        at = step.end
      }
      if removesExtraWhitespace {
        while target.count >= space.count, target.suffix(space.count).elementsEqual(space) {
          target.removeLast(space.count)
        }
      }
      if addsDummyPrefix, treatsWhitespaceAsSuffix, !text.isEmpty { target += space }
    }
    return target
  }

  /// What most models need: spaces replaced, and one put before or after the text.
  private func escaped(_ text: [UInt8]) -> [UInt8] {
    guard !text.isEmpty else { return [] }
    let space = escapesWhitespace ? WhitespaceRules.symbol : [0x20]
    let spaces = text.count { $0 == 0x20 } + (addsDummyPrefix ? 1 : 0)
    return [UInt8](unsafeUninitializedCapacity: text.count + spaces * space.count) { target, count in
      func append(_ bytes: [UInt8]) {
        for byte in bytes {
          target[count] = byte
          count += 1
        }
      }
      if addsDummyPrefix, !treatsWhitespaceAsSuffix { append(space) }
      for byte in text {
        if byte == 0x20 {
          append(space)
        } else {
          target[count] = byte
          count += 1
        }
      }
      if addsDummyPrefix, treatsWhitespaceAsSuffix { append(space) }
    }
  }

  /// Where the character, or the kept piece, at `start` ends, and what replaces it; nil, it stays itself.
  private func next(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> (end: Int, mapped: [UInt8]?) {
    if let length = kept.match(in: text, at: start) { return (start + length, nil) }
    if let characters, let (length, replacement) = characters.longestMatch(in: text, at: start) {
      return (start + length, replacement)
    }
    return (min(text.count, start + characterLength(text[start])), nil)
  }
}

/// SentencePiece's precompiled map of characters (NFKC and its like): a double-array trie and the replacements
/// it points to.
struct CharacterMap: Sendable {
  private let units: [UInt32]
  private let replacements: [UInt8]

  /// Reads the map: the size of the trie in bytes, the trie, and replacements that end with a zero byte.
  ///
  /// - Throws: `Problem` of kind `badData` where the sizes contradict each other.
  init(_ data: [UInt8]) throws(Problem) {
    let bytes = Bytes(data)
    guard bytes.count >= 4 else { throw CharacterMap.damaged }
    let size = Int(bytes.load(at: 0, as: UInt32.self).littleEndian)
    guard size >= 4, size % 4 == 0, size <= bytes.count - 4 else { throw CharacterMap.damaged }
    units = bytes[4..<(4 + size)].elements(as: UInt32.self).map { UInt32(littleEndian: $0) }
    replacements = Array(data[(4 + size)...])
  }

  private static var damaged: Problem {
    Problem(.badData, "the model's map of characters is damaged", cure: "fetch the tokenizer again")
  }

  /// The longest prefix of `text[start...]` that the map knows, and what replaces it.
  func longestMatch(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> (Int, [UInt8])? {
    func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & (1 << 9)) >> 6) }
    var position = offset(units[0])
    var best: (length: Int, value: Int)?
    var i = start
    while i < text.count {
      position ^= Int(text[i])
      guard position < units.count else { break }
      let unit = units[position]
      guard unit & (1 << 31 | 0xFF) == UInt32(text[i]) else { break }
      position ^= offset(unit)
      i += 1
      if unit >> 8 & 1 == 1, position < units.count {
        best = (i - start, Int(units[position] & 0x7FFF_FFFF))
      }
    }
    guard let best, best.value < replacements.count else { return nil }
    return (best.length, Array(replacements[best.value...].prefix { $0 != 0 }))
  }
}
