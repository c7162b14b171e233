internal import CLatheKernels
internal import Synchronization

/// How columns fall into groups: the geometry of a matrix's tiles.
struct TileShape {
  let columns, inputGroup, groups, span, weightGroups: Int
  let superSpan, supers: Int
  let halves: Bool

  /// The columns with what fills the last group.
  var padded: Int { groups * inputGroup }

  /// Nil where groups are no multiple of 16 columns.
  ///
  /// - Parameter widest: the columns that may share an input's scale, 32 to 128.
  init?(columns: Int, tiling: Tiling, widest: Int) {
    let isWholeRow = tiling.group >= columns
    let group = isWholeRow ? (columns + 31) / 32 * 32 : tiling.group
    guard group % 32 == 0 || group == 16, columns < 1 << 20 else { return nil }
    halves = group == 16
    // The widest input groups that fill the row, and a weight's group.
    inputGroup = [128, 64, 32].first { $0 <= widest && group % $0 == 0 && columns % $0 == 0 } ?? 32
    groups = (columns + inputGroup - 1) / inputGroup
    span = halves ? 1 : group / inputGroup
    weightGroups = halves ? 2 * groups : (groups + span - 1) / span
    if case .coded(let span) = tiling.scales {
      superSpan = span
      supers = (weightGroups + span - 1) / span
    } else {
      (superSpan, supers) = (1, 0)
    }
    self.columns = columns
  }

  func layout(rows: Int, columns: Int, tiling: Tiling, at memory: CodeRow) -> LatheTiles {
    var zero: Float = 0
    if case .constant(let value) = tiling.offsets { zero = value }
    // A whole zero point is taken from whole sums before they begin.
    let isWhole =
      memory.zeros == nil && memory.halfZeros == nil && memory.minimums == nil && zero == zero.rounded()
    return LatheTiles(
      codes: memory.codes, scales: memory.scales, scale_codes: memory.scaleCodes,
      minimum_codes: memory.minimumCodes, minimums: memory.minimums, zeros: memory.zeros,
      half_zeros: memory.halfZeros, zero: zero, start: isWhole ? -Int32(zero) : 0,
      has_offset: isWhole ? 0 : 1, nibbles: tiling.offsets == .nibbles ? 1 : 0, halves: halves ? 1 : 0,
      bits: UInt32(tiling.bits), table: nil, input_group: inputGroup, groups: groups, span: span,
      weight_groups: weightGroups, super_span: superSpan, supers: supers, rows: rows, columns: columns)
  }
}

/// Byte offsets of parts that lie one after another, each on a line of the cache.
struct Sections {
  private(set) var count = 0

  mutating func add(_ bytes: Int) -> Int {
    defer { count += (bytes + 63) / 64 * 64 }
    return count
  }
}

/// Something that happened on any of several threads.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isRaised: Bool { value.load(ordering: .acquiring) }
  func raise() { value.store(true, ordering: .releasing) }
}

/// Puts sixteen rows at a time into a tile.
struct TileWriter {
  private let shape: TileShape
  private let tiling: Tiling
  private let rows, columns: Int
  private let kernels: Kernels

  init(_ shape: TileShape, _ tiling: Tiling, rows: Int, columns: Int, _ kernels: Kernels) {
    (self.shape, self.tiling, self.rows) = (shape, tiling, rows)
    (self.columns, self.kernels) = (columns, kernels)
  }

  /// Reads the rows of tile number `tile`, and lays them out in `target`, which holds all tiles.
  func write(_ tile: Int, to target: CodeRow, read: (Int, CodeRow) -> Bool) -> Bool {
    let groups = shape.weightGroups, scales = shape.supers > 0 ? shape.supers : groups
    var sections = Sections()
    let codes = sections.add(16 * shape.padded)
    let first = (
      sections.add(2 * groups), sections.add(groups), sections.add(groups), sections.add(2 * groups),
      sections.add(groups), sections.add(2 * groups)
    )
    return withUnsafeTemporaryAllocation(byteCount: sections.count, alignment: 64) { raw in
      guard let base = raw.baseAddress else { return false }
      base.initializeMemory(as: UInt8.self, repeating: 0, count: sections.count)
      let table = base.assumingMemoryBound(to: UInt8.self)
      for r in 0..<16 where 16 * tile + r < rows {
        let row = CodeRow(
          codes: table + codes + r * shape.padded,
          scales: (base + first.0).assumingMemoryBound(to: UInt16.self),
          scaleCodes: target.scaleCodes.map { _ in (base + first.1).assumingMemoryBound(to: Int8.self) },
          minimumCodes: target.minimumCodes.map { _ in table + first.2 },
          minimums: target.minimums.map { _ in (base + first.3).assumingMemoryBound(to: UInt16.self) },
          zeros: target.zeros.map { _ in table + first.4 },
          halfZeros: target.halfZeros.map { _ in (base + first.5).assumingMemoryBound(to: UInt16.self) })
        guard read(16 * tile + r, row) else { return false }
        scatter(row.scales, scales, tile, r, target.scales)
        scatter(row.scaleCodes, groups, tile, r, target.scaleCodes)
        scatter(row.minimumCodes, groups, tile, r, target.minimumCodes)
        scatter(row.minimums, scales, tile, r, target.minimums)
        scatter(row.zeros, groups, tile, r, target.zeros)
        scatter(row.halfZeros, groups, tile, r, target.halfZeros)
      }
      let size = shape.padded / 32 * 64 * tiling.bits
      kernels.table.pointee.pack_tile(
        table + codes, shape.padded, UInt32(tiling.bits), target.codes + tile * size)
      return true
    }
  }

  /// A row's parameters to every sixteenth place.
  private func scatter<T>(
    _ values: UnsafeMutablePointer<T>?, _ count: Int, _ tile: Int, _ row: Int, _ out: UnsafeMutablePointer<T>?
  ) {
    guard let values, let out else { return }
    for g in 0..<count { out[16 * (tile * count + g) + row] = values[g] }
  }
}
