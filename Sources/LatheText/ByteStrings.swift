/// Many byte strings, one after the other in one block: the texts of a vocabulary.
struct ByteStrings: Sendable {
  private(set) var storage: [UInt8] = []
  private var ends: [Int] = []

  var count: Int { ends.count }

  mutating func reserve(count: Int, bytes: Int) {
    ends.reserveCapacity(count)
    storage.reserveCapacity(bytes)
  }

  mutating func append(_ bytes: some Collection<UInt8>) {
    storage.append(contentsOf: bytes)
    ends.append(storage.count)
  }

  func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

  subscript(index: Int) -> ArraySlice<UInt8> { storage[range(index)] }

  func text(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }
}

/// A mixed 64-bit hash of short byte strings: two overlapping loads where they suffice, a loop otherwise.
@inline(__always)
func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
  let raw = UnsafeRawPointer(bytes)
  var h = UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
  @inline(__always) func mix(_ word: UInt64) {
    let product = (h ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    h = product.high ^ product.low ^ word &* 0xA076_1D64_78BD_642F
  }
  if count >= 8 {
    var i = 0
    while i + 8 < count {
      mix(raw.loadUnaligned(fromByteOffset: i, as: UInt64.self))
      i += 8
    }
    mix(raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self))
  } else if count >= 4 {
    let low = UInt64(raw.loadUnaligned(as: UInt32.self))
    mix(low | UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)) << 32)
  } else if count > 0 {
    mix(UInt64(bytes[0]) | UInt64(bytes[count >> 1]) << 8 | UInt64(bytes[count - 1]) << 16)
  }
  h ^= h >> 32
  return h &* 0x9E37_79B9_7F4A_7C15
}

/// Finds the id of a byte string: a flat hash table with open addressing, half empty.
struct PieceTable: Sendable {
  // A slot is the upper half of the hash and the entry number plus one; zero is an empty slot.
  private var slots: [UInt64]
  private var used = 0
  private var keys = ByteStrings()
  private var ids: [Int32] = []
  /// The length of the longest string; a longer one need not be looked up.
  private(set) var longest = 0

  init(capacity: Int = 0, bytes: Int = 0) {
    slots = [UInt64](repeating: 0, count: PieceTable.slotCount(for: capacity))
    keys.reserve(count: capacity, bytes: bytes)
    ids.reserveCapacity(capacity)
  }

  private static func slotCount(for capacity: Int) -> Int {
    var count = 16
    while count < 2 * capacity { count *= 2 }
    return count
  }

  var count: Int { ids.count }

  /// Adds `bytes` unless it is there already.
  ///
  /// - Returns: whether it was added.
  @discardableResult
  mutating func insert(_ bytes: some Collection<UInt8>, id: Int32) -> Bool {
    let length = bytes.count
    let inserted: Bool? = bytes.withContiguousStorageIfAvailable { buffer in
      guard length > 0, let base = buffer.baseAddress, find(base, length) < 0 else { return false }
      place(hash(base, length), entry: ids.count)
      return true
    }
    guard let inserted else { return insert(Array(bytes), id: id) }
    guard inserted else { return false }
    keys.append(bytes)
    ids.append(id)
    longest = max(longest, length)
    if 2 * ids.count > slots.count { grow() }
    return true
  }

  private mutating func place(_ hash: UInt64, entry: Int) {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while slots[slot] != 0 { slot = (slot + 1) & mask }
    slots[slot] = (hash >> 32) << 32 | UInt64(entry + 1)
  }

  private mutating func grow() {
    slots = [UInt64](repeating: 0, count: 2 * slots.count)
    for entry in ids.indices {
      let key = keys.range(entry)
      let code = keys.storage.withUnsafeBufferPointer { hash($0.baseAddress! + key.lowerBound, key.count) }
      place(code, entry: entry)
    }
  }

  /// The id of the string of `count` bytes at `bytes`, or -1.
  @inline(__always)
  func find(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count > 0, count <= longest else { return -1 }
    let code = hash(bytes, count)
    let tag = code >> 32
    return slots.withUnsafeBufferPointer { slots in
      let mask = slots.count - 1
      var slot = Int(truncatingIfNeeded: code) & mask
      while slots[slot] != 0 {
        if slots[slot] >> 32 == tag {
          let entry = Int(truncatingIfNeeded: slots[slot] & 0xFFFF_FFFF) - 1
          let key = keys.range(entry)
          let same =
            key.count == count
            && keys.storage.withUnsafeBufferPointer {
              equal($0.baseAddress! + key.lowerBound, bytes, count)
            }
          if same { return ids[entry] }
        }
        slot = (slot + 1) & mask
      }
      return -1
    }
  }

  /// The id of `bytes`, or nil.
  func find(_ bytes: some Collection<UInt8>) -> Int32? {
    let id: Int32? = bytes.withContiguousStorageIfAvailable { buffer in
      buffer.baseAddress.map { find($0, buffer.count) } ?? -1
    }
    guard let id else { return find(Array(bytes)) }
    return id < 0 ? nil : id
  }
}

/// Whether two runs of `count` bytes are equal; short runs are not worth a call of `memcmp`.
@inline(__always)
func equal(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int) -> Bool {
  var i = 0
  while i + 8 <= count {
    let x = UnsafeRawPointer(a).loadUnaligned(fromByteOffset: i, as: UInt64.self)
    let y = UnsafeRawPointer(b).loadUnaligned(fromByteOffset: i, as: UInt64.self)
    if x != y { return false }
    i += 8
  }
  while i < count {
    if a[i] != b[i] { return false }
    i += 1
  }
  return true
}

/// Finds what a pair of neighbouring ids merges into: a flat hash table keyed by both ids.
struct PairTable: Sendable {
  // Two words a slot: the pair, then rank and merged id. A pair of two -1 is an empty slot.
  private var slots: [UInt64]
  private let mask: Int
  private(set) var count = 0

  init(capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    slots = [UInt64](repeating: .max, count: 2 * size)
    mask = size - 1
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private func slot(_ key: UInt64) -> Int {
    let product = key.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return Int(truncatingIfNeeded: product.high ^ product.low) & mask
  }

  /// Adds a merge, unless the pair has one of a better rank already.
  ///
  /// - Precondition: fewer than `capacity` merges were added before.
  mutating func insert(_ left: Int32, _ right: Int32, rank: UInt32, merged: Int32) {
    let key = PairTable.key(left, right)
    var at = slot(key)
    while slots[2 * at] != .max {
      if slots[2 * at] == key { return }
      at = (at + 1) & mask
    }
    slots[2 * at] = key
    slots[2 * at + 1] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merged))
    count += 1
  }

  /// Every merge, in no particular order.
  func visit(_ body: (_ left: Int32, _ right: Int32, _ rank: UInt32, _ merged: Int32) -> Void) {
    for at in stride(from: 0, to: slots.count, by: 2) where slots[at] != .max {
      body(
        Int32(truncatingIfNeeded: slots[at] >> 32), Int32(truncatingIfNeeded: slots[at]),
        UInt32(truncatingIfNeeded: slots[at + 1] >> 32), Int32(truncatingIfNeeded: slots[at + 1]))
    }
  }

  /// The rank and the merged id of a pair, if it merges.
  @inline(__always)
  func find(_ left: Int32, _ right: Int32) -> (rank: UInt32, id: Int32)? {
    let key = PairTable.key(left, right)
    return slots.withUnsafeBufferPointer { slots in
      var at = slot(key)
      while slots[2 * at] != .max {
        if slots[2 * at] == key {
          let value = slots[2 * at + 1]
          return (UInt32(truncatingIfNeeded: value >> 32), Int32(truncatingIfNeeded: value))
        }
        at = (at + 1) & mask
      }
      return nil
    }
  }
}
