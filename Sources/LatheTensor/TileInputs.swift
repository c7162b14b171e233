internal import CLatheKernels

/// What inputs are rounded and laid out for.
struct InputKey: Hashable {
  let columns, group: Int
  let halves: Bool
  let start: Int32
  let isByte, isTwice: Bool
  /// The bytes in which an input is met.
  let bytes: Int
  /// Whether scales are powers of two, where inputs are no multiples of a step.
  let isBinary: Bool
  let order: [Int32]
}

/// Vectors rounded to bytes, as tiles meet them; the memory is used again.
package final class TileInputs {
  private var capacity = 0
  private var codes = AlignedMemory(0), scales = AlignedMemory(0), sums = AlignedMemory(0)
  private var starts = AlignedMemory(0), ordered = AlignedMemory(0)
  private var panels: [AlignedMemory] = []

  package init() {}

  /// Vectors whose numbers lie in the order of the places.
  private func arrange(
    _ x: UnsafePointer<Float>, tokens: Int, _ order: [Int32], team: ThreadTeam
  ) -> UnsafePointer<Float> {
    let columns = order.count
    if ordered.count < 4 * tokens * columns { ordered = AlignedMemory(4 * tokens * columns) }
    let out = ordered.base.assumingMemoryBound(to: Float.self)
    order.withUnsafeBufferPointer { order in
      let arrange = { (range: Range<Int>) in
        for t in range { for j in 0..<columns { out[t * columns + j] = x[t * columns + Int(order[j])] } }
      }
      if tokens < 8 { arrange(0..<tokens) } else { team.split(tokens, grain: 4, arrange) }
    }
    return UnsafePointer(out)
  }

  private func reserve(_ tokens: Int, columns: Int, bytes: Int) {
    // The last group of a row may be filled up to 128; there are two sums for each 32 columns at most.
    let needed = tokens * (columns + 127) / 128 * 128 + 128 * tokens
    if codes.count < needed * bytes { codes = AlignedMemory(needed * bytes) }
    guard needed > capacity else { return }
    capacity = needed
    scales = AlignedMemory(needed / 8)
    sums = AlignedMemory(needed / 4)
    starts = AlignedMemory(needed / 4)
  }

  /// A panel of `bytes` at least for each of `count` threads, for tiles in passing.
  func panels(_ count: Int, bytes: Int) -> [AlignedMemory] {
    if panels.count < count || panels[0].count < bytes {
      panels = (0..<count).map { _ in AlignedMemory(bytes) }
    }
    return panels
  }

  /// Rounds `tokens` vectors for `tiles`; rounded twice, what was left of them follows.
  func pack(
    _ x: UnsafePointer<Float>, tokens: Int, as key: InputKey, steps: UnsafePointer<Float>?, for tiles: Tiles,
    team: ThreadTeam
  ) -> LatheTileInputs {
    let twice = key.isTwice, columns = tiles.columns, count = twice ? 2 * tokens : tokens
    let x = tiles.order.isEmpty ? x : arrange(x, tokens: tokens, tiles.order, team: team)
    reserve(count, columns: columns, bytes: key.bytes)
    let layout = tiles.layout(twice), groups = layout.groups, halves = layout.halves != 0 ? 2 : 1
    let padded = groups * layout.input_group
    let all = LatheTileInputs(
      codes: codes.base.assumingMemoryBound(to: Int8.self),
      scales: scales.base.assumingMemoryBound(to: Float.self),
      sums: sums.base.assumingMemoryBound(to: Float.self),
      starts: starts.base.assumingMemoryBound(to: Int32.self), steps: steps,
      binary: steps == nil && key.isBinary ? 1 : 0, tokens: count)
    if count * columns < 1 << 14 {
      tiles.pack(x, tokens: tokens, twice: twice, groups: 0..<groups, to: all)
      return all
    }
    // A few vectors are split along their width, many by vectors.
    if tokens < 48 {
      team.share(groups, grain: 8) { tiles.pack(x, tokens: tokens, twice: twice, groups: $0, to: all) }
      return all
    }
    // Every set takes tokens in runs that divide 24.
    team.split(tokens, grain: 24) { range in
      let t = range.lowerBound
      tiles.pack(
        x + t * columns, tokens: range.count, twice: false, groups: 0..<groups,
        to: LatheTileInputs(
          codes: all.codes + t * padded * key.bytes, scales: all.scales + t * groups,
          sums: all.sums + t * groups * halves,
          starts: all.starts + t * groups * halves, steps: steps.map { $0 + t }, binary: all.binary,
          tokens: range.count))
    }
    return all
  }
}
