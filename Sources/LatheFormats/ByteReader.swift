import LatheTensor

/// Reads numbers and strings one after another, and never past the end.
struct ByteReader {
  let bytes: Bytes
  private(set) var offset: Int
  /// What is being read, for messages.
  var subject = "header"

  init(_ bytes: Bytes, at offset: Int = 0) { (self.bytes, self.offset) = (bytes, offset) }

  /// The bytes not yet read.
  var remaining: Int { bytes.count - offset }

  /// The next number, little-endian.
  mutating func number<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self) throws(Problem) -> T {
    let size = MemoryLayout<T>.size
    guard remaining >= size else { throw truncated(size) }
    defer { offset += size }
    return T(littleEndian: bytes.load(at: offset, as: T.self))
  }

  /// The next `count` bytes, not copied.
  mutating func slice(_ count: Int) throws(Problem) -> Bytes {
    guard count >= 0, count <= remaining else { throw truncated(count) }
    defer { offset += count }
    return bytes[offset..<offset + count]
  }

  /// A count of things that take at least `size` bytes each, refused where the rest of the file cannot hold them.
  mutating func count(of things: String, ofAtLeast size: Int) throws(Problem) -> Int {
    let claimed: UInt64 = try number()
    guard claimed <= UInt64(remaining / size) else {
      throw Problem(
        .badData, "\(subject) claims \(claimed) \(things), and only \(remaining) bytes follow",
        cure: "the file is damaged or cut short")
    }
    return Int(claimed)
  }

  private func truncated(_ size: Int) -> Problem {
    Problem(
      .badData, "the file ends inside \(subject): \(size) bytes wanted at \(offset), \(remaining) left",
      cure: "the file is cut short; copy it again")
  }
}
