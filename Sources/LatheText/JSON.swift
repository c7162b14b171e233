internal import LatheTensor

/// A value of a JSON text, read when it is asked for.
///
/// A vocabulary of 150,000 pieces is too much for a tree of Swift values, and a dictionary of strings would
/// take pieces that are canonically equivalent in Unicode for the same; here a piece is its bytes.
struct JSON {
  private let bytes: Bytes
  private let range: Range<Int>

  /// The one value that `bytes` holds; what is inside is checked when it is read.
  ///
  /// - Throws: `Problem` of kind `badData` where there is none.
  init(_ bytes: Bytes) throws(Problem) {
    var scanner = Scanner(bytes, 0..<bytes.count)
    // A byte order mark is allowed.
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { scanner.at = 3 }
    scanner.skipSpace()
    var end = bytes.count
    while end > scanner.at, bytes[end - 1] <= 0x20 { end -= 1 }
    guard scanner.at < end else { throw scanner.damaged("is empty") }
    self.init(bytes, scanner.at..<end)
  }

  private init(_ bytes: Bytes, _ range: Range<Int>) { (self.bytes, self.range) = (bytes, range) }

  private var first: UInt8 { bytes[range.lowerBound] }

  var isNull: Bool { first == UInt8(ascii: "n") }
  var bool: Bool? { first == UInt8(ascii: "t") ? true : first == UInt8(ascii: "f") ? false : nil }
  var isObject: Bool { first == UInt8(ascii: "{") }
  var isArray: Bool { first == UInt8(ascii: "[") }
  var int: Int? { Int(bytes[range].text) }
  var double: Double? { Double(bytes[range].text) }

  /// The bytes of a string, its escapes undone.
  var string: [UInt8]? {
    var result: [UInt8] = []
    return appendString(to: &result) ? result : nil
  }

  /// Appends the bytes of a string to `target`.
  ///
  /// - Returns: false where the value is not a string.
  func appendString(to target: inout [UInt8]) -> Bool {
    guard first == UInt8(ascii: "\"") else { return false }
    var scanner = Scanner(bytes, range)
    do {
      try scanner.readString(into: &target)
      return true
    } catch {
      return false
    }
  }

  var text: String? { string.map { String(decoding: $0, as: UTF8.self) } }

  /// The member called `name` of an object; of several, the last.
  func member(_ name: String) throws(Problem) -> JSON? {
    guard isObject else { return nil }
    var result: JSON?
    try forEachMember { key, value in
      if key.elementsEqual(name.utf8) { result = value }
    }
    guard let result, !result.isNull else { return nil }
    return result
  }

  /// Calls `body` with the members of an object, in the order of the file.
  func forEachMember(_ body: ([UInt8], JSON) throws(Problem) -> Void) throws(Problem) {
    var scanner = Scanner(bytes, range)
    var key: [UInt8] = []
    guard scanner.take(UInt8(ascii: "{")) else { throw scanner.damaged("has no object where one is needed") }
    scanner.skipSpace()
    if scanner.take(UInt8(ascii: "}")) { return try scanner.expectEnd() }
    repeat {
      scanner.skipSpace()
      key.removeAll(keepingCapacity: true)
      try scanner.readString(into: &key)
      scanner.skipSpace()
      guard scanner.take(UInt8(ascii: ":")) else { throw scanner.damaged("lacks a colon") }
      scanner.skipSpace()
      let start = scanner.at
      try scanner.skipValue()
      try body(key, JSON(bytes, start..<scanner.at))
      scanner.skipSpace()
    } while scanner.take(UInt8(ascii: ","))
    guard scanner.take(UInt8(ascii: "}")) else { throw scanner.damaged("lacks a closing brace") }
    try scanner.expectEnd()
  }

  /// Calls `body` with the elements of an array.
  func forEachElement(_ body: (JSON) throws(Problem) -> Void) throws(Problem) {
    var scanner = Scanner(bytes, range)
    guard scanner.take(UInt8(ascii: "[")) else { throw scanner.damaged("has no array where one is needed") }
    scanner.skipSpace()
    if scanner.take(UInt8(ascii: "]")) { return try scanner.expectEnd() }
    repeat {
      scanner.skipSpace()
      let start = scanner.at
      try scanner.skipValue()
      try body(JSON(bytes, start..<scanner.at))
      scanner.skipSpace()
    } while scanner.take(UInt8(ascii: ","))
    guard scanner.take(UInt8(ascii: "]")) else { throw scanner.damaged("lacks a closing bracket") }
    try scanner.expectEnd()
  }

  /// The elements of an array; none where the value is not an array.
  func elements() throws(Problem) -> [JSON] {
    guard isArray else { return [] }
    var result: [JSON] = []
    try forEachElement { result.append($0) }
    return result
  }
}

/// Walks over the bytes of a JSON text.
private struct Scanner {
  // Keeps the memory that `base` points into.
  let bytes: Bytes
  let base: UnsafePointer<UInt8>
  let end: Int
  var at: Int

  init(_ bytes: Bytes, _ range: Range<Int>) {
    self.bytes = bytes
    base = bytes.baseAddress.assumingMemoryBound(to: UInt8.self)
    (at, end) = (range.lowerBound, range.upperBound)
  }

  func damaged(_ what: String) -> Problem {
    Problem(.badData, "the JSON \(what), near byte \(at)", cure: "fetch the file again")
  }

  func expectEnd() throws(Problem) {
    guard at == end else { throw damaged("has more after its end") }
  }

  mutating func skipSpace() {
    while at < end, base[at] == 0x20 || base[at] == 0x0A || base[at] == 0x0D || base[at] == 0x09 { at += 1 }
  }

  mutating func take(_ byte: UInt8) -> Bool {
    guard at < end, base[at] == byte else { return false }
    at += 1
    return true
  }

  /// Goes behind the value that starts here. Of what is nested only strings and the balance of brackets are
  /// looked at; the rest is checked when it is read.
  mutating func skipValue() throws(Problem) {
    guard at < end else { throw damaged("ends early") }
    switch base[at] {
    case UInt8(ascii: "\""): try skipString()
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      var depth = 0
      repeat {
        guard at < end else { throw damaged("ends inside an object or array") }
        switch base[at] {
        case UInt8(ascii: "\""):
          try skipString()
          continue
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
        default: break
        }
        at += 1
      } while depth > 0
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "t"), UInt8(ascii: "f"),
      UInt8(ascii: "n"):
      while at < end, isPlain(base[at]) { at += 1 }
    default: throw damaged("has an unexpected character")
    }
  }

  private func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "E"),
      UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  private mutating func skipString() throws(Problem) {
    at += 1
    while at < end {
      let byte = base[at]
      at += byte == UInt8(ascii: "\\") ? 2 : 1
      if byte == UInt8(ascii: "\"") { return }
    }
    at = min(at, end)
    throw damaged("ends inside a string")
  }

  /// Appends the bytes of the string that starts here, its escapes undone.
  mutating func readString(into target: inout [UInt8]) throws(Problem) {
    guard take(UInt8(ascii: "\"")) else { throw damaged("lacks a string") }
    while at < end {
      let start = at
      while at < end, base[at] != UInt8(ascii: "\""), base[at] != UInt8(ascii: "\\") { at += 1 }
      target.append(contentsOf: UnsafeBufferPointer(start: base + start, count: at - start))
      if take(UInt8(ascii: "\"")) { return }
      at += 1
      guard at < end else { break }
      try readEscape(into: &target)
    }
    throw damaged("ends inside a string")
  }

  private mutating func readEscape(into target: inout [UInt8]) throws(Problem) {
    let character = base[at]
    at += 1
    switch character {
    case UInt8(ascii: "n"): target.append(0x0A)
    case UInt8(ascii: "t"): target.append(0x09)
    case UInt8(ascii: "r"): target.append(0x0D)
    case UInt8(ascii: "b"): target.append(0x08)
    case UInt8(ascii: "f"): target.append(0x0C)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): target.append(character)
    case UInt8(ascii: "u"):
      var code = try readHex()
      if code & 0xFC00 == 0xD800, at + 1 < end, base[at] == UInt8(ascii: "\\"),
        base[at + 1] == UInt8(ascii: "u")
      {
        let mark = at
        at += 2
        let low = try readHex()
        if low & 0xFC00 == 0xDC00 {
          code = 0x10000 + (code & 0x3FF) << 10 + low & 0x3FF
        } else {
          at = mark
        }
      }
      target.append(contentsOf: String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8)
    default: throw damaged("has an unknown escape")
    }
  }

  private mutating func readHex() throws(Problem) -> UInt32 {
    guard at + 4 <= end else { throw damaged("ends inside an escape") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(base[at])).hexDigitValue else {
        throw damaged("has a bad escape")
      }
      code = code << 4 | UInt32(digit)
      at += 1
    }
    return code
  }
}
