import LatheEncoding
import LatheQuantize
import LatheTensor
import Testing

/// What lies beyond GPTQ's own sweep: passes, targets, steps of many columns, binary weights.
@Suite struct SecondOrderTests {
  @Test("coordinate descent never errs more, and errs less with each pass", arguments: [2, 3, 4])
  func descent(bits: Int) throws {
    let weight = MethodTests.numbers(12, 128, 7), evidence = MethodTests.evidence(columns: 128)
    let grid = try IntegerGrid(bits: bits, groupSize: 64)
    var errors: [Double] = []
    for passes in [0, 1, 4] {
      var method = GPTQ()
      method.passes = passes
      method.damping = 1e-6
      errors.append(
        try MethodTests.error(method.quantize(weight, onto: grid, given: evidence), weight, evidence))
    }
    #expect(errors[1] < errors[0])
    #expect(errors[2] <= errors[1] * 1.0001)
  }

  @Test("the target makes up for inputs that have drifted")
  func target() throws {
    let n = 48, m = 6, team = ThreadTeam(count: 2)
    let weight = MethodTests.numbers(m, n, 8)
    let original = MethodTests.numbers(400, n, 9), noise = MethodTests.numbers(400, n, 10)
    var drifted = original
    for i in drifted.values.indices { drifted.values[i] = 0.9 * original.values[i] + 0.2 * noise.values[i] }
    var h = Matrix(zeros: n, n), c = Matrix(zeros: n, n)
    for t in 0..<400 {
      for i in 0..<n {
        for j in 0..<n {
          h[i, j] += drifted[t, i] * drifted[t, j] / 400
          c[i, j] += (original[t, i] - drifted[t, i]) * drifted[t, j] / 400
        }
      }
    }
    let evidence = Evidence(count: 400, secondMoment: h, mismatch: c)
    var method = GPTQ()
    method.mismatch = 1
    method.damping = 1e-6
    let target = try method.target(for: weight, given: evidence, team: team)
    func error(_ matrix: Matrix) -> Double {
      var sum = 0.0
      for t in 0..<400 {
        for r in 0..<m {
          let difference = (0..<n).reduce(Float(0)) {
            $0 + matrix[r, $1] * drifted[t, $1] - weight[r, $1] * original[t, $1]
          }
          sum += Double(difference * difference)
        }
      }
      return sum
    }
    #expect(error(target) < 0.9 * error(weight))
    // It is the best there is: any step away from it errs more.
    for k in 0..<5 {
      var other = target
      other[k % m, (7 * k) % n] += 0.01
      #expect(error(target) < error(other))
    }
    #expect(try GPTQ().target(for: weight, given: evidence, team: team) == weight)
  }

  @Test("columns chosen together leave the others the least that is possible")
  func steps() throws {
    // With a grid too coarse to hold anything, what remains after the first step is known: the least squares of the rest.
    let n = 32, m = 3, weight = MethodTests.numbers(m, n, 11), evidence = MethodTests.evidence(columns: n)
    let factor = try evidence.inverseFactor(damping: 1e-6, descending: false)
    let h = try #require(evidence.dampedMoment(like: factor))
    var sweep = Sweep(weight, factor: factor)
    var seen = Matrix(zeros: 0, 0)
    sweep.run(step: 8, group: 8) { places, columns, points in
      if places.lowerBound == 8 { seen = columns }
      for i in 0..<places.count * m { points[i] = 0 }
    }
    // The rest of each row minimizes the error where the first eight weights became zero: H_rr · d = H_rf · w_f.
    for r in 0..<m {
      for i in 8..<n {
        var left: Float = 0
        for j in 8..<n { left += h[i, j] * (seen[j, r] - weight[r, j]) }
        let right = (0..<8).reduce(Float(0)) { $0 + h[i, $1] * weight[r, $1] }
        #expect(abs(left - right) < 2e-3 * (abs(right) + 1), "row \(r), column \(i)")
      }
    }
  }

  @Test(
    "PB-LLM keeps the share it promises, by either salience, and its eight bits are close",
    arguments: [0.1, 0.25])
  func partlyBinary(share: Double) throws {
    let weight = MethodTests.numbers(16, 256, 12), evidence = MethodTests.evidence(columns: 256)
    for salience in ["hessian", "magnitude"] {
      var method = PBLLM()
      (method.salientShare, method.salience) = (share, salience)
      let matrix = try method.quantize(weight, onto: IntegerGrid(bits: 4, groupSize: 128), given: evidence)
      let mask = try #require(matrix[part: "salient"])
      let count = mask.elements(as: UInt8.self).reduce(0) { $0 + $1.nonzeroBitCount }
      #expect(count == 2 * Int((Double(16 * 128) * share).rounded()))
      let refit = try { () throws -> Double in
        method.refits = 10
        return try MethodTests.error(
          method.quantize(weight, onto: IntegerGrid(bits: 4, groupSize: 128), given: evidence), weight,
          evidence)
      }()
      #expect(refit < 0.5)
    }
    var wrong = PBLLM()
    wrong.salience = "none"
    #expect(throws: Problem.self) { try wrong.prepare(evidence, threads: 1) }
    wrong.salientShare = 2
    #expect(throws: Problem.self) {
      try wrong.quantize(weight, onto: IntegerGrid(bits: 4, groupSize: 128), given: evidence)
    }
  }

  @Test("BiLLM's values are what its planes say, and refits do not make it worse")
  func binaryPlanes() throws {
    let weight = MethodTests.numbers(24, 200, 13), evidence = MethodTests.evidence(columns: 200)
    let grid = try IntegerGrid(bits: 4, groupSize: 128)
    var method = BiLLM()
    method.blockSize = 64
    let matrix = try method.quantize(weight, onto: grid, given: evidence)
    let levels = try #require(matrix[part: "levels"]).elements(as: UInt16.self).map(HalfPrecision.value)
    let decoded = matrix.decoded()
    for r in 0..<24 {
      for j in 0..<200 {
        let own = (r * 4 + j / 64) * 7
        let values = Array(levels[own..<own + 7])
        let possible = [
          values[0] - values[1], values[0] + values[1], values[2] - values[3], values[2] + values[3],
          values[4] - values[5] - values[6], values[4] - values[5] + values[6],
          values[4] + values[5] - values[6],
          values[4] + values[5] + values[6],
        ]
        #expect(possible.contains { abs($0 - decoded[r, j]) < 1e-6 })
      }
    }
    let plain = try MethodTests.error(matrix, weight, evidence)
    method.refits = 15
    let refitted = try MethodTests.error(
      method.quantize(weight, onto: grid, given: evidence), weight, evidence)
    #expect(refitted < plain * 1.05)
  }

  @Test("weights that are constant, zero, huge or not numbers end in a finite model or a sentence")
  func hostileWeights() throws {
    let evidence = MethodTests.evidence(columns: 128), grid = try IntegerGrid(bits: 3, groupSize: 64)
    for value in [Float(0), 1, -3e4, 1e30, .nan, .infinity] {
      for name in MethodCatalog.names {
        let method = try MethodDescription(name: name).method
        var weight = MethodTests.numbers(8, 128, 14)
        if value.isFinite {
          for i in 0..<512 { weight.values[i] = value }
        } else {
          weight.values[77] = value
        }
        if let matrix = try? method.quantize(weight, onto: grid, given: evidence), value.isFinite,
          abs(value) < 1e5
        {
          let isFinite = matrix.decoded().values.allSatisfy { $0.isFinite }
          #expect(isFinite, "\(name) on \(value)")
        }
      }
    }
  }
}
