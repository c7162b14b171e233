/// The ids of words met before in a text: most words of a text are repetitions.
///
/// It belongs to one call of `encode`, so that no lock is needed.
struct WordCache {
  private struct Slot {
    var hash: UInt64 = 0
    var key: UInt32 = 0
    var ids: UInt32 = 0
    // A count of zero is an empty slot: no word has zero ids.
    var idCount: UInt16 = 0
    var keyCount: UInt16 = 0
  }

  private var slots: [Slot] = []
  private var used = 0
  private var keys: [UInt8] = []
  private var ids: [Int32] = []

  private static let largest = 1 << 16
  /// A longer word is not worth keeping.
  static let longestWord = 64

  /// Appends the ids of the word to `output`, if it is known.
  @inline(__always)
  func find(_ word: UnsafePointer<UInt8>, _ count: Int, _ code: UInt64, _ body: (ArraySlice<Int32>) -> Void)
    -> Bool
  {
    guard !slots.isEmpty else { return false }
    let mask = slots.count - 1
    var at = Int(truncatingIfNeeded: code) & mask
    while slots[at].idCount > 0 {
      let slot = slots[at]
      if slot.hash == code, Int(slot.keyCount) == count,
        keys.withUnsafeBufferPointer({ equal($0.baseAddress! + Int(slot.key), word, count) })
      {
        body(ids[Int(slot.ids)..<(Int(slot.ids) + Int(slot.idCount))])
        return true
      }
      at = (at + 1) & mask
    }
    return false
  }

  /// Remembers the ids of a word that is not there yet.
  mutating func insert(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ code: UInt64, _ wordIDs: ArraySlice<Int32>
  ) {
    guard count <= WordCache.longestWord, !wordIDs.isEmpty else { return }
    if 2 * (used + 1) > slots.count {
      guard slots.count < WordCache.largest else { return }
      grow()
    }
    place(
      Slot(
        hash: code, key: UInt32(keys.count), ids: UInt32(ids.count), idCount: UInt16(wordIDs.count),
        keyCount: UInt16(count)))
    used += 1
    keys.append(contentsOf: UnsafeBufferPointer(start: word, count: count))
    ids.append(contentsOf: wordIDs)
  }

  private mutating func grow() {
    let old = slots
    slots = [Slot](repeating: Slot(), count: max(256, 4 * old.count))
    for slot in old where slot.idCount > 0 { place(slot) }
  }

  private mutating func place(_ slot: Slot) {
    let mask = slots.count - 1
    var at = Int(truncatingIfNeeded: slot.hash) & mask
    while slots[at].idCount > 0 { at = (at + 1) & mask }
    slots[at] = slot
  }
}
