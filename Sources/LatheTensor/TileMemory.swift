internal import CLatheKernels

/// Byte offsets of parts that lie one after another, each on a line of the cache.
private struct Sections {
  private(set) var count = 0

  /// Room for `n` elements; nil for none.
  mutating func add<T>(_ n: Int, _ type: T.Type) -> Int? {
    guard n > 0 else { return nil }
    defer { count += (n * MemoryLayout<T>.stride + 63) / 64 * 64 }
    return count
  }
}

/// Where codes and parameters of some rows lie: of all tiles, or of the rows of one on their way.
struct CodeMemory {
  /// The bytes of all.
  let byteCount: Int
  private let codes, scales, scaleCodes, minimumCodes, minimums, zeros, halfZeros, tables, patches: Int?

  /// Room for as many elements as are given; `scales` are those of runs of groups where scales are coded.
  init(_ tiling: Tiling, codes: Int, groups: Int, scales: Int, tables: Int, patches: Int) {
    var sections = Sections()
    let isCoded = tiling.scales != .halves
    self.codes = sections.add(codes, UInt8.self)
    self.scales = sections.add(scales, UInt16.self)
    scaleCodes = sections.add(isCoded ? groups : 0, Int8.self)
    minimums = sections.add(tiling.hasMinimums ? scales : 0, UInt16.self)
    minimumCodes = sections.add(isCoded && tiling.offsets == .minimums ? groups : 0, UInt8.self)
    zeros = sections.add(tiling.offsets == .zeros ? groups : 0, UInt8.self)
    halfZeros = sections.add(tiling.offsets == .halfZeros ? groups : 0, UInt16.self)
    self.tables = sections.add(tiling.rowTables == nil ? 0 : tables, UInt8.self)
    // A vector of patches is read from wherever the last one begins.
    self.patches = sections.add(tiling.rowTables?.hasPatches == true ? patches + 64 : 0, UInt8.self)
    byteCount = sections.count
  }

  /// The parts in memory that begins at `base`.
  func row(at base: UnsafeMutableRawPointer) -> CodeRow {
    func at<T>(_ offset: Int?, _ type: T.Type) -> UnsafeMutablePointer<T>? {
      offset.map { (base + $0).assumingMemoryBound(to: type) }
    }
    return CodeRow(
      codes: (base + (codes ?? 0)).assumingMemoryBound(to: UInt8.self),
      scales: (base + (scales ?? 0)).assumingMemoryBound(to: UInt16.self),
      scaleCodes: at(scaleCodes, Int8.self), minimumCodes: at(minimumCodes, UInt8.self),
      minimums: at(minimums, UInt16.self), zeros: at(zeros, UInt8.self),
      halfZeros: at(halfZeros, UInt16.self),
      tables: at(tables, UInt8.self), patches: at(patches, UInt8.self))
  }
}

/// Rows as a file has them, one after another.
package struct StoredRows: @unchecked Sendable {
  // Memory that nobody writes to, and that whoever holds the rows keeps.
  let bytes: UnsafePointer<UInt8>
  let bytesPerRow: Int
  let layout: StoredLayout

  /// Rows that begin at `bytes`.
  package init(_ bytes: UnsafePointer<UInt8>, bytesPerRow: Int, layout: StoredLayout) {
    (self.bytes, self.bytesPerRow, self.layout) = (bytes, bytesPerRow, layout)
  }
}

/// Codes of whole bytes as a file has them, row after row.
package struct ByteRows: @unchecked Sendable {
  // Memory that nobody writes to, and that whoever holds the rows keeps.
  let codes: UnsafePointer<UInt8>
  /// Fills in the parameters of row number `row`.
  let readParameters: @Sendable (_ row: Int, _ to: CodeRow) -> Void

  /// Codes that begin at `codes`.
  package init(
    _ codes: UnsafePointer<UInt8>, readParameters: @escaping @Sendable (_ row: Int, _ to: CodeRow) -> Void
  ) {
    (self.codes, self.readParameters) = (codes, readParameters)
  }
}

/// Where tiles get a matrix's rows from.
package struct TileSource: Sendable {
  /// The same rows as they are stored, where they are: `read` keeps their memory.
  let stored: StoredRows?
  /// Their codes where they are stored as bytes, in the same way.
  let bytes: ByteRows?
  /// Fills in row number `row`, and returns false where it has no place in tiles.
  let read: @Sendable (_ row: Int, _ to: CodeRow) -> Bool
  /// Hears of rows that will not be read again.
  let finished: @Sendable (Range<Int>) -> Void

  package init(
    stored: StoredRows? = nil, bytes: ByteRows? = nil,
    read: @escaping @Sendable (_ row: Int, _ to: CodeRow) -> Bool,
    finished: @escaping @Sendable (Range<Int>) -> Void = { _ in }
  ) {
    (self.stored, self.bytes, self.read, self.finished) = (stored, bytes, read, finished)
  }
}

/// What all rows of a tiling share.
final class TileExtras: Sendable {
  private let memory: AlignedMemory
  private let hasTable, isMarked, isPatched: Bool
  private let columns: Int
  /// The patches of all tiles.
  let patchCount: Int

  init(_ tiling: Tiling, rows: Int, padded: Int) {
    let tiles = (rows + 15) / 16
    columns = (padded + 63) / 64 * 64
    memory = AlignedMemory(64 + columns + 8 * tiles)
    let bytes = memory.base.assumingMemoryBound(to: UInt8.self)
    hasTable = tiling.table != nil
    for (i, entry) in (tiling.table ?? []).enumerated() { bytes[i] = entry }
    var marked = false, before: [Int]?
    switch tiling.rowTables?.others {
    case .marked(let marks):
      marked = true
      for (j, isMarked) in marks.enumerated() { bytes[64 + j] = isMarked ? 64 : 0 }
    case .patches(let counts):
      before = counts
      let starts = (memory.base + 64 + columns).assumingMemoryBound(to: UInt64.self)
      for tile in 0..<tiles { starts[tile] = UInt64(counts[16 * tile]) }
    case nil: break
    }
    (isMarked, isPatched, patchCount) = (marked, before != nil, before?.last ?? 0)
  }

  var table: UnsafePointer<UInt8>? {
    hasTable ? UnsafePointer(memory.base.assumingMemoryBound(to: UInt8.self)) : nil
  }
  var marks: UnsafePointer<UInt8>? {
    isMarked ? UnsafePointer((memory.base + 64).assumingMemoryBound(to: UInt8.self)) : nil
  }
  var patchStarts: UnsafePointer<UInt64>? {
    isPatched ? UnsafePointer((memory.base + 64 + columns).assumingMemoryBound(to: UInt64.self)) : nil
  }
}

/// Puts sixteen rows at a time into a tile.
struct TileWriter {
  private let shape: TileShape
  private let tiling: Tiling
  private let rows: Int
  private let kernels: Kernels
  private let extras: TileExtras

  init(_ shape: TileShape, _ tiling: Tiling, _ extras: TileExtras, rows: Int, _ kernels: Kernels) {
    (self.shape, self.tiling, self.extras, self.rows) = (shape, tiling, extras, rows)
    self.kernels = kernels
  }

  /// Reads the rows of tile number `tile`, and lays them out as number `place` in `target`; patches lie in
  /// memory of all tiles.
  func write(_ tile: Int, at place: Int, to target: CodeRow, from source: TileSource) -> Bool {
    let isPlain = tiling.order == nil && shape.columns == shape.padded && 16 * tile + 16 <= rows
    if isPlain, let stored = source.stored, pack(stored, tile, at: place, to: target) { return true }
    let bytes = isPlain ? source.bytes : nil
    let padded = shape.padded, scales = shape.supers > 0 ? shape.supers : shape.weightGroups
    // A row that is to be ordered is read beside the sixteen.
    let memory = CodeMemory(
      tiling, codes: 17 * padded, groups: shape.weightGroups, scales: scales, tables: 8 * shape.tableGroups,
      patches: 16 * padded)
    return withUnsafeTemporaryAllocation(byteCount: memory.byteCount, alignment: 64) { raw in
      guard let base = raw.baseAddress else { return false }
      // What no row fills is zero.
      if shape.columns < padded || 16 * tile + 16 > rows {
        base.initializeMemory(as: UInt8.self, repeating: 0, count: memory.byteCount)
      }
      let all = memory.row(at: base)
      for r in 0..<16 where 16 * tile + r < rows {
        var row = all
        row.codes += (tiling.order == nil ? r : 16) * padded
        row.patches? += r * padded
        if let bytes {
          bytes.readParameters(16 * tile + r, row)
        } else if !source.read(16 * tile + r, row) {
          return false
        }
        if let order = tiling.order {
          for (i, column) in order.enumerated() { all.codes[r * padded + i] = row.codes[Int(column)] }
        }
        scatter(row, scales, place, r, to: target)
      }
      let planes = target.codes + place * shape.tileBytes
      if shape.trits {
        kernels.table.pointee.pack_trits?(all.codes, padded, planes)
      } else {
        let codes = bytes.map { $0.codes + 16 * tile * padded } ?? UnsafePointer(all.codes)
        kernels.table.pointee.pack_tile(codes, padded, UInt32(tiling.bits), planes)
      }
      if let patches = target.patches, let starts = extras.patchStarts, let values = all.patches {
        kernels.table.pointee.pack_patches(all.codes, values, padded, planes, patches + Int(starts[tile]))
      }
      return true
    }
  }

  /// Lays out sixteen rows as they are stored; returns false where that takes another way.
  private func pack(_ stored: StoredRows, _ tile: Int, at place: Int, to target: CodeRow) -> Bool {
    kernels.table.pointee.pack_stored(
      stored.layout.index, stored.bytes + 16 * tile * stored.bytesPerRow, stored.bytesPerRow, shape.columns,
      target.codes + place * shape.tileBytes, target.scales + 16 * place * shape.weightGroups) != 0
  }

  /// A row's parameters to every sixteenth place, and its tables to where a tile's lie.
  private func scatter(_ row: CodeRow, _ scales: Int, _ tile: Int, _ r: Int, to target: CodeRow) {
    let groups = shape.weightGroups
    scatter(row.scales, scales, tile, r, target.scales)
    scatter(row.scaleCodes, groups, tile, r, target.scaleCodes)
    scatter(row.minimumCodes, groups, tile, r, target.minimumCodes)
    scatter(row.minimums, scales, tile, r, target.minimums)
    scatter(row.zeros, groups, tile, r, target.zeros)
    scatter(row.halfZeros, groups, tile, r, target.halfZeros)
    guard let tables = row.tables, let out = target.tables, let rowTables = tiling.rowTables else { return }
    let halves = rowTables.count / 4
    for table in 0..<halves * shape.tableGroups {
      (out + 64 * (tile * halves * shape.tableGroups + table) + 4 * r).update(
        from: tables + 4 * table, count: 4)
    }
  }

  private func scatter<T>(
    _ values: UnsafeMutablePointer<T>?, _ count: Int, _ tile: Int, _ row: Int, _ out: UnsafeMutablePointer<T>?
  ) {
    guard let values, let out else { return }
    for g in 0..<count { out[16 * (tile * count + g) + row] = values[g] }
  }
}
