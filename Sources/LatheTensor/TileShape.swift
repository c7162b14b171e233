internal import CLatheKernels
internal import Synchronization

/// How columns fall into groups: the geometry of a matrix's tiles.
struct TileShape {
  let columns, inputGroup, groups, span, weightGroups: Int
  let superSpan, supers: Int
  let tableSpan, tableGroups: Int
  let halves: Bool
  /// Whether codes of three levels lie three in five bits.
  let trits: Bool
  /// The bytes of one tile's codes.
  let tileBytes: Int

  /// The columns with what fills the last group.
  var padded: Int { groups * inputGroup }

  /// Nil where groups are no multiple of 16 columns, or row tables of 32.
  ///
  /// - Parameters:
  ///   - widest: the columns that may share an input's scale, 32 to 128.
  ///   - kernels: those that will meet the tiles.
  init?(columns: Int, tiling: Tiling, widest: Int, kernels: Kernels) {
    func filled(_ group: Int) -> Int { group >= columns ? (columns + 31) / 32 * 32 : group }
    let group = filled(tiling.group), shared = tiling.rowTables.map { filled($0.columns) } ?? 128
    guard group % 32 == 0 || group == 16, shared % 32 == 0, columns < 1 << 20 else { return nil }
    halves = group == 16
    guard !halves || tiling.rowTables == nil else { return nil }
    // The widest input groups that fill the row, and a weight's group.
    inputGroup =
      [128, 64, 32].first {
        $0 <= widest && group % $0 == 0 && columns % $0 == 0 && shared % $0 == 0
      } ?? 32
    groups = (columns + inputGroup - 1) / inputGroup
    span = halves ? 1 : group / inputGroup
    weightGroups = halves ? 2 * groups : (groups + span - 1) / span
    if case .coded(let span) = tiling.scales {
      superSpan = span
      supers = (weightGroups + span - 1) / span
    } else {
      (superSpan, supers) = (1, 0)
    }
    tableSpan = shared / inputGroup
    tableGroups = tiling.rowTables == nil ? 0 : (groups + tableSpan - 1) / tableSpan
    self.columns = columns
    let padded = groups * inputGroup
    trits = tiling.isTernary && !halves && padded % 128 == 0 && kernels.table.pointee.pack_trits != nil
    tileBytes = trits ? padded / 2 * 7 : padded / 32 * 64 * tiling.bits
  }

  /// Where the parts of so many tiles lie; `patches` are those of all.
  func memory(tiles: Int, _ tiling: Tiling, patches: Int = 0) -> CodeMemory {
    let parameters = 16 * tiles * weightGroups
    return CodeMemory(
      tiling, codes: tiles * tileBytes, groups: parameters,
      scales: tiling.scales == .halves ? parameters : 16 * tiles * supers,
      tables: 16 * tiles * tableGroups * (tiling.rowTables?.count ?? 0), patches: patches)
  }

  /// Kernels' view of tiles whose parts lie in `memory`.
  func layout(rows: Int, columns: Int, tiling: Tiling, at memory: CodeRow, _ extras: TileExtras) -> LatheTiles
  {
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
      bits: UInt32(tiling.bits), trits: trits ? 1 : 0, table: extras.table, row_tables: memory.tables,
      marks: extras.marks,
      patches: memory.patches, patch_starts: extras.patchStarts, table_span: tableSpan,
      table_groups: tableGroups,
      input_group: inputGroup, groups: groups, span: span, weight_groups: weightGroups, super_span: superSpan,
      supers: supers, rows: rows, columns: columns)
  }
}

/// Something that happened on any of several threads.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isRaised: Bool { value.load(ordering: .acquiring) }
  func raise() { value.store(true, ordering: .releasing) }
}

/// Hands out 0, 1, 2 and so on to any of several threads.
final class Counter: Sendable {
  private let value = Atomic<Int>(0)
  func take() -> Int { value.add(1, ordering: .relaxed).oldValue }
}
