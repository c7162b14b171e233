internal import Foundation
internal import LatheEncoding
internal import LatheModel
internal import LatheTensor

/// Random weights of one encoding and width, made as fast as a disk writes them.
///
/// A pool of rows is drawn from a distribution near a Gaussian of standard deviation 0.02 and rounded to the encoding;
/// every row of a weight is one of them, picked by a generator. What is stored has the size, the layout and the
/// statistics of a quantized model; its quality is none, and its matrices have the rank of the pool.
final class RandomWeights {
  /// The standard deviation of the weights, as models of these sizes begin with.
  static let deviation: Float = 0.02
  private static let poolSize = 256
  private let pool: EncodedMatrix

  /// A pool of rows of `columns` weights.
  ///
  /// - Throws: `Problem` where the encoding cannot hold such rows, or rows cannot be made one by one.
  init(_ encoding: any Encoding, columns: Int, seed: UInt64, team: ThreadTeam) throws(Problem) {
    if let layout = encoding.storedLayout, let fill = TernaryFill(layout) {
      pool = try fill.matrix(encoding, rows: Self.poolSize, columns: columns, seed: seed)
      return
    }
    let drawn = Self.draw(columns: columns, seed: seed)
    var made = try Self.encode(drawn, as: encoding, team: team)
    // Few bits widen or narrow what they round: a second round meets the deviation.
    let found = Self.deviation(of: made.decoded())
    if found > 0, abs(found / Self.deviation - 1) > 0.01 {
      var scaled = drawn
      for i in scaled.values.indices { scaled.values[i] *= Self.deviation / found }
      made = try Self.encode(scaled, as: encoding, team: team)
    }
    pool = made
    guard !pool.layouts.contains(where: \.spansRows) else {
      throw Problem(
        .usage, "rows of \(encoding.label) share scales, and cannot be made one by one",
        cure: "choose another encoding")
    }
  }

  /// Part number `index` of a weight of `rows` rows; all parts of one weight take the same `seed`.
  func part(_ index: Int, rows: Int, seed: UInt64) -> Bytes {
    let layout = pool.layouts[index], source = pool.parts[index]
    if layout.isShared { return source }
    let width = source.count / Self.poolSize
    var generator = SeededGenerator(seed: seed)
    return Bytes(count: rows * width) { target in
      guard let out = target.baseAddress else { return }
      for row in 0..<rows {
        let pick = Int(truncatingIfNeeded: generator.next() % UInt64(Self.poolSize))
        (out + row * width).copyMemory(from: source.baseAddress + pick * width, byteCount: width)
      }
    }
  }

  /// The sum of four even draws, which is near a Gaussian.
  private static func draw(columns: Int, seed: UInt64) -> Matrix {
    var generator = SeededGenerator(seed: seed), matrix = Matrix(zeros: poolSize, columns)
    // The variance of a draw from 0 … 65535 is a twelfth of 65536².
    let scale = deviation / (4 / 12 as Float).squareRoot() / 65536
    for i in matrix.values.indices {
      let bits = generator.next()
      let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + bits >> 48
      matrix.values[i] = (Float(sum) - 2 * 65535) * scale
    }
    return matrix
  }

  private static func encode(_ matrix: Matrix, as encoding: any Encoding, team: ThreadTeam) throws(Problem)
    -> EncodedMatrix
  {
    let dense = try EncodedMatrix(matrix)
    if let grid = encoding as? any Grid, let rounding = MethodCatalog["rtn"] {
      return try dense.quantized(byRunsWith: rounding.init(), onto: grid, given: Evidence(), team: team)
        .matrix
    }
    guard let layout = encoding.storedLayout, layout.elementsPerBlock == 1 else {
      throw Problem(.usage, "random weights of \(encoding.label) cannot be made", cure: "choose another type")
    }
    return try EncodedMatrix(
      encoding: encoding, rows: matrix.rows, columns: matrix.columns,
      parts: ["": try dense.numbers(as: layout)])
  }

  private static func deviation(of matrix: Matrix) -> Float {
    let sum = matrix.values.reduce(0) { $0 + Double($1) * Double($1) }
    return Float((sum / Double(matrix.values.count)).squareRoot())
  }
}

/// The blocks of GGUF's ternary types, which no grid writes: random codes, one scale.
private struct TernaryFill {
  private let layout: StoredLayout
  private let scaleAt: Int

  init?(_ layout: StoredLayout) {
    switch layout.name {
    case "TQ1_0": scaleAt = 52
    case "TQ2_0": scaleAt = 64
    default: return nil
    }
    self.layout = layout
  }

  func matrix(_ encoding: any Encoding, rows: Int, columns: Int, seed: UInt64) throws(Problem)
    -> EncodedMatrix
  {
    let part = try encoding.parts(rows: rows, columns: columns)[0]
    // Three values evenly drawn have a variance of two thirds.
    let scale = HalfPrecision.bits(RandomWeights.deviation / (2 / 3 as Float).squareRoot())
    var generator = SeededGenerator(seed: seed)
    let blocks = Bytes(count: part.byteCount) { target in
      for start in stride(from: 0, to: target.count, by: layout.bytesPerBlock) {
        for i in 0..<scaleAt { target[start + i] = code(&generator) }
        target.storeBytes(of: scale.littleEndian, toByteOffset: start + scaleAt, as: UInt16.self)
      }
    }
    return try EncodedMatrix(encoding: encoding, rows: rows, columns: columns, parts: [part.name: blocks])
  }

  /// Any byte is five digits of base 3 under TQ1_0; TQ2_0 has four digits of two bits, none of them 3.
  private func code(_ generator: inout SeededGenerator) -> UInt8 {
    let bits = generator.next()
    guard scaleAt == 64 else { return UInt8(truncatingIfNeeded: bits) }
    var byte: UInt8 = 0
    for k in 0..<4 { byte |= UInt8((bits >> (16 * k) & 0xFFFF) % 3) << (2 * k) }
    return byte
  }
}
