/// A dense row-major matrix of single-precision numbers.
///
/// A weight has one row for each output and one column for each input.
public struct Matrix: Sendable, Equatable {
  /// The number of rows.
  public let rows: Int
  /// The number of columns.
  public let columns: Int
  /// The elements, row after row.
  public var values: [Float]

  /// A matrix of the given elements.
  ///
  /// - Precondition: `values.count == rows * columns`.
  public init(rows: Int, columns: Int, values: [Float]) {
    precondition(values.count == rows * columns, "as many values as places")
    (self.rows, self.columns, self.values) = (rows, columns, values)
  }

  /// A matrix of zeros.
  public init(zeros rows: Int, _ columns: Int) {
    self.init(rows: rows, columns: columns, values: [Float](repeating: 0, count: rows * columns))
  }

  /// The element in row `i` and column `j`.
  public subscript(i: Int, j: Int) -> Float {
    get { values[i * columns + j] }
    set { values[i * columns + j] = newValue }
  }

  /// The matrix with rows and columns exchanged.
  public func transposed() -> Matrix {
    var out = [Float](repeating: 0, count: values.count)
    let tile = 32
    values.withUnsafeBufferPointer { from in
      out.withUnsafeMutableBufferPointer { to in
        for i0 in stride(from: 0, to: rows, by: tile) {
          for j0 in stride(from: 0, to: columns, by: tile) {
            for i in i0..<min(i0 + tile, rows) {
              for j in j0..<min(j0 + tile, columns) { to[j * rows + i] = from[i * columns + j] }
            }
          }
        }
      }
    }
    return Matrix(rows: columns, columns: rows, values: out)
  }

  /// The columns in the order `order` names them: column j of the result is column `order[j]` of this matrix.
  public func selectingColumns(_ order: [Int]) -> Matrix {
    var out = Matrix(zeros: rows, order.count)
    for i in 0..<rows { for (j, source) in order.enumerated() { out[i, j] = self[i, source] } }
    return out
  }

  /// Rows and columns both in the order `order` names them, for symmetric matrices.
  public func permuted(by order: [Int]) -> Matrix {
    var out = Matrix(zeros: order.count, order.count)
    for (i, a) in order.enumerated() { for (j, b) in order.enumerated() { out[i, j] = self[a, b] } }
    return out
  }

  /// The upper triangular `U` with `A⁻¹ = Uᵀ · U` for this symmetric matrix `A`, in double precision inside.
  ///
  /// - Returns: nil where the matrix is not positive definite.
  public func inverseCholesky(threads: Int = 1) -> Matrix? {
    precondition(rows == columns, "a square matrix")
    let n = rows
    // With P the reversal of order, P·A·P = L·Lᵀ gives A⁻¹ = (P·L⁻ᵀ·P)·(P·L⁻¹·P), whose right factor is upper
    // triangular: one factorization and one triangular inverse, A⁻¹ itself never formed.
    var work = [Double](unsafeUninitializedCapacity: n * n) { buffer, count in
      for i in 0..<n * n { buffer[i] = Double(values[n * n - 1 - i]) }
      count = n * n
    }
    let done = BLAS.withThreads(threads) { BLAS.choleskyLower(&work, n: n) && BLAS.invertLower(&work, n: n) }
    guard done else { return nil }
    var out = Matrix(zeros: n, n)
    for i in 0..<n {
      for j in i..<n {
        let value = Float(work[(n - 1 - i) * n + (n - 1 - j)])
        guard value.isFinite else { return nil }
        out[i, j] = value
      }
    }
    return out
  }
}

/// Scratch memory of single-precision numbers, aligned to 64 bytes, owned by one user at a time.
package final class FloatBuffer: @unchecked Sendable {
  // Whoever shares it splits it into parts of their own.
  private let memory: AlignedMemory
  package let count: Int

  package init(_ count: Int) {
    memory = AlignedMemory(count * MemoryLayout<Float>.stride)
    self.count = count
  }

  package convenience init(copying values: [Float]) {
    self.init(values.count)
    for (i, value) in values.enumerated() { pointer[i] = value }
  }

  package var pointer: UnsafeMutablePointer<Float> { memory.base.assumingMemoryBound(to: Float.self) }

  package var array: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}
