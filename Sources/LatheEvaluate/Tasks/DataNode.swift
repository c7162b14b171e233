internal import LatheTensor

/// A value of a task file or of a document, which knows the line it stands on.
struct DataNode: Hashable, Sendable {
  /// A member of an object, and the line of its key.
  struct Member: Hashable, Sendable {
    var key: String
    var line: Int
    var node: DataNode
  }

  enum Value: Hashable, Sendable {
    case null
    case flag(Bool)
    /// A number as it is spelled.
    case number(String)
    case text(String)
    case list([DataNode])
    case object([Member])
  }

  var value: Value
  var line: Int

  init(_ value: Value, line: Int = 0) { (self.value, self.line) = (value, line) }

  // Where a node stands is no part of what it is.
  static func == (a: DataNode, b: DataNode) -> Bool { a.value == b.value }
  func hash(into hasher: inout Hasher) { hasher.combine(value) }

  /// The member called `key`.
  subscript(key: String) -> DataNode? {
    guard case .object(let members) = value else { return nil }
    return members.last { $0.key == key }?.node
  }

  var text: String? { if case .text(let text) = value { text } else { nil } }
  var list: [DataNode]? { if case .list(let list) = value { list } else { nil } }
  var flag: Bool? { if case .flag(let flag) = value { flag } else { nil } }
  var integer: Int? { if case .number(let number) = value { Int(number) } else { nil } }
  var members: [Member]? { if case .object(let members) = value { members } else { nil } }

  /// The value as a template prints it; nil for lists, objects and nothing.
  var printed: String? {
    switch value {
    case .text(let text): text
    case .number(let number): number
    case .flag(let flag): flag ? "true" : "false"
    default: nil
    }
  }

  /// The same object with a member set.
  func setting(_ key: String, _ value: Value) -> DataNode {
    guard case .object(var members) = self.value else { return self }
    members.removeAll { $0.key == key }
    members.append(Member(key: key, line: line, node: DataNode(value, line: line)))
    return DataNode(.object(members), line: line)
  }

  /// What a task's or document's digest is taken of.
  var canonical: String {
    switch value {
    case .null: return "null"
    case .flag(let flag): return flag ? "true" : "false"
    case .number(let number): return number
    case .text(let text): return "\"" + text + "\""
    case .list(let list): return "[" + list.map(\.canonical).joined(separator: ",") + "]"
    case .object(let members):
      let sorted = members.sorted { $0.key < $1.key }
      return "{" + sorted.map { "\"\($0.key)\":\($0.node.canonical)" }.joined(separator: ",") + "}"
    }
  }
}

/// Reads JSON strictly and remembers lines; nesting is limited, so that no file can exhaust the stack.
struct DataParser {
  private let bytes: [UInt8]
  private var at = 0
  private var line: Int
  private static let deepest = 32

  private init(_ bytes: [UInt8], line: Int) { (self.bytes, self.line) = (bytes, line) }

  /// The one value in `text`, whose first line is numbered `line`.
  ///
  /// - Throws: `Problem` of kind `badData` at `file:line`.
  static func parse(_ text: some Sequence<UInt8>, file: String, line: Int = 1) throws(Problem) -> DataNode {
    var parser = DataParser(Array(text), line: line)
    do throws(Problem) {
      if parser.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { parser.at = 3 }
      let node = try parser.value(depth: 0)
      parser.skipSpace()
      guard parser.at == parser.bytes.count else { throw parser.problem("has more after its end") }
      return node
    } catch {
      throw Problem(error.kind, error.what, at: "\(file):\(parser.line)", cure: error.cure)
    }
  }

  private func problem(_ what: String) -> Problem {
    Problem(.badData, "the JSON \(what)", cure: "correct the line")
  }

  private mutating func skipSpace() {
    while at < bytes.count {
      switch bytes[at] {
      case 0x0A: line += 1
      case 0x20, 0x09, 0x0D: break
      default: return
      }
      at += 1
    }
  }

  private mutating func take(_ character: Character) -> Bool {
    guard at < bytes.count, bytes[at] == character.asciiValue else { return false }
    at += 1
    return true
  }

  private mutating func value(depth: Int) throws(Problem) -> DataNode {
    guard depth < Self.deepest else { throw problem("is nested more than \(Self.deepest) levels") }
    skipSpace()
    let start = line
    guard at < bytes.count else { throw problem("ends early") }
    switch Character(Unicode.Scalar(bytes[at])) {
    case "{": return DataNode(.object(try members(depth)), line: start)
    case "[": return DataNode(.list(try elements(depth)), line: start)
    case "\"": return DataNode(.text(try string()), line: start)
    case "-", "0"..."9": return DataNode(.number(try number()), line: start)
    case "t" where takeWord("true"): return DataNode(.flag(true), line: start)
    case "f" where takeWord("false"): return DataNode(.flag(false), line: start)
    case "n" where takeWord("null"): return DataNode(.null, line: start)
    default: throw problem("has an unexpected character")
    }
  }

  private mutating func takeWord(_ word: String) -> Bool {
    guard bytes[at...].starts(with: word.utf8) else { return false }
    at += word.utf8.count
    return true
  }

  private mutating func members(_ depth: Int) throws(Problem) -> [DataNode.Member] {
    at += 1
    var members: [DataNode.Member] = []
    var seen: Set<String> = []
    skipSpace()
    if take("}") { return members }
    repeat {
      skipSpace()
      let start = line
      guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw problem("lacks a key") }
      let key = try string()
      guard seen.insert(key).inserted else { throw problem("has the key \"\(key)\" twice") }
      skipSpace()
      guard take(":") else { throw problem("lacks a colon") }
      members.append(DataNode.Member(key: key, line: start, node: try value(depth: depth + 1)))
      skipSpace()
    } while take(",")
    guard take("}") else { throw problem("lacks a closing brace") }
    return members
  }

  private mutating func elements(_ depth: Int) throws(Problem) -> [DataNode] {
    at += 1
    var elements: [DataNode] = []
    skipSpace()
    if take("]") { return elements }
    repeat {
      elements.append(try value(depth: depth + 1))
      skipSpace()
    } while take(",")
    guard take("]") else { throw problem("lacks a closing bracket") }
    return elements
  }

  private mutating func number() throws(Problem) -> String {
    let start = at
    while at < bytes.count, "+-.eE0123456789".utf8.contains(bytes[at]) { at += 1 }
    let text = String(decoding: bytes[start..<at], as: UTF8.self)
    guard Double(text) != nil else { throw problem("has a bad number \"\(text.prefix(40))\"") }
    return text
  }

  private mutating func string() throws(Problem) -> String {
    at += 1
    var result: [UInt8] = []
    while at < bytes.count {
      let byte = bytes[at]
      at += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: result, as: UTF8.self) else {
          throw problem("has a text that is not UTF-8")
        }
        return text
      case UInt8(ascii: "\\"): try escape(into: &result)
      case 0..<0x20: throw problem("has a line break or control character inside a text")
      default: result.append(byte)
      }
    }
    throw problem("ends inside a text")
  }

  private mutating func escape(into result: inout [UInt8]) throws(Problem) {
    guard at < bytes.count else { throw problem("ends inside a text") }
    let byte = bytes[at]
    at += 1
    switch Character(Unicode.Scalar(byte)) {
    case "n": result.append(0x0A)
    case "t": result.append(0x09)
    case "r": result.append(0x0D)
    case "b": result.append(0x08)
    case "f": result.append(0x0C)
    case "\"", "\\", "/": result.append(byte)
    case "u":
      var code = try hex()
      if code & 0xFC00 == 0xD800, takeWord("\\u") {
        let low = try hex()
        guard low & 0xFC00 == 0xDC00 else { throw problem("has half a surrogate pair") }
        code = 0x10000 + (code & 0x3FF) << 10 + low & 0x3FF
      }
      guard let scalar = Unicode.Scalar(code) else { throw problem("has half a surrogate pair") }
      result.append(contentsOf: String(Character(scalar)).utf8)
    default: throw problem("has an unknown escape")
    }
  }

  private mutating func hex() throws(Problem) -> UInt32 {
    guard at + 4 <= bytes.count,
      bytes[at..<at + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let code = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
    else { throw problem("has a bad escape") }
    at += 4
    return code
  }
}
