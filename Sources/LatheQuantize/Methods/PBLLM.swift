public import LatheEncoding
public import LatheTensor

/// Keeps the most salient weights at eight bits and makes all others binary, inside the second-order sweep.
///
/// Paper: arXiv:2310.00034, section 3.4 (the variant without training, on GPTQ). In each group of columns the weights with
/// the largest `w² / U_jj²` (or `|w|`), over all rows, are salient: eight bits, evenly spaced over their row's range. The
/// others become `μ ± α` with μ the mean and α the mean distance from it of the row's others in the group.
/// `salientShare` 0.1 is the paper's 1.7 bits, 1/7 its 2 bits; what is really stored is near 3.
///
/// `refits` alternates between parameters and signs as ARB-LLM does (arXiv:2410.03129, section 3.1).
public struct PBLLM: QuantizationMethod {
  public static let card = MethodCard(
    name: "pb-llm", title: "PB-LLM", paper: "arXiv:2310.00034",
    summary: "Salient weights at eight bits, all others binary; about three real bits.",
    options: [
      "salientShare": "the share of weights kept at eight bits (default 0.1; 1/7 for the paper's 2 bits)",
      "salience": "hessian or magnitude (default hessian)",
      "groupSize": "columns that share parameters and a share of salient weights (default 128)",
      "damping": "share of the mean diagonal added to the second moment (default 0.01)",
      "refits": "alternating refits of the binary parameters (default 0)",
    ])

  /// The share of weights kept at eight bits.
  public var salientShare = 0.1
  /// What makes a weight salient: "hessian" or "magnitude".
  public var salience = "hessian"
  /// The columns that share parameters.
  public var groupSize = 128
  /// The share of the diagonal's mean that is added to the second moment.
  public var damping: Float = 0.01
  /// Alternating refits of means and scales.
  public var refits = 0

  /// The paper's 1.7 bits.
  public init() {}

  public var evidence: EvidenceKinds { [.secondMoment] }
  // A threshold is one for all rows of a group.
  public var splitsRows: Bool { false }
  public static var bringsEncoding: Bool { true }

  public func storage(of grid: some Grid) -> any Encoding {
    (try? PartlyBinary(groupSize: groupSize, salientShare: salientShare)) ?? grid
  }

  public func prepare(_ evidence: Evidence, threads: Int) throws(Problem) {
    guard ["hessian", "magnitude"].contains(salience) else {
      throw Problem(.usage, "pb-llm knows no salience \"\(salience)\"", cure: "set hessian or magnitude")
    }
    _ = try evidence.inverseFactor(damping: damping, descending: false, threads: threads)
  }

  public func quantize(_ weight: Matrix, onto grid: some Grid, given evidence: Evidence) throws(Problem)
    -> EncodedMatrix
  {
    let encoding = try PartlyBinary(groupSize: groupSize, salientShare: salientShare)
    let factor = try evidence.inverseFactor(damping: damping, descending: false)
    let m = weight.rows, n = weight.columns, groups = (n - 1) / groupSize + 1
    var content = PartlyBinary.Content(rows: m, columns: n, groups: groups)
    fitSalient(weight, &content)
    var sweep = Sweep(weight, factor: factor)
    sweep.run(group: groupSize) { places, columns, points in
      let place = places.lowerBound, group = place / groupSize
      if place % groupSize == 0 {
        let members = place..<min(place + groupSize, n)
        choose(members, columns, factor, encoding.salientCount(rows: m, columns: members.count), &content)
        fit(members, columns, group, groups, &content)
      }
      for i in 0..<m {
        let at = i * n + place, value = columns[place, i]
        if content.isSalient[at] {
          let zero = Float(content.salientZeros[i]), scale = content.salientScales[i]
          let code = min(max((value / scale).rounded(.toNearestOrEven) + zero, 0), 255)
          // What is no number gets the lowest code.
          content.codes[at] = code >= 0 ? UInt8(code) : 0
          points[i] = (code - zero) * scale
        } else {
          let mean = content.means[i * groups + group], scale = content.scales[i * groups + group]
          content.codes[at] = value >= mean ? 1 : 0
          points[i] = value >= mean ? mean + scale : mean - scale
        }
      }
    }
    return try encoding.pack(content, rows: m, columns: n)
  }

  /// Eight evenly spaced bits over each row's range.
  private func fitSalient(_ weight: Matrix, _ content: inout PartlyBinary.Content) {
    for i in 0..<weight.rows {
      var low: Float = 0, high: Float = 0
      for j in 0..<weight.columns {
        low = min(low, weight[i, j])
        high = max(high, weight[i, j])
      }
      let scale = half(max((high - low) / 255, 0x1p-20))
      let zero = (-low / scale).rounded()
      content.salientScales[i] = scale
      content.salientZeros[i] = zero >= 0 ? UInt8(min(zero, 255)) : 0
    }
  }

  /// Marks the `count` most salient weights of a group.
  private func choose(
    _ members: Range<Int>, _ columns: Matrix, _ factor: InverseFactor, _ count: Int,
    _ content: inout PartlyBinary.Content
  ) {
    let m = columns.columns, n = columns.rows
    var scores: [(score: Float, at: Int)] = []
    scores.reserveCapacity(m * members.count)
    for j in members {
      let weight = salience == "hessian" ? 1 / (factor.upper[j, j] * factor.upper[j, j]) : 1
      for i in 0..<m { scores.append((columns[j, i] * columns[j, i] * weight, i * n + j)) }
    }
    scores.sort { $0.score != $1.score ? $0.score > $1.score : $0.at < $1.at }
    for chosen in scores.prefix(count) { content.isSalient[chosen.at] = true }
  }

  /// The mean and scale of each row's other weights in a group.
  private func fit(
    _ members: Range<Int>, _ columns: Matrix, _ group: Int, _ groups: Int,
    _ content: inout PartlyBinary.Content
  ) {
    let n = columns.rows
    for i in 0..<columns.columns {
      let values = members.filter { !content.isSalient[i * n + $0] }.map { columns[$0, i] }
      let pair = BinaryPair(fitting: values, refits: refits)
      content.means[i * groups + group] = pair.mean
      content.scales[i * groups + group] = pair.scale
    }
  }
}

/// Two values that stand for many: mean ± scale.
struct BinaryPair {
  private(set) var mean: Float = 0
  private(set) var scale: Float = 0

  /// The mean of `values` and their mean distance from it, then `refits` rounds of signs and least squares; both as
  /// binary16 holds them.
  init(fitting values: [Float], refits: Int) {
    guard !values.isEmpty else { return }
    let count = Float(values.count)
    mean = values.reduce(0, +) / count
    scale = values.reduce(0) { $0 + abs($1 - mean) } / count
    for _ in 0..<refits {
      // With signs fixed, the least squares of both parameters at once: the means of the two halves.
      var sums: (Float, Float) = (0, 0), upper: Float = 0
      for value in values {
        if value >= mean {
          sums.1 += value
          upper += 1
        } else {
          sums.0 += value
        }
      }
      guard upper > 0, upper < count else { break }
      let low = sums.0 / (count - upper), high = sums.1 / upper
      (mean, scale) = ((low + high) / 2, (high - low) / 2)
    }
    (mean, scale) = (half(mean), half(scale))
  }
}

/// A number as binary16 holds it, never infinite.
func half(_ value: Float) -> Float {
  HalfPrecision.value(HalfPrecision.bits(min(max(value, -HalfPrecision.largest), HalfPrecision.largest)))
}
