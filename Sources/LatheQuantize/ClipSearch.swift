import LatheEncoding
import LatheTensor

extension Grid {
  /// The parameters of every group of a weight, given with one of its columns in each row.
  ///
  /// - Parameters:
  ///   - searching: whether ranges are shrunk to where the weighted squared error is least.
  ///   - importance: the weight of each column's error; all alike if nil.
  func fitGroups(of columns: Matrix, searching: Bool, importance: [Float]? = nil) -> [Parameters] {
    let size = groupSize ?? columns.rows
    return stride(from: 0, to: columns.rows, by: size).map { start in
      let end = min(start + size, columns.rows)
      return fitGroup(
        columns.rows(start..<end), searching: searching, importance: importance.map { Array($0[start..<end]) }
      )
    }
  }

  /// The parameters of one group; `columns` holds one of its columns in each row.
  func fitGroup(_ columns: Matrix, searching: Bool, importance: [Float]? = nil) -> Parameters {
    var best = fit(columns, shrink: 1, importance: importance)
    guard searching else { return best }
    var least = error(of: columns, under: best, importance: importance)
    // GPTQ's own search: ranges of 100 % of the widest down to 20 % in steps of 1 %.
    for step in (widestShrink == 1 ? 1 : 0)..<80 {
      let shrink = widestShrink * (1 - Float(step) / 100)
      let candidate = fit(columns, shrink: shrink, importance: importance)
      let errors = error(of: columns, under: candidate, importance: importance)
      var better = [Bool](repeating: false, count: errors.count)
      for i in errors.indices where errors[i] < least[i] {
        better[i] = true
        least[i] = errors[i]
      }
      best.adopt(candidate, where: better)
    }
    return best
  }

  /// The squared error of each row when `columns` are rounded under `parameters`.
  private func error(of columns: Matrix, under parameters: Parameters, importance: [Float]?) -> [Float] {
    let rows = columns.columns
    var sums = [Float](repeating: 0, count: rows)
    var codes = [UInt8](repeating: 0, count: rows)
    var points = [Float](repeating: 0, count: rows)
    for j in 0..<columns.rows {
      let weight = importance?[j] ?? 1
      columns.values.withUnsafeBufferPointer { values in
        points.withUnsafeMutableBufferPointer { points in
          codes.withUnsafeMutableBufferPointer { codes in
            sums.withUnsafeMutableBufferPointer { sums in
              guard let w = values.baseAddress.map({ $0 + j * rows }), let codes = codes.baseAddress,
                let points = points.baseAddress
              else { return }
              round(w, at: j, count: rows, under: parameters, codes: codes, points: points)
              for i in 0..<rows {
                let difference = w[i] - points[i]
                sums[i] += weight * difference * difference
              }
            }
          }
        }
      }
    }
    return sums
  }
}

extension Grid {
  /// The rows a thread takes of a weight: whole multiples of what the grid can stack.
  func slice(rows: Int, columns: Int, threads: Int) -> Int {
    let multiple = max(16, rowMultiple(columns: columns))
    return ((rows + threads - 1) / threads + multiple - 1) / multiple * multiple
  }

  /// The points nearest to a weight, and their codes column after column.
  ///
  /// - Parameter columns: the weight with one of its columns in each row; overwritten with the points.
  func roundToNearest(_ columns: inout Matrix, under parameters: [Parameters]) -> [UInt8] {
    let rows = columns.columns
    var codes = [UInt8](repeating: 0, count: columns.values.count)
    var points = [Float](repeating: 0, count: rows)
    codes.withUnsafeMutableBufferPointer { codes in
      columns.values.withUnsafeMutableBufferPointer { values in
        points.withUnsafeMutableBufferPointer { points in
          guard let codes = codes.baseAddress, let values = values.baseAddress,
            let points = points.baseAddress
          else { return }
          for j in 0..<columns.rows {
            let column = values + j * rows
            round(
              column, at: place(of: j), count: rows, under: parameters[group(of: j)], codes: codes + j * rows,
              points: points)
            column.update(from: points, count: rows)
          }
        }
      }
    }
    return codes
  }
}

extension Matrix {
  /// The weight rounded to the nearest points of a grid, its rows split over the threads of `team`.
  func nearest(on grid: some Grid, team: ThreadTeam) -> Matrix {
    let grid = grid.prepared(for: self)
    let slice = grid.slice(rows: rows, columns: columns, threads: team.count)
    let pieces = Slots<[Float]>((rows + slice - 1) / slice)
    team.run(pieces.count) { piece in
      var columns = self.rows(piece * slice..<min((piece + 1) * slice, rows)).transposed()
      _ = grid.roundToNearest(&columns, under: grid.fitGroups(of: columns, searching: false))
      pieces[piece] = columns.transposed().values
    }
    return Matrix(rows: rows, columns: columns, values: pieces.values.flatMap { $0 })
  }

  /// A run of rows, copied.
  func rows(_ range: Range<Int>) -> Matrix {
    Matrix(
      rows: range.count, columns: columns,
      values: Array(values[range.lowerBound * columns..<range.upperBound * columns]))
  }
}
