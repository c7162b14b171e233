internal import CLatheKernels

/// What the codes of a matrix are, for products with inputs rounded to bytes.
///
/// Value = scale · (code - zero), or scale · code + minimum; where there is a table, its entry takes the code's place.
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

  /// The width of a code, 1 to 8.
  package var bits: Int
  /// The columns that share a scale.
  package var group: Int
  package var scales = Scales.halves
  package var offsets: Offsets
  /// Sixteen entries, 128 above their values.
  package var table: [UInt8]?

  package init(
    bits: Int, group: Int, scales: Scales = .halves, offsets: Offsets, table: [UInt8]? = nil
  ) {
    (self.bits, self.group, self.scales) = (bits, group, scales)
    (self.offsets, self.table) = (offsets, table)
  }

  /// What the codes of blocks of `layout` are; nil where they have none.
  package init?(_ layout: StoredLayout) {
    guard let shape = lathe_code_shape(layout.index)?.pointee else { return nil }
    self.init(
      bits: Int(shape.bits), group: shape.group,
      scales: shape.super_span > 0 ? .coded(span: shape.super_span) : .halves,
      offsets: shape.nibbles != 0 ? .nibbles : shape.has_minimums != 0 ? .minimums : .constant(shape.zero),
      table: shape.table.map { Array(UnsafeBufferPointer(start: $0, count: 16)) })
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
