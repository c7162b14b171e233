internal import CLatheKernels

/// Where the scales of a matrix of table entries come from; pointers are the first row's.
package enum LookupScales {
  /// A scale for each group.
  case plain(UnsafePointer<Float>)
  /// `table[code] · factors[group / span] + offset`, groups counted from `first` over all rows.
  case coded(
    UnsafePointer<UInt8>, table: UnsafePointer<Float>, factors: UnsafePointer<Float>, first: Int, span: Int,
    offset: Float)
}

/// Rows of four-bit codes that name entries of a table, as kernels see them.
package struct LookupRows {
  fileprivate var first: LatheLookupRow

  /// Rows of `columns` codes, `group` of which share a scale.
  package init(
    codes: UnsafePointer<UInt8>, table: UnsafePointer<Float>, scales: LookupScales, group: Int, columns: Int
  ) {
    var row = LatheLookupRow(
      codes: codes, table: table, scales: nil, scale_codes: nil, scale_table: nil, factors: nil, first: 0,
      span: 1, offset: 0, group: group, n: columns, code_stride: (columns + 1) / 2,
      group_stride: (columns + group - 1) / group)
    switch scales {
    case .plain(let values): row.scales = values
    case .coded(let codes, let table, let factors, let start, let span, let offset):
      (row.scale_codes, row.scale_table, row.factors) = (codes, table, factors)
      (row.first, row.span, row.offset) = (start, span, offset)
    }
    first = row
  }

  /// Writes the first row's codes, and its scales times `unit` as binary16.
  ///
  /// - Returns: false where binary16 holds the scales badly: the largest would err by more than a 256th, or be infinite.
  package func read(into codes: CodeRow, unit: Float, with kernels: Kernels) -> Bool {
    kernels.unpack(first.codes, width: 4, into: codes.codes, first.n)
    var largest: Float = 0
    for g in 0..<(first.n + first.group - 1) / first.group {
      var scale: Float = 0
      if let scales = first.scales {
        scale = scales[g]
      } else if let codes = first.scale_codes, let table = first.scale_table, let factors = first.factors {
        scale = table[Int(codes[g])] * factors[(first.first + g) / first.span] + first.offset
      }
      guard abs(scale * unit) <= HalfPrecision.largest else { return false }
      codes.scales[g] = HalfPrecision.bits(scale * unit)
      largest = max(largest, abs(scale * unit))
    }
    return largest == 0 || largest >= 0x1p-17
  }
}

extension Kernels {
  /// Decodes `count` rows, one after another.
  package func decode(_ rows: LookupRows, count: Int, into out: UnsafeMutablePointer<Float>) {
    withUnsafePointer(to: rows.first) { lathe_decode_lookup(table, $0, count, out) }
  }

  /// The inner products of `count` rows and a vector.
  package func multiply(
    _ rows: LookupRows, count: Int, by x: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: rows.first) { lathe_multiply_lookup(table, $0, count, x, out) }
  }

  /// Rounds a column of `n` weights, multiplied by `inverse`, to the nearest of sixteen entries.
  ///
  /// - Parameters:
  ///   - bounds: the largest value that still belongs to each of the first fifteen entries, in rising order.
  ///   - sorted: the entries in rising order.
  ///   - order: the code of each of these entries.
  ///   - points: receives the entries times `scale`.
  package func roundLookup(
    _ w: UnsafePointer<Float>, inverse: UnsafePointer<Float>, scale: UnsafePointer<Float>, bounds: [Float],
    sorted: [Float], order: [UInt8], codes: UnsafeMutablePointer<UInt8>,
    points: UnsafeMutablePointer<Float>,
    _ n: Int
  ) {
    precondition(bounds.count == 15 && sorted.count == 16 && order.count == 16, "sixteen entries")
    table.pointee.round_lookup(w, inverse, scale, bounds, sorted, order, codes, points, n)
  }
}
