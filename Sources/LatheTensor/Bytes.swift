/// An immutable run of bytes that keeps its owner alive; slicing copies nothing.
///
/// The owner is a mapped file or a block of aligned memory.
public struct Bytes: @unchecked Sendable {
  // Safe to share: the memory is never written after initialization.
  let owner: AnyObject
  private let base: UnsafeRawPointer
  /// The number of bytes.
  public let count: Int

  /// Bytes that live as long as `owner` does.
  package init(owner: AnyObject, base: UnsafeRawPointer, count: Int) {
    (self.owner, self.base, self.count) = (owner, base, count)
  }

  /// A number that differs, in all likelihood, where bytes do.
  package var checksum: UInt64 {
    withUnsafeBytes { raw in
      var sum = UInt64(raw.count)
      var i = 0
      while i + 8 <= raw.count {
        sum = (sum ^ raw.loadUnaligned(fromByteOffset: i, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
        sum ^= sum >> 29
        i += 8
      }
      while i < raw.count {
        sum = (sum ^ UInt64(raw[i])) &* 0x9E37_79B9_7F4A_7C15
        i += 1
      }
      return sum
    }
  }

  /// Takes a copy of `bytes`, aligned to 64.
  public init(_ bytes: [UInt8]) {
    self.init(count: bytes.count) { target in
      bytes.withUnsafeBytes { target.copyMemory(from: $0) }
    }
  }

  /// Allocates `count` zeroed bytes, aligned to 64, and lets `body` fill them.
  public init(count: Int, filledBy body: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows {
    let owner = AlignedMemory(count)
    try body(UnsafeMutableRawBufferPointer(start: owner.base, count: count))
    self.init(owner: owner, base: UnsafeRawPointer(owner.base), count: count)
  }

  /// The memory of `values`, copied.
  public init<T: BitwiseCopyable>(elements values: [T]) {
    self.init(count: values.count * MemoryLayout<T>.stride) { target in
      values.withUnsafeBytes { target.copyMemory(from: $0) }
    }
  }

  /// The bytes of `parts`, one after another, copied.
  public init(joining parts: [Bytes]) {
    self.init(count: parts.reduce(0) { $0 + $1.count }) { target in
      var at = 0
      for part in parts {
        part.withUnsafeBytes { source in
          UnsafeMutableRawBufferPointer(rebasing: target[at..<at + source.count]).copyMemory(from: source)
        }
        at += part.count
      }
    }
  }

  /// The bytes in `part`, counted from the start of this run.
  public subscript(part: Range<Int>) -> Bytes {
    precondition(part.lowerBound >= 0 && part.upperBound <= count, "slice outside the bytes")
    return Bytes(owner: owner, base: base + part.lowerBound, count: part.count)
  }

  /// The byte at `index`.
  public subscript(index: Int) -> UInt8 {
    precondition(index >= 0 && index < count, "index outside the bytes")
    return base.load(fromByteOffset: index, as: UInt8.self)
  }

  /// Calls `body` with the memory.
  public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    try body(UnsafeRawBufferPointer(start: base, count: count))
  }

  /// The first byte's address, valid while this value is alive.
  package var baseAddress: UnsafeRawPointer { base }

  /// The little-endian number at `offset`, which need not be aligned.
  ///
  /// - Precondition: the number lies inside the bytes.
  public func load<T: BitwiseCopyable>(at offset: Int, as type: T.Type = T.self) -> T {
    precondition(offset >= 0 && offset <= count - MemoryLayout<T>.size, "load outside the bytes")
    return base.loadUnaligned(fromByteOffset: offset, as: type)
  }

  /// The bytes as an array of `type`, copied.
  public func elements<T: BitwiseCopyable>(as type: T.Type = T.self) -> [T] {
    let n = count / MemoryLayout<T>.stride
    return [T](unsafeUninitializedCapacity: n) { buffer, filled in
      if n > 0 {
        UnsafeMutableRawBufferPointer(buffer).copyMemory(
          from: UnsafeRawBufferPointer(start: base, count: n * MemoryLayout<T>.stride))
      }
      filled = n
    }
  }

  /// The bytes read as UTF-8; invalid sequences become replacement characters.
  public var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}

extension Bytes: Equatable {
  /// Whether both runs hold the same bytes.
  public static func == (a: Bytes, b: Bytes) -> Bool {
    a.count == b.count
      && a.withUnsafeBytes { a in b.withUnsafeBytes { b in a.elementsEqual(b) } }
  }
}

/// A block of zeroed memory aligned to 64 bytes, freed with its last user.
package final class AlignedMemory: @unchecked Sendable {
  // Who shares it must agree who writes.
  package let base: UnsafeMutableRawPointer
  package let count: Int
  private let pages: LargeMemory?

  /// - Parameter onLargePages: for what is read over and over: pages as large as the system gives, touched when they are
  ///   written.
  package init(_ count: Int, onLargePages: Bool = false) {
    self.count = count
    pages = onLargePages && count >= LargeMemory.largePage ? LargeMemory(count) : nil
    if let pages {
      base = pages.base
      return
    }
    base = .allocate(byteCount: max(count, 64), alignment: 64)
    base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
  }

  deinit { if pages == nil { base.deallocate() } }
}
