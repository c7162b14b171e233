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
///
/// Beyond them: `passes` of coordinate descent after the sweep; and a target that makes up for what the weights before
/// spoiled. With x̃ and r̃ the input and the hidden state of the original model, x and r those of the quantized one, the
/// best weight without a grid is `W + (mismatch · W·E[(x̃ - x)·xᵀ] + residual · E[(r̃ - r)·xᵀ]) · H⁻¹`: at `mismatch` 1
/// Qronos' objective (arXiv:2505.11695), below it GPTAQ's weakened one (arXiv:2504.02692).
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
      "passes": "passes of coordinate descent after the sweep (default 0)",
      "mismatch": "share of the inputs' drift that the target makes up for (default 0)",
      "residual": "share of the hidden state's drift that o and down make up for (default 0)",
    ])

  /// The share of the diagonal's mean that is added to the second moment.
  public var damping: Float = 0.01
  /// Whether columns go in order of falling second moment.
  public var actOrder = true
  /// Whether groups are fitted before the sweep when columns are reordered.
  public var staticGroups = true
  /// Whether each group's range is searched.
  public var clip = false
  /// Passes of coordinate descent after the sweep.
  public var passes = 0
  /// The share of the inputs' drift that the target makes up for.
  public var mismatch: Float = 0
  /// The share of the hidden state's drift that weights feeding it make up for.
  public var residual: Float = 0

  /// The defaults of today's implementations: the authors', but columns in order of falling second moment.
  public init() {}

  public var evidence: EvidenceKinds {
    var kinds: EvidenceKinds = [.secondMoment]
    if mismatch != 0 { kinds.insert(.mismatch) }
    if residual != 0 { kinds.insert(.residual) }
    return kinds
  }

  private func scatters(_ grid: some Grid) -> Bool {
    actOrder && !staticGroups && grid.groupSize != nil && grid.allowsScatteredGroups
  }

  public func storage(of grid: some Grid) -> any Encoding { scatters(grid) ? grid.scattered : grid }

  public func prepare(_ evidence: Evidence, threads: Int) throws(Problem) {
    _ = try evidence.inverseFactor(damping: damping, descending: actOrder, threads: threads)
  }

  public func target(for weight: Matrix, given evidence: Evidence, team: ThreadTeam) throws(Problem) -> Matrix
  {
    guard mismatch != 0 || residual != 0 else { return weight }
    let factor = try evidence.inverseFactor(damping: damping, descending: actOrder, threads: team.count)
    return weight.shifted(by: factor, mismatch: mismatch, residual: residual, evidence)
  }

  public func quantize<G: Grid>(
    _ weight: Matrix, onto grid: G, given evidence: Evidence
  ) throws(Problem) -> EncodedMatrix {
    let factor = try evidence.inverseFactor(damping: damping, descending: actOrder)
    let importance = (0..<weight.columns).map { evidence.secondMoment?[$0, $0] ?? 1 }
    var sweep = Sweep(weight, factor: factor, keepingPoints: passes > 0)
    var swept = SweptCodes(grid, rows: weight.rows, columns: weight.columns)
    let size = grid.groupSize ?? weight.columns, n = weight.columns
    let contiguous = actOrder && !scatters(grid)
    // What stands for a column in the grid at each place of the sweep: the column itself, or the place.
    swept.members = contiguous ? factor.order : Array(0..<n)
    if contiguous {
      swept.groups = grid.fitGroups(of: sweep.originalColumns, searching: clip, importance: importance)
    }
    sweep.run(group: size) { places, columns, points in
      let place = places.lowerBound
      // Groups of places are fitted when their first column's turn comes.
      if !contiguous && place % size == 0 {
        let members = place..<min(place + size, n)
        swept.groups.append(
          grid.fitGroup(
            columns.rows(members), searching: clip, importance: members.map { importance[factor.order[$0]] }))
      }
      columns.values.withUnsafeBufferPointer { values in
        guard let column = values.baseAddress.map({ $0 + place * weight.rows }) else { return }
        swept.round(column, at: place, into: points)
      }
    }
    refine(&swept, sweep, factor, evidence)
    var groupOfColumn: [Int]?
    if scatters(grid) {
      var index = [Int](repeating: 0, count: n)
      for (place, column) in factor.order.enumerated() { index[column] = place / size }
      groupOfColumn = index
    }
    return try grid.pack(
      swept.inOrder(factor.order), parameters: swept.groups, groupOfColumn: groupOfColumn, rows: weight.rows,
      columns: n)
  }

  /// The passes after the sweep.
  private func refine<G: Grid>(
    _ swept: inout SweptCodes<G>, _ sweep: Sweep, _ factor: InverseFactor, _ evidence: Evidence
  ) {
    guard passes > 0, let moment = evidence.dampedMoment(like: factor) else { return }
    var descent = CoordinateDescent(
      points: sweep.points, target: sweep.originalColumns.selectingRows(factor.order), moment: moment)
    for _ in 0..<passes {
      descent.pass { place, wanted, points in
        swept.round(wanted, at: place, into: points)
      }
    }
  }
}

extension Matrix {
  /// `W + (mismatch · W·C + residual · D) · H⁻¹`, the best weight without a grid for inputs that have drifted.
  fileprivate func shifted(
    by factor: InverseFactor, mismatch: Float, residual: Float, _ evidence: Evidence
  ) -> Matrix {
    let n = columns
    var drift = Matrix(zeros: rows, n)
    if let d = evidence.residual, residual != 0 {
      for i in drift.values.indices { drift.values[i] = residual * d.values[i] }
    }
    if let c = evidence.mismatch, mismatch != 0 { drift.add(mismatch, self, times: c) }
    // H⁻¹ = Uᵀ·U in the factor's order.
    let ordered = drift.selectingColumns(factor.order)
    var half = Matrix(zeros: rows, n), whole = Matrix(zeros: rows, n)
    half.add(1, ordered, times: factor.upper.transposed())
    whole.add(1, half, times: factor.upper)
    var out = self
    for (place, column) in factor.order.enumerated() where !factor.dead.contains(column) {
      for i in 0..<rows { out[i, column] += whole[i, place] }
    }
    return out
  }

  /// Adds `alpha · a · b`.
  private mutating func add(_ alpha: Float, _ a: Matrix, times b: Matrix) {
    let rows = rows, columns = columns
    values.withUnsafeMutableBufferPointer { c in
      a.values.withUnsafeBufferPointer { a in
        b.values.withUnsafeBufferPointer { b in
          guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
          BLAS.multiply(
            a, stride: columns, b, stride: columns, into: c, stride: columns, m: rows, n: columns, k: columns,
            alpha: alpha, beta: 1)
        }
      }
    }
  }
}
