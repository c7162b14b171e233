import LatheTensor

/// Reads JSON strictly and in one pass, calling back for each member instead of building a tree.
///
/// A safetensors header comes from anywhere: duplicate keys, fractions where integers belong and deep nesting are
/// refused, which Foundation's reader passes over in silence; and nothing is allocated but what the caller keeps.
struct JSONScanner {
  private let bytes: Bytes
  private let base: UnsafePointer<UInt8>
  private var offset = 0
  private var depth = 0
  /// Deeper nesting is refused.
  static let maximumDepth = 32

  init(_ bytes: Bytes) {
    self.bytes = bytes
    base = bytes.baseAddress.assumingMemoryBound(to: UInt8.self)
  }

  /// Reads an object; `member` must read the value of each key.
  mutating func object(
    _ member: (_ key: String, _ scanner: inout JSONScanner) throws(Problem) -> Void
  ) throws(Problem) {
    try enter("{")
    defer { depth -= 1 }
    if take("}") { return }
    var seen = Set<String>()
    repeat {
      let key = try string()
      guard seen.insert(key).inserted else { throw problem("the key \"\(key.excerpt)\" occurs twice") }
      try expect(":")
      try member(key, &self)
    } while take(",")
    try expect("}")
  }

  /// Reads an array; `element` must read each element.
  mutating func array(_ element: (_ scanner: inout JSONScanner) throws(Problem) -> Void) throws(Problem) {
    try enter("[")
    defer { depth -= 1 }
    if take("]") { return }
    repeat { try element(&self) } while take(",")
    try expect("]")
  }

  /// Reads a whole number that is not negative.
  mutating func count() throws(Problem) -> Int {
    let token = try numberToken()
    guard token.allSatisfy({ $0 >= 48 && $0 <= 57 }) else {
      throw problem("\(Self.text(token)) is not a whole, non-negative number")
    }
    guard let value = Int(Self.text(token)) else {
      throw problem("the number \(Self.text(token)) is too large")
    }
    return value
  }

  /// Reads a string.
  mutating func string() throws(Problem) -> String {
    try expect("\"")
    let start = offset
    while offset < bytes.count, base[offset] != 34, base[offset] != 92, base[offset] >= 32 { offset += 1 }
    if offset < bytes.count, base[offset] == 34 {
      defer { offset += 1 }
      return try checked(UnsafeBufferPointer(start: base + start, count: offset - start))
    }
    var units = Array(UnsafeBufferPointer(start: base + start, count: offset - start))
    while true {
      guard offset < bytes.count else { throw problem("a string does not end") }
      let byte = base[offset]
      offset += 1
      if byte == 34 { return try units.withUnsafeBufferPointer { (u) throws(Problem) in try checked(u) } }
      if byte == 92 {
        units.append(contentsOf: try escape())
      } else {
        guard byte >= 32 else { throw problem("a control character stands in a string") }
        units.append(byte)
      }
    }
  }

  /// Reads a value of any kind and forgets it.
  mutating func skip() throws(Problem) {
    switch peek() {
    case UInt8(ascii: "{"): try object { (_, scanner) throws(Problem) in try scanner.skip() }
    case UInt8(ascii: "["): try array { (scanner) throws(Problem) in try scanner.skip() }
    case UInt8(ascii: "\""): _ = try string()
    case UInt8(ascii: "t"): try word("true")
    case UInt8(ascii: "f"): try word("false")
    case UInt8(ascii: "n"): try word("null")
    default: _ = try numberToken()
    }
  }

  /// Refuses anything but white space.
  mutating func end() throws(Problem) {
    guard peek() == nil else { throw problem("something follows the end of the object") }
  }

  /// The next byte that is not white space.
  mutating func peek() -> UInt8? {
    while offset < bytes.count {
      switch base[offset] {
      case 32, 9, 10, 13: offset += 1
      default: return base[offset]
      }
    }
    return nil
  }

  /// A problem at the place reached.
  func problem(_ what: String) -> Problem {
    Problem(.badData, "the JSON is not as it should be: \(what) (byte \(offset))")
  }

  private mutating func enter(_ opening: Unicode.Scalar) throws(Problem) {
    guard depth < Self.maximumDepth else { throw problem("it is nested more than \(Self.maximumDepth) deep") }
    try expect(opening)
    depth += 1
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(scalar.value) else { return false }
    offset += 1
    return true
  }

  private mutating func expect(_ scalar: Unicode.Scalar) throws(Problem) {
    guard !take(scalar) else { return }
    guard offset < bytes.count else { throw problem("'\(scalar)' expected, and it ends") }
    throw problem("'\(scalar)' expected, \(Self.shown(base[offset])) found")
  }

  private mutating func word(_ expected: String) throws(Problem) {
    for byte in expected.utf8 {
      guard offset < bytes.count, base[offset] == byte else { throw problem("'\(expected)' expected") }
      offset += 1
    }
  }

  /// The characters of a number, in JSON's grammar.
  private mutating func numberToken() throws(Problem) -> ArraySlice<UInt8> {
    guard let first = peek() else { throw problem("a number expected, and it ends") }
    let start = offset
    if first == UInt8(ascii: "-") { offset += 1 }
    let whole = digits()
    guard whole > 0 else { throw problem("a number expected, \(Self.shown(first)) found") }
    if whole > 1, base[offset - whole] == 48 { throw problem("a number starts with 0") }
    if offset < bytes.count, base[offset] == UInt8(ascii: ".") {
      offset += 1
      guard digits() > 0 else { throw problem("digits expected after the point") }
    }
    if offset < bytes.count, base[offset] | 32 == UInt8(ascii: "e") {
      offset += 1
      if offset < bytes.count, base[offset] == 43 || base[offset] == 45 { offset += 1 }
      guard digits() > 0 else { throw problem("digits expected in the exponent") }
    }
    guard offset - start <= 64 else { throw problem("a number has \(offset - start) characters") }
    return Array(UnsafeBufferPointer(start: base + start, count: offset - start))[...]
  }

  private mutating func digits() -> Int {
    let start = offset
    while offset < bytes.count, base[offset] >= 48, base[offset] <= 57 { offset += 1 }
    return offset - start
  }

  /// The UTF-8 of the escape sequence after a backslash.
  private mutating func escape() throws(Problem) -> [UInt8] {
    guard offset < bytes.count else { throw problem("a string does not end") }
    let byte = base[offset]
    offset += 1
    switch Unicode.Scalar(byte) {
    case "\"", "\\", "/": return [byte]
    case "b": return [8]
    case "f": return [12]
    case "n": return [10]
    case "r": return [13]
    case "t": return [9]
    case "u":
      var code = try hexadecimal()
      if code >= 0xD800, code < 0xDC00, offset + 1 < bytes.count, base[offset] == 92, base[offset + 1] == 117
      {
        offset += 2
        let low = try hexadecimal()
        guard low >= 0xDC00, low < 0xE000 else { throw problem("half a surrogate pair in a string") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw problem("half a surrogate pair in a string") }
      return Array(String(Character(scalar)).utf8)
    default: throw problem("an unknown escape in a string")
    }
  }

  private mutating func hexadecimal() throws(Problem) -> UInt32 {
    guard bytes.count - offset >= 4 else { throw problem("a string does not end") }
    let digits = UnsafeBufferPointer(start: base + offset, count: 4)
    guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw problem("four hexadecimal digits expected") }
    offset += 4
    return code
  }

  private func checked(_ units: UnsafeBufferPointer<UInt8>) throws(Problem) -> String {
    guard let text = String(validating: units, as: UTF8.self) else { throw problem("a string is not UTF-8") }
    return text
  }

  private static func text(_ token: ArraySlice<UInt8>) -> String { String(decoding: token, as: UTF8.self) }

  private static func shown(_ byte: UInt8) -> String {
    byte > 32 && byte < 127 ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
  }
}

extension String {
  /// The text as a JSON string, quoted.
  var quotedJSON: String {
    var result = "\""
    for scalar in unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      default:
        if scalar.value < 32 {
          let digits = String(scalar.value, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        } else {
          result.unicodeScalars.append(scalar)
        }
      }
    }
    return result + "\""
  }
}
