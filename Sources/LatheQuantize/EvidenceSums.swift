internal import LatheTensor

/// Sums `x · xᵀ` over the vectors it is shown.
final class SecondMomentSum {
  private(set) var count = 0
  private let width: Int
  private let sum: FloatBuffer
  private let team: ThreadTeam

  init(width: Int, team: ThreadTeam) {
    (self.width, self.team) = (width, team)
    sum = FloatBuffer(width * width)
  }

  func add(_ x: UnsafePointer<Float>, _ rows: Int) {
    count += rows
    // The lower triangle, a panel of rows at a time: panel r reaches to column r's end only.
    let panel = max(16, min(256, (width / team.count + 15) / 16 * 16))
    let panels = (width + panel - 1) / panel
    team.run(panels) { piece in
      let first = (panels - 1 - piece) * panel, end = min(first + panel, width)
      BLAS.multiplyTransposing(
        x + first, stride: width, x, stride: width, into: sum.pointer + first * width, stride: width,
        m: end - first,
        n: end, k: rows, beta: 1)
    }
  }

  func mean() -> Matrix {
    var mean = Matrix(zeros: width, width)
    let scale = 1 / Float(max(count, 1))
    for i in 0..<width {
      for j in 0...i {
        let value = sum.pointer[i * width + j] * scale
        mean[i, j] = value
        mean[j, i] = value
      }
    }
    return mean
  }
}

/// Sums `(ã - a) · xᵀ` over pairs of vectors and the vector they stand beside.
final class CrossSum {
  private let height: Int
  private let width: Int
  private let sum: FloatBuffer
  private let team: ThreadTeam
  private var count = 0

  init(height: Int, width: Int, team: ThreadTeam) {
    (self.height, self.width, self.team) = (height, width, team)
    sum = FloatBuffer(height * width)
  }

  /// Takes in `rows` vectors each, row after row.
  func add(
    _ original: UnsafePointer<Float>, minus close: UnsafePointer<Float>, by x: UnsafePointer<Float>,
    _ rows: Int
  ) {
    count += rows
    let difference = FloatBuffer(rows * height)
    for i in 0..<difference.count { difference.pointer[i] = original[i] - close[i] }
    let panel = max(16, (height / team.count + 15) / 16 * 16)
    team.run((height + panel - 1) / panel) { piece in
      let first = piece * panel, m = min(panel, height - first)
      BLAS.multiplyTransposing(
        difference.pointer + first, stride: height, x, stride: width, into: sum.pointer + first * width,
        stride: width, m: m, n: width, k: rows, beta: 1)
    }
  }

  func mean() -> Matrix {
    let scale = 1 / Float(max(count, 1))
    return Matrix(rows: height, columns: width, values: sum.array.map { $0 * scale })
  }
}

/// Sums `x²` over the vectors it is shown.
struct ChannelEnergySum {
  private var count = 0
  private var sums: [Double]

  init(width: Int) { sums = [Double](repeating: 0, count: width) }

  mutating func add(_ x: UnsafePointer<Float>, _ rows: Int) {
    count += rows
    let width = sums.count
    sums.withUnsafeMutableBufferPointer { sums in
      for r in 0..<rows { for j in 0..<width { sums[j] += Double(x[r * width + j] * x[r * width + j]) } }
    }
  }

  var mean: [Float] { sums.map { Float($0 / Double(max(count, 1))) } }
}

/// The mean and the largest magnitude of each channel of the vectors it is shown.
struct MagnitudeSums {
  private var count = 0
  private var sums: [Double]
  private(set) var maximum: [Float]

  init(width: Int) {
    sums = [Double](repeating: 0, count: width)
    maximum = [Float](repeating: 0, count: width)
  }

  mutating func add(_ x: UnsafePointer<Float>, _ rows: Int) {
    count += rows
    let width = sums.count
    for t in 0..<rows {
      for j in 0..<width {
        let magnitude = abs(x[t * width + j])
        sums[j] += Double(magnitude)
        maximum[j] = max(maximum[j], magnitude)
      }
    }
  }

  var mean: [Float] { sums.map { Float($0 / Double(max(count, 1))) } }
}
