public import LatheTensor

/// A weight matrix as stored: a few named runs of bytes under one encoding, executed from there.
public struct EncodedMatrix: Sendable {
  /// What the bytes mean.
  public let encoding: any Encoding
  /// The number of outputs.
  public let rows: Int
  /// The number of inputs.
  public let columns: Int
  /// The parts' layouts, in the encoding's order.
  public let layouts: [PartLayout]
  /// The parts' bytes, in the same order.
  public let parts: [Bytes]

  /// A matrix over `parts`, by name.
  ///
  /// - Throws: `Problem` where a part is missing, of the wrong size, or holds what no kernel may meet.
  public init(encoding: any Encoding, rows: Int, columns: Int, parts: [String: Bytes]) throws(Problem) {
    // No product of rows, columns and a number's width may overflow.
    guard rows > 0, columns > 0, rows < 1 << 31, columns < 1 << 31, rows <= (1 << 48) / columns else {
      throw Problem(.badData, "a weight of \(rows) × \(columns) is out of range")
    }
    let layouts = try encoding.parts(rows: rows, columns: columns)
    var found: [Bytes] = []
    for layout in layouts {
      guard let bytes = parts[layout.name] else {
        throw Problem(.badData, "part \"\(layout.name)\" of encoding \(encoding.label) is missing")
      }
      guard bytes.count == layout.byteCount else {
        throw Problem(
          .badData,
          "part \"\(layout.name)\" of encoding \(encoding.label) has \(bytes.count) bytes where a \(rows) × \(columns)"
            + " matrix needs \(layout.byteCount)")
      }
      found.append(bytes)
    }
    self.init(encoding: encoding, rows: rows, columns: columns, layouts: layouts, parts: found)
    try encoding.validate(self)
  }

  private init(encoding: any Encoding, rows: Int, columns: Int, layouts: [PartLayout], parts: [Bytes]) {
    (self.encoding, self.rows, self.columns) = (encoding, rows, columns)
    (self.layouts, self.parts) = (layouts, parts)
  }

  /// A dense matrix of `matrix`'s values in single precision.
  public init(_ matrix: Matrix) throws(Problem) {
    try self.init(
      encoding: StoredBlocks.float32, rows: matrix.rows, columns: matrix.columns,
      parts: ["": Bytes(elements: matrix.values)])
  }

  /// Matrices of one encoding and width, one above the other.
  ///
  /// - Throws: `Problem` of kind `internal` where they do not fit.
  public init(stacking matrices: [EncodedMatrix]) throws(Problem) {
    guard let first = matrices.first else { throw Problem(.internal, "no matrices to stack") }
    if matrices.count == 1 {
      self = first
      return
    }
    guard
      matrices.allSatisfy({
        $0.layouts.map(\.name) == first.layouts.map(\.name) && $0.columns == first.columns
      })
    else { throw Problem(.internal, "matrices of different encodings cannot be stacked") }
    var joined: [String: Bytes] = [:]
    for (index, layout) in first.layouts.enumerated() {
      let parts = layout.isShared ? [first.parts[index]] : matrices.map { $0.parts[index] }
      joined[layout.name] = Bytes(joining: parts)
    }
    try self.init(
      encoding: first.encoding, rows: matrices.reduce(0) { $0 + $1.rows }, columns: first.columns,
      parts: joined)
  }

  /// The part called `name`.
  public subscript(part name: String) -> Bytes? {
    layouts.firstIndex { $0.name == name }.map { parts[$0] }
  }

  /// The bytes of all parts: scales, zero points, indices and all.
  public var byteCount: Int { parts.reduce(0) { $0 + $1.count } }

  /// The number of weights.
  public var count: Int { rows * columns }

  /// The bits one weight costs, everything counted.
  public var bitsPerWeight: Double { Double(byteCount) * 8 / Double(count) }

  /// The matrix in single precision.
  public func decoded(with kernels: Kernels = .best) -> Matrix {
    var out = Matrix(zeros: rows, columns)
    out.values.withUnsafeMutableBufferPointer { buffer in
      if let base = buffer.baseAddress { encoding.decode(self, rows: 0..<rows, into: base, with: kernels) }
    }
    return out
  }

  /// The numbers as plain floats of a layout: F32, F16 or BF16.
  ///
  /// - Throws: `Problem` of kind `usage` where the layout is another, or F16 cannot hold a number.
  public func numbers(as layout: StoredLayout, with kernels: Kernels = .best) throws(Problem) -> Bytes {
    if encoding.storedLayout == layout { return parts[0] }
    let values = decoded(with: kernels).values
    switch layout.name {
    case "F32": return Bytes(elements: values)
    case "BF16": return Bytes(elements: values.map(HalfPrecision.brainBits))
    case "F16":
      if let large = values.first(where: { abs($0) > HalfPrecision.largest }) {
        throw Problem(.usage, "F16 cannot hold the weight \(large)", cure: "choose 32 bits")
      }
      return Bytes(elements: values.map(HalfPrecision.bits))
    default:
      throw Problem(.usage, "numbers cannot be written as \(layout.name)", cure: "choose F32, F16 or BF16")
    }
  }

  /// The matrix as plain floats of a layout.
  ///
  /// - Throws: `Problem` of kind `usage` where `numbers(as:)` does.
  public func stored(as layout: StoredLayout) throws(Problem) -> EncodedMatrix {
    try EncodedMatrix(
      encoding: StoredBlocks(layout), rows: rows, columns: columns, parts: ["": try numbers(as: layout)])
  }

  /// The rows in `range`, where they lie: nothing is copied.
  ///
  /// - Throws: `Problem` of kind `badData` where there are no such rows, or rows share scales.
  public func rows(_ range: Range<Int>) throws(Problem) -> EncodedMatrix {
    guard range.lowerBound >= 0, range.upperBound <= rows, !layouts.contains(where: \.spansRows) else {
      throw Problem(.badData, "rows \(range) of \(rows) cannot be taken out of \(encoding.label)")
    }
    var chosen: [String: Bytes] = [:]
    for (layout, part) in zip(layouts, parts) {
      let width = part.count / rows
      chosen[layout.name] =
        layout.isShared ? part : part[range.lowerBound * width..<range.upperBound * width]
    }
    return try EncodedMatrix(encoding: encoding, rows: range.count, columns: columns, parts: chosen)
  }

  /// The rows in the order `order` names them, copied as stored.
  public func selectingRows(_ order: [Int]) throws(Problem) -> EncodedMatrix {
    guard !layouts.contains(where: \.spansRows) else {
      throw Problem(.usage, "rows of \(encoding.label) share scales and keep their order")
    }
    var chosen: [String: Bytes] = [:]
    for (layout, part) in zip(layouts, parts) {
      if layout.isShared {
        chosen[layout.name] = part
        continue
      }
      let width = part.count / rows
      chosen[layout.name] = Bytes(count: order.count * width) { target in
        part.withUnsafeBytes { source in
          for (i, row) in order.enumerated() {
            UnsafeMutableRawBufferPointer(rebasing: target[i * width..<(i + 1) * width])
              .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[row * width..<(row + 1) * width]))
          }
        }
      }
    }
    return try EncodedMatrix(encoding: encoding, rows: order.count, columns: columns, parts: chosen)
  }
}

extension EncodedMatrix {
  /// `out[t] = W · x[t]` for `tokens` vectors, from the packed weights.
  ///
  /// Up to sixteen vectors multiply row by row, each as it would alone, to the bit; more share each decoded panel of
  /// rows, which then meets the system's GEMM.
  ///
  /// - Parameters:
  ///   - x: `tokens` rows of `columns` values, contiguous.
  ///   - out: `tokens` rows of `rows` values, contiguous.
  package func multiply(
    _ x: UnsafePointer<Float>, tokens: Int, into out: UnsafeMutablePointer<Float>, team: ThreadTeam,
    with kernels: Kernels = .best
  ) {
    if tokens <= 16 {
      multiplyFew(x, tokens: tokens, into: out, team: team, with: kernels)
      return
    }
    let dense = encoding.storedLayout == StoredBlocks.float32.layout ? parts[0] : nil
    let panel = max(16, (1 << 20) / columns)
    team.split(rows, grain: 16) { range in
      if let dense {
        dense.withUnsafeBytes { raw in
          guard let base = raw.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
          BLAS.multiplyTransposed(
            x, stride: columns, base + range.lowerBound * columns, stride: columns,
            into: out + range.lowerBound,
            stride: rows, m: tokens, n: range.count, k: columns)
        }
        return
      }
      let scratch = UnsafeMutablePointer<Float>.allocate(capacity: min(panel, range.count) * columns)
      defer { scratch.deallocate() }
      for start in stride(from: range.lowerBound, to: range.upperBound, by: panel) {
        let part = start..<min(start + panel, range.upperBound)
        encoding.decode(self, rows: part, into: scratch, with: kernels)
        BLAS.multiplyTransposed(
          x, stride: columns, scratch, stride: columns, into: out + start, stride: rows, m: tokens,
          n: part.count,
          k: columns)
      }
    }
  }
}

extension EncodedMatrix {
  /// A run of rows that stays in cache meets every vector.
  private func multiplyFew(
    _ x: UnsafePointer<Float>, tokens: Int, into out: UnsafeMutablePointer<Float>, team: ThreadTeam,
    with kernels: Kernels
  ) {
    let run = tokens == 1 ? rows : max(8, (1 << 15) / columns)
    let work = { (range: Range<Int>) in
      for start in stride(from: range.lowerBound, to: range.upperBound, by: run) {
        let part = start..<min(start + run, range.upperBound)
        for t in 0..<tokens {
          encoding.multiply(
            self, rows: part, by: x + t * columns, into: out + t * rows + start, with: kernels)
        }
      }
    }
    // A small matrix is done before another thread has woken.
    if tokens * byteCount < 1 << 16 {
      work(0..<rows)
    } else {
      team.split(rows, grain: max(8, (1 << 16) / columns), work)
    }
  }
}
