public import LatheEncoding
public import LatheTensor

/// Makes every weight binary: salient columns twice over, the others in two groups.
///
/// Paper: arXiv:2402.04291. In each block of columns the columns with the largest `Σ w² / U_jj²` are salient, their number
/// (at most `searched`) chosen for the least error (section 3.1): they become `μ ± α`, and what remains `μ' ± α'`. The
/// others are split by magnitude at the percentile, of 10 to 90, where the error is least (section 3.2), each part `μ ± α`
/// of its row. Errors count by `1 / U_jj²`, and later blocks make up for them. The paper counts 1.06 to 1.1 bits; stored
/// are near 3.
///
/// `refits` alternates between parameters and signs as ARB-LLM does (arXiv:2410.03129, section 3.1).
public struct BiLLM: QuantizationMethod {
  public static let card = MethodCard(
    name: "billm", title: "BiLLM", paper: "arXiv:2402.04291",
    summary: "All weights binary, salient columns twice; about three real bits.",
    options: [
      "blockSize": "columns that share parameters in a row (default 128)",
      "searched": "salient columns tried in each block (default 50)",
      "damping": "share of the mean diagonal added to the second moment (default 0.01)",
      "refits": "alternating refits of the binary parameters (default 0)",
    ])

  /// The columns that share parameters in a row.
  public var blockSize = 128
  /// The most salient columns tried in each block.
  public var searched = 50
  /// The share of the diagonal's mean that is added to the second moment.
  public var damping: Float = 0.01
  /// Alternating refits of means and scales.
  public var refits = 0

  /// The authors' settings.
  public init() {}

  public var evidence: EvidenceKinds { [.secondMoment] }
  // Salient columns and the split are the same for all rows.
  public var splitsRows: Bool { false }
  public static var bringsEncoding: Bool { true }

  public func storage(of grid: some Grid) -> any Encoding {
    (try? BinaryPlanes(blockSize: blockSize)) ?? grid
  }

  public func prepare(_ evidence: Evidence, threads: Int) throws(Problem) {
    _ = try evidence.inverseFactor(damping: damping, descending: false, threads: threads)
  }

  public func quantize(_ weight: Matrix, onto grid: some Grid, given evidence: Evidence) throws(Problem)
    -> EncodedMatrix
  {
    let encoding = try BinaryPlanes(blockSize: blockSize)
    let factor = try evidence.inverseFactor(damping: damping, descending: false)
    let m = weight.rows, n = weight.columns, blocks = (n - 1) / blockSize + 1
    var isSalient = [Bool](repeating: false, count: n)
    var signs = [UInt8](repeating: 0, count: m * n), second = signs
    var levels = [Float](repeating: 0, count: m * blocks * BinaryPlanes.levelCount)
    var sweep = Sweep(weight, factor: factor)
    sweep.run(step: blockSize, group: blockSize) { places, columns, points in
      let block = BinaryBlock(
        columns.rows(places), errorWeights: places.map { 1 / (factor.upper[$0, $0] * factor.upper[$0, $0]) })
      let chosen = block.choose(searched: searched, refits: refits)
      for (k, place) in places.enumerated() {
        isSalient[place] = chosen.isSalient[k]
        for i in 0..<m {
          signs[i * n + place] = chosen.codes[k * m + i] & 1
          second[i * n + place] = chosen.codes[k * m + i] >> 1
          points[k * m + i] = chosen.points[k * m + i]
        }
      }
      let b = places.lowerBound / blockSize
      for i in 0..<m {
        for k in 0..<BinaryPlanes.levelCount {
          levels[(i * blocks + b) * BinaryPlanes.levelCount + k] = chosen.levels[k][i]
        }
      }
    }
    return try encoding.pack(
      isSalient: isSalient, signs: signs, second: second, levels: levels, rows: m, columns: n)
  }
}

/// A block of columns on its way to signs.
private struct BinaryBlock {
  private let columns: Matrix
  private let errorWeights: [Float]
  private var m: Int { columns.columns }

  init(_ columns: Matrix, errorWeights: [Float]) {
    (self.columns, self.errorWeights) = (columns, errorWeights)
  }

  struct Choice {
    var isSalient: [Bool]
    /// Sign and second bit, column after column.
    var codes: [UInt8]
    var points: [Float]
    /// Two means with their scales, the salient mean and its two scales: one value for each row.
    var levels: [[Float]]
  }

  func choose(searched: Int, refits: Int) -> Choice {
    let salient = searchColumns(searched)
    let others = columns.indices.filter { !salient.contains($0) }
    var choice = Choice(
      isSalient: columns.indices.map { salient.contains($0) },
      codes: [UInt8](repeating: 0, count: columns.values.count),
      points: [Float](repeating: 0, count: columns.values.count), levels: [])
    let threshold = searchSplit(others)
    for group in 0..<2 {
      let members = Members(columns, others) { (abs($0) >= threshold) == (group == 1) }
      let fit = members.binarize(refits: refits)
      choice.levels += [fit.mean, fit.scale]
      members.visit { k, i, value in
        let positive = value >= fit.mean[i]
        choice.codes[k * m + i] = UInt8(group << 1) | (positive ? 1 : 0)
        choice.points[k * m + i] = positive ? fit.mean[i] + fit.scale[i] : fit.mean[i] - fit.scale[i]
      }
    }
    twice(salient.sorted(), refits: refits, &choice)
    return choice
  }

  /// Salient columns: signs of the values, then signs of what remains.
  private func twice(_ salient: [Int], refits: Int, _ choice: inout Choice) {
    let members = Members(columns, salient) { _ in true }
    let first = members.binarize(refits: refits)
    var rest = columns
    members.visit { k, i, value in
      let positive = value >= first.mean[i]
      choice.codes[k * m + i] = positive ? 1 : 0
      rest[k, i] = value - (positive ? first.mean[i] + first.scale[i] : first.mean[i] - first.scale[i])
    }
    let remaining = Members(rest, salient) { _ in true }
    let then = remaining.binarize(refits: refits)
    let mean = zip(first.mean, then.mean).map { half($0 + $1) }
    choice.levels += [mean, first.scale, then.scale]
    remaining.visit { k, i, value in
      let positive = value >= then.mean[i]
      if positive { choice.codes[k * m + i] |= 2 }
      let a = choice.codes[k * m + i] & 1 == 1 ? first.scale[i] : -first.scale[i]
      choice.points[k * m + i] = mean[i] + a + (positive ? then.scale[i] : -then.scale[i])
    }
  }

  /// The columns whose double binarization lowers the error most.
  private func searchColumns(_ searched: Int) -> Set<Int> {
    let scores = columns.indices.map { k in
      (0..<m).reduce(Float(0)) { $0 + columns[k, $1] * columns[k, $1] } * errorWeights[k]
    }
    let order = columns.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }
    var best: (error: Double, count: Int) = (.infinity, 0)
    for count in 1..<max(2, min(searched, columns.rows)) {
      // The rest is doubled too, as the authors do: the split that will serve it is worth about as much.
      let error = doubleError(Array(order[..<count])) + doubleError(Array(order[count...]))
      if error < best.error { best = (error, count) }
    }
    return Set(order.prefix(best.count))
  }

  private func doubleError(_ members: [Int]) -> Double {
    let first = Members(columns, members) { _ in true }
    let fit = first.binarize(refits: 0)
    var rest = columns
    first.visit { k, i, value in
      rest[k, i] = value - (value >= fit.mean[i] ? fit.mean[i] + fit.scale[i] : fit.mean[i] - fit.scale[i])
    }
    return Members(rest, members) { _ in true }.error(errorWeights)
  }

  /// The magnitude at which the other columns are split.
  private func searchSplit(_ members: [Int]) -> Float {
    var magnitudes = members.flatMap { k in (0..<m).map { abs(columns[k, $0]) } }
    magnitudes.sort()
    guard let largest = magnitudes.last else { return 0 }
    var best: (error: Double, threshold: Float) = (.infinity, largest)
    for percent in 10...90 {
      let threshold = magnitudes[(magnitudes.count - 1) * percent / 100]
      let error =
        Members(columns, members) { abs($0) < threshold }.error(errorWeights)
        + Members(columns, members) { abs($0) >= threshold }.error(errorWeights)
      if error < best.error { best = (error, threshold) }
    }
    return best.threshold
  }
}

/// Some of a block's weights, each row's by itself.
private struct Members {
  private let columns: Matrix
  private let chosen: [Int]
  private let belongs: (Float) -> Bool

  init(_ columns: Matrix, _ chosen: [Int], belongs: @escaping (Float) -> Bool) {
    (self.columns, self.chosen, self.belongs) = (columns, chosen, belongs)
  }

  func visit(_ body: (Int, Int, Float) -> Void) {
    let m = columns.columns
    columns.values.withUnsafeBufferPointer { values in
      for k in chosen {
        for i in 0..<m where belongs(values[k * m + i]) { body(k, i, values[k * m + i]) }
      }
    }
  }

  /// Each row's mean and mean distance from it, then `refits` rounds of signs and least squares.
  func binarize(refits: Int) -> (mean: [Float], scale: [Float]) {
    let m = columns.columns
    var count = [Float](repeating: 0, count: m), mean = count, scale = count
    visit { _, i, value in
      count[i] += 1
      mean[i] += value
    }
    for i in 0..<m { mean[i] /= max(count[i], 1) }
    visit { _, i, value in scale[i] += abs(value - mean[i]) }
    for i in 0..<m { scale[i] /= max(count[i], 1) }
    for _ in 0..<refits {
      var sums = [Float](repeating: 0, count: 2 * m), upper = [Float](repeating: 0, count: m)
      visit { _, i, value in
        let positive = value >= mean[i]
        sums[positive ? m + i : i] += value
        if positive { upper[i] += 1 }
      }
      for i in 0..<m where upper[i] > 0 && upper[i] < count[i] {
        let low = sums[i] / (count[i] - upper[i]), high = sums[m + i] / upper[i]
        (mean[i], scale[i]) = ((low + high) / 2, (high - low) / 2)
      }
    }
    for i in 0..<m {
      (mean[i], scale[i]) = (half(mean[i]), half(scale[i]))
    }
    return (mean, scale)
  }

  /// The weighted squared error of binarizing them once.
  func error(_ weights: [Float]) -> Double {
    let fit = binarize(refits: 0)
    var sum = 0.0
    visit { k, i, value in
      let distance = abs(value - fit.mean[i]) - fit.scale[i]
      sum += Double(weights[k] * distance * distance)
    }
    return sum
  }
}

extension Matrix {
  fileprivate var indices: Range<Int> { 0..<rows }
}
