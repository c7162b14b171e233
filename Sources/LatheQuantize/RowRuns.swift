internal import LatheEncoding
internal import LatheTensor

extension EncodedMatrix {
  /// The matrix quantized a short run of rows at a time, so that it is never whole in single precision, and the
  /// squared error relative to its own square.
  ///
  /// For methods that ask for no second moment: others gain from many rows at once.
  func quantized(
    byRunsWith method: any QuantizationMethod, onto grid: some Grid, given evidence: Evidence,
    team: ThreadTeam
  ) throws(Problem) -> (matrix: EncodedMatrix, error: Double) {
    let grid = grid.prepared(for: decoded(team: team))
    let multiple = max(16, grid.rowMultiple(columns: columns))
    // A run and its copies stay in the cache of a core, or near it.
    let run = max(1, (1 << 18) / columns / multiple) * multiple
    let starts = Array(stride(from: 0, to: rows, by: run))
    try method.prepare(evidence, threads: team.count)
    let results = Slots<Result<(EncodedMatrix, error: Double, energy: Double), Problem>>(starts.count)
    team.run(starts.count) { piece in
      let range = starts[piece]..<min(starts[piece] + run, rows)
      results[piece] = Result { () throws(Problem) in
        let original = decoded(rows: range)
        guard original.values.allSatisfy(\.isFinite) else {
          throw Problem(
            .badData, "the weight holds numbers that are not finite", cure: "check the model's file")
        }
        let encoded = try method.quantize(original, onto: grid, given: evidence)
        let (error, energy) = original.squares(against: encoded.decoded())
        return (encoded, error, energy)
      }
    }
    var parts: [EncodedMatrix] = []
    var error = 0.0, energy = 0.0
    for result in results.values {
      let (part, partError, partEnergy) = try result.get()
      parts.append(part)
      error += partError
      energy += partEnergy
    }
    return (try EncodedMatrix(stacking: parts), error / max(energy, .leastNormalMagnitude))
  }

  /// A run of rows in single precision.
  private func decoded(rows range: Range<Int>) -> Matrix {
    let values = [Float](unsafeUninitializedCapacity: range.count * columns) { buffer, count in
      if let base = buffer.baseAddress { encoding.decode(self, rows: range, into: base, with: .best) }
      count = range.count * columns
    }
    return Matrix(rows: range.count, columns: columns, values: values)
  }
}

extension Matrix {
  /// The sum of the squares of the differences from `other`, and of the values themselves.
  fileprivate func squares(against other: Matrix) -> (difference: Double, own: Double) {
    var difference = other.values
    var error = 0.0, energy = 0.0
    values.withUnsafeBufferPointer { a in
      difference.withUnsafeMutableBufferPointer { d in
        guard let a = a.baseAddress, let d = d.baseAddress else { return }
        for i in 0..<rows * columns { d[i] = a[i] - d[i] }
        for r in 0..<rows {
          error += Double(Kernels.best.dot(d + r * columns, d + r * columns, columns))
          energy += Double(Kernels.best.dot(a + r * columns, a + r * columns, columns))
        }
      }
    }
    return (error, energy)
  }
}
