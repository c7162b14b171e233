/// A piece of a word while its neighbours are being merged: the bytes `start..<end` and their id, or -1.
struct Symbol {
  var start: Int32
  var end: Int32
  var id: Int32
  // Neighbours of a symbol in a long word, whose symbols are not moved when one vanishes.
  var previous: Int32 = -1
  var next: Int32 = -1
}

/// Says whether two neighbouring symbols may become one, and how urgently: the lowest rank merges first.
protocol MergeRule: Sendable {
  func merge(_ left: Symbol, _ right: Symbol, in text: UnsafePointer<UInt8>) -> (rank: UInt32, id: Int32)?
}

/// Two symbols merge where the bytes of both together are a piece, as in SentencePiece and tiktoken.
struct PieceMerges: MergeRule {
  let pieces: PieceTable
  /// The rank of each id; where nil, the id is the rank.
  let ranks: [UInt32]?

  @inline(__always)
  func merge(_ left: Symbol, _ right: Symbol, in text: UnsafePointer<UInt8>) -> (rank: UInt32, id: Int32)? {
    let id = pieces.find(text + Int(left.start), Int(right.end - left.start))
    guard id >= 0 else { return nil }
    return (ranks.map { $0[Int(id)] } ?? UInt32(bitPattern: id), id)
  }
}

/// The merges of another rule, without those that end in one piece.
struct MergesExcept<Base: MergeRule>: MergeRule {
  let base: Base
  let id: Int32

  func merge(_ left: Symbol, _ right: Symbol, in text: UnsafePointer<UInt8>) -> (rank: UInt32, id: Int32)? {
    base.merge(left, right, in: text).flatMap { $0.id == id ? nil : $0 }
  }
}

/// Two symbols merge where the list of merges says so, as in GPT-2 and Hugging Face's files.
struct PairMerges: MergeRule {
  let pairs: PairTable

  @inline(__always)
  func merge(_ left: Symbol, _ right: Symbol, in text: UnsafePointer<UInt8>) -> (rank: UInt32, id: Int32)? {
    pairs.find(left.id, right.id)
  }
}

/// Merges the symbols of a word, the lowest rank first and of equal ranks the leftmost.
///
/// A short word scans its few candidates for the best; a long one keeps them in a heap, so that a megabyte
/// without a space costs n log n.
struct Merger {
  var symbols: [Symbol] = []
  private var candidates = [(rank: UInt32, id: Int32)](repeating: (.max, -1), count: Merger.shortWord)
  private var heap = CandidateHeap()

  private static let shortWord = 48

  /// Merges `symbols` in place until no neighbours merge.
  mutating func run(_ rule: some MergeRule, _ text: UnsafePointer<UInt8>) {
    if symbols.count <= 1 { return }
    if symbols.count <= Merger.shortWord {
      let count = symbols.withUnsafeMutableBufferPointer { symbols in
        Merger.mergeShort(symbols, &candidates, rule, text)
      }
      symbols.removeLast(symbols.count - count)
    } else {
      symbols.withUnsafeMutableBufferPointer { symbols in
        Merger.mergeLong(symbols, &heap, rule, text)
      }
      symbols.removeAll { $0.end < 0 }
    }
  }

  /// - Returns: how many symbols are left.
  private static func mergeShort(
    _ symbols: UnsafeMutableBufferPointer<Symbol>, _ candidates: inout [(rank: UInt32, id: Int32)],
    _ rule: some MergeRule, _ text: UnsafePointer<UInt8>
  ) -> Int {
    var count = symbols.count
    return candidates.withUnsafeMutableBufferPointer { candidates in
      for i in 0..<(count - 1) {
        candidates[i] = rule.merge(symbols[i], symbols[i + 1], in: text) ?? (.max, -1)
      }
      while count > 1 {
        var best = 0
        for i in 0..<(count - 1) where candidates[i].rank < candidates[best].rank { best = i }
        guard candidates[best].id >= 0 else { break }
        symbols[best].end = symbols[best + 1].end
        symbols[best].id = candidates[best].id
        count -= 1
        for i in (best + 1)..<max(best + 1, count) {
          symbols[i] = symbols[i + 1]
          candidates[i - 1] = candidates[i]
        }
        if best > 0 {
          candidates[best - 1] = rule.merge(symbols[best - 1], symbols[best], in: text) ?? (.max, -1)
        }
        if best + 1 < count {
          candidates[best] = rule.merge(symbols[best], symbols[best + 1], in: text) ?? (.max, -1)
        }
      }
      return count
    }
  }

  /// Leaves symbols that vanished with an end of -1.
  private static func mergeLong(
    _ symbols: UnsafeMutableBufferPointer<Symbol>, _ heap: inout CandidateHeap, _ rule: some MergeRule,
    _ text: UnsafePointer<UInt8>
  ) {
    func propose(_ left: Int32, _ right: Int32, to heap: inout CandidateHeap) {
      let a = symbols[Int(left)]
      let b = symbols[Int(right)]
      guard let merged = rule.merge(a, b, in: text) else { return }
      heap.push(
        .init(key: UInt64(merged.rank) << 32 | UInt64(left), id: merged.id, middle: a.end, end: b.end))
    }
    heap.removeAll()
    for i in symbols.indices {
      symbols[i].previous = Int32(i) - 1
      symbols[i].next = i + 1 < symbols.count ? Int32(i) + 1 : -1
    }
    for i in 0..<Int32(symbols.count - 1) { propose(i, i + 1, to: &heap) }
    while let best = heap.pop() {
      let left = Int(truncatingIfNeeded: best.key & 0xFFFF_FFFF)
      let right = Int(symbols[left].next)
      // A candidate is stale when either symbol has vanished or grown since.
      guard right >= 0, symbols[left].end == best.middle, symbols[right].end == best.end else { continue }
      symbols[left].end = best.end
      symbols[left].id = best.id
      symbols[left].next = symbols[right].next
      symbols[right].end = -1
      if symbols[left].next >= 0 {
        symbols[Int(symbols[left].next)].previous = Int32(left)
        propose(Int32(left), symbols[left].next, to: &heap)
      }
      if symbols[left].previous >= 0 { propose(symbols[left].previous, Int32(left), to: &heap) }
    }
  }
}

/// A binary heap of possible merges, the lowest key on top.
struct CandidateHeap {
  /// Two neighbours that may merge: the rank and the left symbol's index in the key; where they met and end.
  struct Candidate {
    let key: UInt64
    let id: Int32
    let middle: Int32
    let end: Int32
  }

  private var items: [Candidate] = []

  mutating func removeAll() { items.removeAll(keepingCapacity: true) }

  mutating func push(_ item: Candidate) {
    items.append(item)
    items.withUnsafeMutableBufferPointer { items in
      var at = items.count - 1
      while at > 0 {
        let parent = (at - 1) / 2
        guard item.key < items[parent].key else { break }
        items[at] = items[parent]
        at = parent
      }
      items[at] = item
    }
  }

  mutating func pop() -> Candidate? {
    guard let top = items.first, let last = items.popLast() else { return nil }
    if items.isEmpty { return top }
    items.withUnsafeMutableBufferPointer { items in
      var at = 0
      while true {
        var child = 2 * at + 1
        guard child < items.count else { break }
        if child + 1 < items.count, items[child + 1].key < items[child].key { child += 1 }
        guard items[child].key < last.key else { break }
        items[at] = items[child]
        at = child
      }
      items[at] = last
    }
    return top
  }
}
