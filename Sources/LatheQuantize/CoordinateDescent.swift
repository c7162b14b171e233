internal import LatheTensor

/// Improves chosen points column by column until the sweep's order no longer matters.
///
/// With all other columns fixed, the output error `tr((Ŵ - W)·H·(Ŵ - W)ᵀ)` is least where column j is
/// `ŵ_j - ((Ŵ - W)·H)_j / H_jj`; it is rounded to that. The error never grows. (QuIP's greedy passes,
/// arXiv:2307.13304, algorithm 4; also arXiv:2505.07004, appendix.)
struct CoordinateDescent {
  private let moment: Matrix
  private let rows: Int
  /// `H · (Ŵ - W)` with one of the weight's columns in each row.
  private var gradient: Matrix
  private(set) var points: Matrix

  /// - Parameters:
  ///   - points: the points chosen, one of the weight's columns in each row.
  ///   - target: the weight, likewise.
  ///   - moment: the damped second moment in the same order of columns.
  init(points: Matrix, target: Matrix, moment: Matrix) {
    (self.points, self.moment) = (points, moment)
    let n = points.rows, rows = points.columns
    self.rows = rows
    var difference = points
    for i in difference.values.indices { difference.values[i] -= target.values[i] }
    var gradient = Matrix(zeros: n, rows)
    gradient.values.withUnsafeMutableBufferPointer { out in
      moment.values.withUnsafeBufferPointer { h in
        difference.values.withUnsafeBufferPointer { d in
          guard let out = out.baseAddress, let h = h.baseAddress, let d = d.baseAddress else { return }
          BLAS.multiply(h, stride: n, d, stride: rows, into: out, stride: rows, m: n, n: rows, k: n)
        }
      }
    }
    self.gradient = gradient
  }

  /// One pass over all columns.
  ///
  /// - Parameter round: rounds the column at a place: what is wanted, and where the point goes.
  mutating func pass(_ round: (Int, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void) {
    let n = points.rows, rows = rows, block = 64
    let wanted = FloatBuffer(rows), chosen = FloatBuffer(rows)
    let changes = FloatBuffer(block * rows)
    for first in stride(from: 0, to: n, by: block) {
      let end = min(first + block, n)
      points.values.withUnsafeMutableBufferPointer { points in
        gradient.values.withUnsafeMutableBufferPointer { gradient in
          moment.values.withUnsafeBufferPointer { h in
            guard let points = points.baseAddress, let gradient = gradient.baseAddress, let h = h.baseAddress
            else { return }
            for j in first..<end {
              let p = points + j * rows, g = gradient + j * rows
              let scale = 1 / h[j * n + j]
              for i in 0..<rows { wanted.pointer[i] = p[i] - g[i] * scale }
              round(j, wanted.pointer, chosen.pointer)
              let change = changes.pointer + (j - first) * rows
              for i in 0..<rows {
                change[i] = chosen.pointer[i] - p[i]
                p[i] = chosen.pointer[i]
              }
              // The block's own columns feel it at once, those outside after the block.
              BLAS.addOuterProduct(
                h + j * n + first, change, alpha: 1, to: gradient + first * rows, stride: rows,
                m: end - first,
                n: rows)
            }
            for (start, stop) in [(0, first), (end, n)] where start < stop {
              BLAS.multiply(
                h + start * n + first, stride: n, changes.pointer, stride: rows,
                into: gradient + start * rows,
                stride: rows, m: stop - start, n: rows, k: end - first, alpha: 1, beta: 1)
            }
          }
        }
      }
    }
  }
}
