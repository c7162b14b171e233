internal import CLatheKernels

/// What the codes of a matrix are, for products with inputs rounded to bytes.
///
/// Value = scale · (code - zero), or scale · code + minimum; where there are tables, an entry takes the code's place.
public struct Tiling: Hashable, Sendable {
  /// How scales are kept.
  package enum Scales: Hashable, Sendable {
    /// A binary16 number for each group.
    case halves
    /// A signed byte for each group, times a binary16 number for each `span` groups.
    case coded(span: Int)
  }

  /// What is taken from a code, or added to its product.
  package enum Offsets: Hashable, Sendable {
    /// The same zero point everywhere.
    case constant(Float)
    /// A zero point of a byte for each group.
    case zeros
    /// A binary16 zero point for each group.
    case halfZeros
    /// A minimum for each group, kept as scales are; coded ones are subtracted.
    case minimums
    /// Half bytes: the scale's code below, the minimum's above.
    case nibbles
  }

  /// Tables that each row has for runs of columns, of four bytes for codes of two bits.
  package struct RowTables: Hashable, Sendable {
    /// The columns that share a row's table.
    package var columns: Int
    /// What else there is.
    package var others: Others

    /// A second table, or bytes of their own.
    package enum Others: Hashable, Sendable {
      /// A second table for the columns that are marked.
      case marked([Bool])
      /// Codes with the second bit set stand for bytes of their own: how many there are before each row, and in all.
      case patches(before: [Int])
    }

    package init(columns: Int, _ others: Others) { (self.columns, self.others) = (columns, others) }

    /// The bytes of a row's tables for one run of columns.
    var count: Int { if case .marked = others { 8 } else { 4 } }
    var hasPatches: Bool { if case .patches = others { true } else { false } }
  }

  /// The width of a code, 1 to 8.
  package var bits: Int
  /// The columns that share a scale.
  package var group: Int
  package var scales = Scales.halves
  package var offsets: Offsets
  /// Sixteen entries, 128 above their values.
  package var table: [UInt8]?
  /// Each row's own tables; they ask for groups of 32 columns and more.
  package var rowTables: RowTables?
  /// The column that comes in each place, where groups are not runs of columns as they are.
  package var order: [Int32]?
  /// Whether no code of two bits is 3: five bits hold three codes then.
  package var isTernary = false
  /// Whether every row of every matrix has its place; else that is known when all are laid out.
  package var isTotal = false

  package init(
    bits: Int, group: Int, scales: Scales = .halves, offsets: Offsets, table: [UInt8]? = nil,
    rowTables: RowTables? = nil, order: [Int32]? = nil, isTernary: Bool = false, isTotal: Bool = false
  ) {
    (self.bits, self.group, self.scales) = (bits, group, scales)
    (self.offsets, self.table, self.rowTables, self.order) = (offsets, table, rowTables, order)
    (self.isTernary, self.isTotal) = (isTernary, isTotal)
  }

  /// Whether weights of one or two bits, or two values a row, err far more than inputs do; arithmetic binds there, too.
  var isCoarse: Bool { bits <= 2 || rowTables != nil }

  var hasMinimums: Bool { offsets == .minimums || offsets == .nibbles }

  /// What the codes of blocks of `layout` are; nil where they have none.
  package init?(_ layout: StoredLayout) {
    guard let shape = lathe_code_shape(layout.index)?.pointee else { return nil }
    self.init(
      bits: Int(shape.bits), group: shape.group,
      scales: shape.super_span > 0 ? .coded(span: shape.super_span) : .halves,
      offsets: shape.nibbles != 0 ? .nibbles : shape.has_minimums != 0 ? .minimums : .constant(shape.zero),
      table: shape.table.map { Array(UnsafeBufferPointer(start: $0, count: 16)) })
    isTernary = shape.ternary != 0
    isTotal = shape.partial == 0
  }
}

/// Room for one row's codes, a byte each, and its groups' parameters.
///
/// What a tiling does not have is nil; what it has holds an entry a group, or one a run of groups with coded scales.
public struct CodeRow {
  package var codes: UnsafeMutablePointer<UInt8>
  package var scales: UnsafeMutablePointer<UInt16>
  package var scaleCodes: UnsafeMutablePointer<Int8>?
  package var minimumCodes: UnsafeMutablePointer<UInt8>?
  package var minimums: UnsafeMutablePointer<UInt16>?
  package var zeros: UnsafeMutablePointer<UInt8>?
  package var halfZeros: UnsafeMutablePointer<UInt16>?
  /// Four bytes for each run of columns that share a row's table, or twice four.
  package var tables: UnsafeMutablePointer<UInt8>?
  /// A byte a column, where the code's second bit is set.
  package var patches: UnsafeMutablePointer<UInt8>?

  var forKernels: LatheCodeRow {
    LatheCodeRow(
      codes: codes, scales: scales, scale_codes: scaleCodes, minimum_codes: minimumCodes, minimums: minimums,
      zeros: zeros, half_zeros: halfZeros)
  }

  /// Reads a stored row of `n` elements.
  ///
  /// - Returns: false where a scale does not fit binary16.
  package func read(_ row: UnsafePointer<UInt8>, _ layout: StoredLayout, _ n: Int) -> Bool {
    withUnsafePointer(to: forKernels) { lathe_read_codes(layout.index, row, n, $0) != 0 }
  }
}
