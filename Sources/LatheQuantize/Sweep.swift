internal import LatheEncoding
package import LatheTensor

/// The sweep over columns that second-order methods share: whatever a method chooses for a run of columns, the columns
/// still to come make up for its error.
///
/// The weight is held with one of its columns in each row, in the factor's order, so that a column of all outputs is
/// one run of memory. Columns go in blocks: errors reach the rest of a block at once, later blocks with one product.
package struct Sweep {
  private let factor: InverseFactor
  private let rows: Int
  package private(set) var columns: Matrix
  /// What was chosen so far, one of the weight's columns in each row, in the factor's order; empty unless kept.
  package private(set) var points: Matrix
  /// The weight before the sweep, its columns in their own order.
  package let originalColumns: Matrix

  /// A sweep over `weight`; dead columns count as zero.
  package init(_ weight: Matrix, factor: InverseFactor, keepingPoints keeps: Bool = false) {
    (self.factor, rows) = (factor, weight.rows)
    var original = weight.transposed()
    for j in factor.dead { for i in 0..<rows { original[j, i] = 0 } }
    originalColumns = original
    columns = factor.order == Array(0..<weight.columns) ? original : original.selectingRows(factor.order)
    points = keeps ? Matrix(zeros: columns.rows, rows) : Matrix(zeros: 0, 0)
  }

  /// Chooses for a run of places, given the columns as they are then; writes the chosen points, column after column.
  package typealias Choice = (_ places: Range<Int>, _ columns: Matrix, _ points: UnsafeMutablePointer<Float>)
    -> Void

  /// Goes over all columns.
  ///
  /// - Parameters:
  ///   - step: the columns chosen together: 1 for scalar codes, more for codes of vectors or of whole groups.
  ///   - group: the columns that share parameters. A block holds whole groups, so that a group is fitted on columns that
  ///     have received every error before it.
  package mutating func run(step: Int = 1, group: Int, _ choose: Choice) {
    let n = columns.rows
    let block = max(group, step) * max(1, 128 / max(group, step))
    var errors = Matrix(zeros: min(block, n), rows)
    for first in stride(from: 0, to: n, by: block) {
      let end = min(first + block, n)
      for start in stride(from: first, to: end, by: step) {
        let places = start..<min(start + step, end)
        errors.values.withUnsafeMutableBufferPointer { buffer in
          guard let e = buffer.baseAddress.map({ $0 + (start - first) * rows }) else { return }
          choose(places, columns, e)
          keep(places, e)
          spread(places, e, to: end)
        }
      }
      spreadBlock(first, end, errors)
    }
  }

  private mutating func keep(_ places: Range<Int>, _ chosen: UnsafePointer<Float>) {
    guard points.rows > 0 else { return }
    let rows = rows
    points.values.withUnsafeMutableBufferPointer {
      $0.baseAddress?.advanced(by: places.lowerBound * rows).update(from: chosen, count: places.count * rows)
    }
  }

  /// Turns what was chosen for `places` into errors, and takes these from the columns up to `end`.
  private mutating func spread(_ places: Range<Int>, _ e: UnsafeMutablePointer<Float>, to end: Int) {
    let n = columns.rows, rows = rows, factor = factor
    columns.values.withUnsafeMutableBufferPointer { values in
      factor.upper.values.withUnsafeBufferPointer { upper in
        guard let values = values.baseAddress, let upper = upper.baseAddress else { return }
        for (k, j) in places.enumerated() {
          let w = values + j * rows, own = e + k * rows
          for i in 0..<rows { own[i] = w[i] - own[i] }
          // Columns chosen together: E · U = W - Ŵ over the triangle of their own.
          for (l, other) in places.prefix(k).enumerated() {
            let weight = upper[other * n + j], before = e + l * rows
            for i in 0..<rows { own[i] -= weight * before[i] }
          }
          let scale = 1 / upper[j * n + j]
          for i in 0..<rows { own[i] *= scale }
        }
        let next = places.upperBound
        if places.count == 1 {
          BLAS.addOuterProduct(
            upper + places.lowerBound * n + next, e, alpha: -1, to: values + next * rows, stride: rows,
            m: end - next, n: rows)
        } else {
          BLAS.multiplyTransposing(
            upper + places.lowerBound * n + next, stride: n, e, stride: rows, into: values + next * rows,
            stride: rows, m: end - next, n: rows, k: places.count, alpha: -1, beta: 1)
        }
      }
    }
  }

  /// Takes the errors of the block `first ..< end` from all later columns.
  private mutating func spreadBlock(_ first: Int, _ end: Int, _ errors: Matrix) {
    let n = columns.rows, rows = rows, factor = factor
    guard end < n else { return }
    errors.values.withUnsafeBufferPointer { errors in
      columns.values.withUnsafeMutableBufferPointer { values in
        factor.upper.values.withUnsafeBufferPointer { upper in
          guard let errors = errors.baseAddress, let values = values.baseAddress,
            let upper = upper.baseAddress
          else { return }
          BLAS.multiplyTransposing(
            upper + first * n + end, stride: n, errors, stride: rows, into: values + end * rows, stride: rows,
            m: n - end, n: rows, k: end - first, alpha: -1, beta: 1)
        }
      }
    }
  }
}

/// The codes of a sweep, and the groups they were chosen under.
struct SweptCodes<G: Grid> {
  let grid: G
  let rows: Int
  /// Codes column after column, in the order of the sweep.
  var codes: [UInt8]
  /// The parameters of each group.
  var groups: [G.Parameters] = []
  /// The column of the grid that each place of the sweep stands for: it says the group and the place within it.
  var members: [Int] = []

  init(_ grid: G, rows: Int, columns: Int) {
    (self.grid, self.rows) = (grid, rows)
    codes = [UInt8](repeating: 0, count: rows * columns)
  }

  /// Rounds the column at `place` of the sweep.
  mutating func round(
    _ column: UnsafePointer<Float>, at place: Int, into points: UnsafeMutablePointer<Float>
  ) {
    let rows = rows, grid = grid, member = members[place]
    let parameters = groups[grid.group(of: member)], inGroup = grid.place(of: member)
    codes.withUnsafeMutableBufferPointer { codes in
      guard let codes = codes.baseAddress else { return }
      grid.round(
        column, at: inGroup, count: rows, under: parameters, codes: codes + place * rows, points: points)
    }
  }

  /// The codes column after column, columns in the weight's own order.
  func inOrder(_ order: [Int]) -> [UInt8] {
    var out = codes
    for (place, column) in order.enumerated() where place != column {
      out.replaceSubrange(column * rows..<(column + 1) * rows, with: codes[place * rows..<(place + 1) * rows])
    }
    return out
  }
}

extension Matrix {
  /// The rows in the order `order` names them.
  func selectingRows(_ order: [Int]) -> Matrix {
    var out: [Float] = []
    out.reserveCapacity(order.count * columns)
    for row in order { out.append(contentsOf: values[row * columns..<(row + 1) * columns]) }
    return Matrix(rows: order.count, columns: columns, values: out)
  }
}
