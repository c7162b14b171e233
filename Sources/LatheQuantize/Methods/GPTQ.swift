public import LatheEncoding
public import LatheTensor

/// Rounds column by column, and lets the columns still to come make up for each error.
///
/// Paper: arXiv:2210.17323. Minimizes `‖W·X - Ŵ·X‖²` for the calibration inputs X. With `H` the second moment of the
/// inputs, damped by `damping` of its mean diagonal, and `H⁻¹ = Uᵀ·U`, column j is rounded to q and its error
/// `e = (w_j - q) / U_jj` is taken from the others: `w_k -= e · U_jk` for k > j (equations 2, 3 and section 3.3).
///
/// Options of the authors' code: `actOrder` takes the columns with the largest second moment first; `staticGroups`
/// fits all groups before the first column is rounded, so that groups stay runs of neighbours under act-order;
/// `clip` searches each group's range.
public struct GPTQ: QuantizationMethod {
  public static let card = MethodCard(
    name: "gptq", title: "GPTQ", paper: "arXiv:2210.17323",
    summary: "Second-order rounding: later columns make up for each error.",
    options: [
      "damping": "share of the mean diagonal added to the second moment (default 0.01)",
      "actOrder": "columns in order of falling second moment (default true)",
      "staticGroups":
        "fit all groups before the sweep, so that act-order keeps them contiguous (default true)",
      "clip": "search the range of each group for the least weighted squared error (default false)",
    ])

  /// The share of the diagonal's mean that is added to the second moment.
  public var damping: Float = 0.01
  /// Whether columns go in order of falling second moment.
  public var actOrder = true
  /// Whether groups are fitted before the sweep when columns are reordered.
  public var staticGroups = true
  /// Whether each group's range is searched.
  public var clip = false

  /// The defaults of today's implementations: the authors', but columns in order of falling second moment.
  public init() {}

  public var evidence: EvidenceKinds { [.secondMoment] }

  private func scatters(_ grid: some Grid) -> Bool {
    actOrder && !staticGroups && grid.groupSize != nil && grid.allowsScatteredGroups
  }

  public func storage(of grid: some Grid) -> any Encoding { scatters(grid) ? grid.scattered : grid }

  public func prepare(_ evidence: Evidence, threads: Int) throws(Problem) {
    _ = try evidence.inverseFactor(damping: damping, descending: actOrder, threads: threads)
  }

  public func quantize<G: Grid>(
    _ weight: Matrix, onto grid: G, given evidence: Evidence
  ) throws(Problem) -> EncodedMatrix {
    let factor = try evidence.inverseFactor(damping: damping, descending: actOrder)
    let importance = (0..<weight.columns).map { evidence.secondMoment?[$0, $0] ?? 1 }
    var sweep = Sweep(weight, grid: grid, factor: factor)
    let scattered = scatters(grid)
    if actOrder && !scattered {
      let groups = grid.fitGroups(of: sweep.originalColumns, searching: clip, importance: importance)
      sweep.run { place, _ in
        (groups[grid.group(of: factor.order[place])], grid.place(of: factor.order[place]))
      }
      return try grid.pack(
        sweep.codes(inOrder: factor.order), parameters: groups, groupOfColumn: nil, rows: weight.rows,
        columns: weight.columns)
    }
    // Groups are runs of the order in which columns are rounded, each fitted when its first column's turn comes.
    var groups: [G.Parameters] = []
    let size = grid.groupSize ?? weight.columns
    sweep.run { place, columns in
      if place % size == 0 {
        let members = place..<min(place + size, weight.columns)
        groups.append(
          grid.fitGroup(
            columns.rows(members), searching: clip, importance: members.map { importance[factor.order[$0]] }))
      }
      return (groups[place / size], place % size)
    }
    var groupOfColumn: [Int]?
    if scattered {
      var index = [Int](repeating: 0, count: weight.columns)
      for (place, column) in factor.order.enumerated() { index[column] = place / size }
      groupOfColumn = index
    }
    return try grid.pack(
      sweep.codes(inOrder: factor.order), parameters: groups, groupOfColumn: groupOfColumn, rows: weight.rows,
      columns: weight.columns)
  }
}

/// The sweep over columns that second-order methods share.
///
/// The weight is held with one of its columns in each row, in the factor's order, so that a column of all outputs is
/// one run of memory. Columns go in blocks: errors reach the rest of a block at once, later blocks with one product.
struct Sweep<G: Grid> {
  private let grid: G
  private let factor: InverseFactor
  private let rows: Int
  private(set) var columns: Matrix
  private var codes: [UInt8]
  /// The weight before the sweep, its columns in their own order.
  let originalColumns: Matrix

  init(_ weight: Matrix, grid: G, factor: InverseFactor) {
    (self.grid, self.factor, rows) = (grid, factor, weight.rows)
    var original = weight.transposed()
    for j in factor.dead { for i in 0..<rows { original[j, i] = 0 } }
    originalColumns = original
    columns = factor.order == Array(0..<weight.columns) ? original : original.selectingRows(factor.order)
    codes = [UInt8](repeating: 0, count: weight.values.count)
  }

  /// Rounds every column, under what `parameters` gives for its place and the columns as they are then: its group's
  /// parameters, and its place within the group.
  mutating func run(_ parameters: (Int, Matrix) -> (G.Parameters, Int)) {
    let n = columns.rows
    // A block holds whole groups, so that a group is fitted on columns that have received every error before it.
    let group = grid.groupSize ?? 128
    let block = group * max(1, 128 / group)
    var errors = Matrix(zeros: block, rows)
    var points = [Float](repeating: 0, count: rows)
    for first in stride(from: 0, to: n, by: block) {
      let end = min(first + block, n)
      for j in first..<end {
        let (fitted, place) = parameters(j, columns)
        round(j, at: place, under: fitted, into: &points)
        spread(j, points, to: end, errors: &errors, row: j - first)
      }
      spreadBlock(first, end, errors)
    }
  }

  /// The codes column after column, columns in the weight's own order.
  func codes(inOrder order: [Int]) -> [UInt8] {
    var out = codes
    for (place, column) in order.enumerated() where place != column {
      out.replaceSubrange(column * rows..<(column + 1) * rows, with: codes[place * rows..<(place + 1) * rows])
    }
    return out
  }

  private mutating func round(_ j: Int, at place: Int, under fitted: G.Parameters, into points: inout [Float])
  {
    let rows = rows, grid = grid
    codes.withUnsafeMutableBufferPointer { codes in
      columns.values.withUnsafeBufferPointer { values in
        points.withUnsafeMutableBufferPointer { points in
          guard let codes = codes.baseAddress, let values = values.baseAddress,
            let points = points.baseAddress
          else { return }
          grid.round(
            values + j * rows, at: place, count: rows, under: fitted, codes: codes + j * rows, points: points)
        }
      }
    }
  }

  /// Takes the error of column `j` from the columns up to `end`.
  private mutating func spread(_ j: Int, _ points: [Float], to end: Int, errors: inout Matrix, row: Int) {
    let n = columns.rows, rows = rows, factor = factor
    let scale = 1 / factor.upper[j, j]
    errors.values.withUnsafeMutableBufferPointer { errors in
      columns.values.withUnsafeMutableBufferPointer { values in
        factor.upper.values.withUnsafeBufferPointer { upper in
          guard let e = errors.baseAddress.map({ $0 + row * rows }), let values = values.baseAddress,
            let upper = upper.baseAddress
          else { return }
          let w = values + j * rows
          for i in 0..<rows { e[i] = (w[i] - points[i]) * scale }
          BLAS.addOuterProduct(
            upper + j * n + j + 1, e, alpha: -1, to: values + (j + 1) * rows, stride: rows, m: end - j - 1,
            n: rows)
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

extension Matrix {
  /// The rows in the order `order` names them.
  func selectingRows(_ order: [Int]) -> Matrix {
    var out: [Float] = []
    out.reserveCapacity(order.count * columns)
    for row in order { out.append(contentsOf: values[row * columns..<(row + 1) * columns]) }
    return Matrix(rows: order.count, columns: columns, values: out)
  }
}
