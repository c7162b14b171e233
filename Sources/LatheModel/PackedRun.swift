internal import LatheTensor

/// Texts that are read in one go, laid out so that what they share is read once.
///
/// A segment continues another one, or the tokens of a prefix that a cache holds, or begins a text. All segments' tokens
/// are rows of one matrix: every weight multiplies them together, and attention alone knows who continues whom.
package struct Pack {
  /// What a segment comes after.
  package enum Parent: Hashable {
    /// Nothing: its first token stands at position 0.
    case none
    /// The tokens of the cache that the run is given.
    case prefix
    /// An earlier segment.
    case segment(Int)
  }

  /// Segments that continue the same thing, their rows side by side: they look at it with one product.
  struct Family {
    var rows: Range<Int>
    /// The rows of the segments before, the first one first.
    var ancestors: [Range<Int>]
    /// Whether they come after the cache's tokens.
    var followsPrefix: Bool
    var members: [Range<Int>]
  }

  /// All tokens, row by row.
  package private(set) var tokens: [Int32] = []
  /// The rows of each segment.
  package private(set) var rows: [Range<Int>]
  /// The position of each segment's first token.
  private(set) var starts: [Int]
  private(set) var families: [Family] = []
  /// One more than the last position.
  private(set) var end = 0

  /// Lays out segments; a segment's parent comes before it.
  ///
  /// - Parameter prefix: the number of tokens in the cache that the run will be given.
  package init(_ segments: [(tokens: ArraySlice<Int32>, parent: Parent)], prefix: Int) {
    rows = [Range<Int>](repeating: 0..<0, count: segments.count)
    starts = [Int](repeating: 0, count: segments.count)
    var children: [Parent: [Int]] = [:]
    for (index, segment) in segments.enumerated() { children[segment.parent, default: []].append(index) }
    var ancestors: [(segments: [Range<Int>], followsPrefix: Bool)] = Array(
      repeating: ([], false), count: segments.count)
    // Level by level, so that the children of one parent are neighbours.
    var waiting: [Parent] = [.none, .prefix]
    var next = 0
    while next < waiting.count {
      let parent = waiting[next]
      next += 1
      guard let members = children[parent] else { continue }
      var family = Family(
        rows: tokens.count..<tokens.count, ancestors: [], followsPrefix: parent == .prefix, members: [])
      var start = parent == .prefix ? prefix : 0
      if case .segment(let index) = parent {
        family.ancestors = ancestors[index].segments + [rows[index]]
        family.followsPrefix = ancestors[index].followsPrefix
        start = starts[index] + rows[index].count
      }
      for member in members {
        let first = tokens.count
        tokens += segments[member].tokens
        rows[member] = first..<tokens.count
        starts[member] = start
        ancestors[member] = (family.ancestors, family.followsPrefix)
        end = max(end, start + rows[member].count)
        family.members.append(rows[member])
        waiting.append(.segment(member))
      }
      family.rows = family.rows.lowerBound..<tokens.count
      families.append(family)
    }
  }
}

/// The attention of a pack over its own rows, and over a cache's tokens before them.
struct PackedAttention {
  let pack: Pack
  /// The layer's keys and values of all rows, at the rows' numbers.
  let cache: LayerCache
  /// The layer's part of the cache that holds the prefix, and the number of its tokens.
  let prefix: LayerCache?
  let prefixCount: Int
  /// The rows that are needed after this block, in rising order, where not all are: they move to the front.
  var rows: [Int]?

  /// Queries and outputs are rows × (heads · headDimension).
  func callAsFunction(
    queries: UnsafePointer<Float>, configuration c: Configuration, into out: UnsafeMutablePointer<Float>,
    team: ThreadTeam
  ) {
    var tiles: [(family: Pack.Family, rows: Range<Int>)] = []
    for family in pack.families {
      for first in stride(
        from: family.rows.lowerBound, to: family.rows.upperBound, by: AttentionTile.rowCount)
      {
        tiles.append((family, first..<min(first + AttentionTile.rowCount, family.rows.upperBound)))
      }
    }
    team.run(tiles.count * c.heads) { piece in
      let tile = tiles[piece / c.heads], head = piece % c.heads
      AttentionTile.attend(
        tile.rows, heads: head..<head + 1, queries: queries, configuration: c, into: out
      ) { attend($0, tile.rows, of: tile.family, head: head / (c.heads / c.keyValueHeads)) }
    }
  }

  private func attend(_ tile: AttentionTile, _ rows: Range<Int>, of family: Pack.Family, head: Int) {
    if family.followsPrefix, let prefix, prefixCount > 0 {
      tile.look(rows, at: prefix.head(head), 0..<prefixCount, visible: prefixCount)
    }
    let own = cache.head(head)
    for span in family.ancestors where !span.isEmpty { tile.look(rows, at: own, span, visible: span.count) }
    for member in family.members where member.overlaps(rows) {
      let part = member.clamped(to: rows)
      tile.look(
        part, at: own, member.lowerBound..<part.upperBound,
        visible: part.lowerBound - member.lowerBound + 1)
    }
  }

  /// Moves the rows that are needed to the front, where not all are.
  ///
  /// - Returns: their number; nil where all are needed.
  func keep(
    _ hidden: UnsafeMutablePointer<Float>, _ attended: UnsafeMutablePointer<Float>, _ c: Configuration
  ) -> Int? {
    guard let rows else { return nil }
    for (index, row) in rows.enumerated() where row != index {
      (hidden + index * c.hiddenSize).update(from: hidden + row * c.hiddenSize, count: c.hiddenSize)
      (attended + index * c.queryWidth).update(from: attended + row * c.queryWidth, count: c.queryWidth)
    }
    return rows.count
  }
}

extension Inference {
  /// Reads `tokens` into an empty cache that packs can follow.
  package func prefill(_ tokens: ArraySlice<Int32>) -> KeyValueCache {
    let cache = makeCache(capacity: tokens.count)
    for start in stride(from: tokens.startIndex, to: tokens.endIndex, by: Self.batch) {
      _ = hiddenStates(tokens[start..<min(start + Self.batch, tokens.endIndex)], cache: cache)
    }
    return cache
  }

  /// Reads a pack and hands out the logits at some of its rows, in the order of `wanted`, a run at a time.
  ///
  /// - Parameters:
  ///   - wanted: rows, each once.
  ///   - prefix: the tokens that segments after `.prefix` continue; it is only read.
  ///   - body: receives the index in `wanted` of the first row of a run, the number of rows, and their logits.
  package func read(
    _ pack: Pack, after prefix: KeyValueCache?, wanted: [Int],
    _ body: (_ first: Int, _ count: Int, _ logits: UnsafePointer<Float>) -> Void
  ) {
    guard !pack.tokens.isEmpty, !wanted.isEmpty else { return }
    let c = configuration, count = pack.tokens.count
    reserve(count)
    rotary.grow(to: pack.end)
    let hidden = scratch.hidden.pointer
    embed(pack.tokens, into: hidden)
    let keys = KeyValueCache(c, capacity: count, sharesLayers: true)
    let order = wanted.indices.sorted { wanted[$0] < wanted[$1] }
    var places = [Int](repeating: 0, count: wanted.count)
    for (place, index) in order.enumerated() { places[index] = place }
    for (layer, block) in model.blocks.enumerated() {
      run(
        block, at: layer, on: hidden, tokens: count,
        context: .pack(
          PackedAttention(
            pack: pack, cache: keys[layer], prefix: prefix.map { $0[layer] }, prefixCount: prefix?.count ?? 0,
            rows: layer + 1 == model.blocks.count ? order.map { wanted[$0] } : nil)))
    }
    // At most 64 MiB of logits at a time, whatever the vocabulary.
    let most = max(1, min(wanted.count, (1 << 24) / c.vocabularySize))
    let picked = FloatBuffer(most * c.hiddenSize), logits = FloatBuffer(most * c.vocabularySize)
    for first in stride(from: 0, to: wanted.count, by: most) {
      let run = min(most, wanted.count - first)
      for i in 0..<run {
        (picked.pointer + i * c.hiddenSize).update(
          from: hidden + places[first + i] * c.hiddenSize, count: c.hiddenSize)
      }
      head(picked.pointer, tokens: run, into: logits.pointer)
      body(first, run, logits.pointer)
    }
  }
}
