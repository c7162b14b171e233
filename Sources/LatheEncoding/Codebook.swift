package import LatheTensor

/// Sixteen numbers that four-bit codes stand for.
package struct Codebook: Sendable {
  /// The entries by code.
  package let table: [Float]
  /// The entries in rising order, and their codes.
  private let sorted: [Float]
  private let order: [UInt8]
  /// The largest value that still belongs to each of the first fifteen of them.
  private let bounds: [Float]
  /// The entries as bytes, 128 above multiples of `unit`: exact where they have a common unit, else within a 250th of the
  /// largest.
  package let wholes: [UInt8]
  /// What a whole entry is multiplied by.
  package let unit: Float

  /// The entries of the given codes; a value half-way between two goes to the smaller one.
  ///
  /// - Parameter tiesToEven: whether half-way values go to the entry whose code is even instead. Zeros of both signs
  ///   count as one.
  package init(_ table: [Float], tiesToEven: Bool = false) {
    self.table = table
    // Of two zeros the negative one comes first, and is never chosen.
    let ranked = table.indices.sorted {
      table[$0] != table[$1] ? table[$0] < table[$1] : (table[$0].sign == .minus && table[$1].sign == .plus)
    }
    order = ranked.map { UInt8($0) }
    let values = ranked.map { table[$0] }
    sorted = values
    var bounds: [Float] = []
    for k in 0..<15 {
      let middle = (values[k] + values[k + 1]) / 2
      // What is above the entry below the two zeros is above the first of them too.
      let isZero = values[k] == values[k + 1] && k > 0
      bounds.append(
        isZero ? bounds[k - 1] : tiesToEven && ranked[k + 1] % 2 == 0 ? middle.nextDown : middle)
    }
    self.bounds = bounds
    (wholes, unit) = Self.wholes(table)
  }

  /// Of the units that take the largest entry to at most 127, the one whose multiples are nearest to all; of equals the
  /// largest.
  private static func wholes(_ table: [Float]) -> (entries: [UInt8], unit: Float) {
    let largest = table.map(abs).max() ?? 1
    var best: (error: Float, unit: Float) = (.infinity, 1)
    for eighths in 8...8 * 127 {
      let unit = largest * 8 / Float(eighths)
      let error = table.reduce(Float(0)) {
        let missed = ($1 / unit).rounded() * unit - $1
        return $0 + missed * missed
      }
      if error < best.error { best = (error, unit) }
    }
    return (table.map { UInt8(128 + ($0 / best.unit).rounded()) }, best.unit)
  }

  /// The codes nearest to a column divided by each row's scale, and the points they stand for.
  package func round(
    _ column: UnsafePointer<Float>, count: Int, under parameters: LookupParameters,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>
  ) {
    Kernels.best.roundLookup(
      column, inverse: parameters.inverse, scale: parameters.scale, bounds: bounds, sorted: sorted,
      order: order,
      codes: codes, points: points, count)
  }
}

/// The scale of a group of table entries for every row: as codes are chosen, and as it is stored.
public struct LookupParameters: GroupParameters {
  /// What a weight is multiplied by before the nearest entry is looked up.
  package var inverse: [Float]
  /// What an entry is multiplied by when decoded.
  package var scale: [Float]
  /// The stored code of the scale, where it is a code.
  package var code: [UInt8]

  package init(rows: Int) {
    (inverse, scale) = ([Float](repeating: 0, count: rows), [Float](repeating: 0, count: rows))
    code = [UInt8](repeating: 0, count: rows)
  }

  public mutating func adopt(_ other: LookupParameters, where better: [Bool]) {
    for i in better.indices where better[i] {
      (inverse[i], scale[i], code[i]) = (other.inverse[i], other.scale[i], other.code[i])
    }
  }
}

extension Matrix {
  /// The largest magnitude of each row's group, from a matrix with one column of the weight in each row; what is no
  /// finite number does not count.
  package func largestMagnitudes() -> [Float] {
    var largest = [Float](repeating: 0, count: columns)
    values.withUnsafeBufferPointer { v in
      for i in 0..<rows {
        for j in 0..<columns {
          let size = abs(v[i * columns + j])
          if size > largest[j] && size < .infinity { largest[j] = size }
        }
      }
    }
    return largest
  }
}
