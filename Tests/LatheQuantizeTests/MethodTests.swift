import Foundation
import LatheEncoding
import LatheQuantize
import LatheTensor
import Testing

/// The promises every method keeps on every grid. A method or a grid is tested by being in its catalog.
@Suite struct MethodTests {
  static let grids: [any Grid] = {
    var grids: [any Grid] = BlockGrid.Kind.allCases.map { BlockGrid($0) }
    for bits in [2, 3, 4, 8] {
      for group in [nil, 32, 40] {
        if let grid = try? IntegerGrid(bits: bits, groupSize: group) { grids.append(grid) }
        if let grid = try? IntegerGrid(bits: bits, groupSize: group, isCentred: true) { grids.append(grid) }
      }
    }
    if let grid = try? TernaryGrid(groupSize: 32) { grids.append(grid) }
    grids += [NormalFloatGrid(.nf4), NormalFloatGrid(.fp4, isDouble: false), NVFP4Grid()]
    return grids
  }()

  static func numbers(_ rows: Int, _ columns: Int, _ seed: UInt64) -> Matrix {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return Matrix(
      rows: rows, columns: columns,
      values: (0..<rows * columns).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(state >> 40) / Float(1 << 24) - 0.5
      })
  }

  static let wideEvidence = evidence(columns: 256)

  /// Correlated inputs, as a model's are: the last channels are sums of the first.
  static func evidence(columns: Int, count: Int = 512) -> Evidence {
    let x = numbers(count, columns, 77)
    var h = Matrix(zeros: columns, columns)
    for t in 0..<count {
      var row = (0..<columns).map { x[t, $0] }
      for j in 1..<columns { row[j] = 0.7 * row[j - 1] + row[j] * (1 + Float(j % 5)) }
      for i in 0..<columns { for j in 0..<columns { h[i, j] += row[i] * row[j] / Float(count) } }
    }
    return Evidence(count: count, secondMoment: h)
  }

  /// The relative output error of `matrix` where `weight` is due.
  static func error(_ matrix: EncodedMatrix, _ weight: Matrix, _ evidence: Evidence) throws -> Double {
    let h = try #require(evidence.secondMoment), decoded = matrix.decoded()
    var error = 0.0, energy = 0.0
    for r in 0..<weight.rows {
      for i in 0..<weight.columns {
        for j in 0..<weight.columns {
          error += Double((weight[r, i] - decoded[r, i]) * h[i, j] * (weight[r, j] - decoded[r, j]))
          energy += Double(weight[r, i] * h[i, j] * weight[r, j])
        }
      }
    }
    return error / energy
  }

  @Test("every method works on every grid", arguments: MethodCatalog.names, grids.indices)
  func everyPair(name: String, index: Int) throws {
    let method = try MethodDescription(name: name).method
    let weight = Self.numbers(12, 256, 1), grid = Self.grids[index].prepared(for: weight),
      evidence = Self.wideEvidence
    let matrix = try method.quantize(weight, onto: grid, given: evidence)
    #expect(matrix.rows == 12 && matrix.columns == 256)
    #expect(try Self.error(matrix, weight, evidence) < 0.9)
  }

  @Test("GPTQ errs less than rounding, on every grid and with each option", arguments: grids.indices)
  func gptqBeatsRounding(index: Int) throws {
    let weight = Self.numbers(12, 256, 2), evidence = Self.wideEvidence
    let grid = Self.grids[index].prepared(for: weight)
    let rounded = try Self.error(
      RoundToNearest().quantize(weight, onto: grid, given: evidence), weight, evidence)
    var methods = [GPTQ(), GPTQ(), GPTQ(), GPTQ()]
    methods[1].actOrder = false
    methods[2].clip = true
    methods[3].staticGroups = false
    for method in methods {
      let error = try Self.error(method.quantize(weight, onto: grid, given: evidence), weight, evidence)
      #expect(error < rounded, "\(grid.label): \(error) is no less than \(rounded)")
    }
  }

  @Test(
    "HQQ errs less than rounding over the whole range does, in the norm it minimizes", arguments: [2, 3, 4])
  func hqq(bits: Int) throws {
    var weight = Self.numbers(16, 256, 8)
    // A few outliers, as weights have.
    for r in 0..<16 { weight[r, 31 * r % 256] *= 3 }
    let grid = try IntegerGrid(bits: bits, groupSize: 64)
    func error(_ matrix: EncodedMatrix) -> Float {
      zip(matrix.decoded().values, weight.values).reduce(0) { $0 + abs($1.0 - $1.1) }
    }
    let matrix = try HQQ().quantize(weight, onto: grid, given: Evidence())
    #expect(matrix.encoding.label == "int\(bits)f g64")
    #expect(matrix.bitsPerWeight == Double(bits) + 32.0 / 64)
    let plain = try RoundToNearest().quantize(weight, onto: grid.freeingZeros, given: Evidence())
    #expect(error(matrix) < error(plain))
    // Flat, empty and far-off groups have finite points.
    for j in 0..<256 {
      weight[0, j] = 0
      weight[1, j] = -0.3
      weight[2, j] = 5 + 0.001 * weight[2, j]
      weight[3, j] *= 1e36
      weight[4, j] *= 1e-36
    }
    let decoded = try HQQ().quantize(weight, onto: grid, given: Evidence()).decoded()
    #expect(decoded.values.allSatisfy { $0.isFinite })
    for j in 0..<256 { #expect(decoded[0, j] == 0 && abs(decoded[1, j] + 0.3) < 0.3 && decoded[2, j] > 3) }
  }

  @Test("a searched clip errs no more than the full range", arguments: [2, 3, 4])
  func clip(bits: Int) throws {
    let weight = Self.numbers(16, 128, 3), grid = try IntegerGrid(bits: bits, groupSize: 64)
    func error(_ matrix: EncodedMatrix) -> Float {
      zip(matrix.decoded().values, weight.values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }
    var searched = RoundToNearest()
    searched.clip = true
    let plain = try error(RoundToNearest().quantize(weight, onto: grid, given: Evidence()))
    #expect(try error(searched.quantize(weight, onto: grid, given: Evidence())) <= plain)
  }

  @Test("GPTQ without groups is the textbook algorithm, column by column")
  func textbook() throws {
    let weight = Self.numbers(5, 48, 4), evidence = Self.evidence(columns: 48)
    let grid = try IntegerGrid(bits: 3, groupSize: nil)
    var method = GPTQ()
    method.actOrder = false
    let ours = try method.quantize(weight, onto: grid, given: evidence).decoded()
    // Slow twin: no blocks, no transposition, one row at a time.
    let u = try evidence.inverseFactor(damping: 0.01, descending: false).upper
    let parameters = grid.fit(weight.transposed(), shrink: 1, importance: nil)
    for r in 0..<5 {
      var w = (0..<48).map { weight[r, $0] }
      for j in 0..<48 {
        let q = min(max((w[j] / parameters.scale[r] + parameters.zero[r]).rounded(.toNearestOrEven), 0), 7)
        let point = (q - parameters.zero[r]) * parameters.scale[r]
        #expect(abs(ours[r, j] - point) < 1e-6)
        let error = (w[j] - point) / u[j, j]
        for k in j..<48 { w[k] -= error * u[j, k] }
      }
    }
  }

  @Test("damping grows until the factorization succeeds, and channels without input do no harm")
  func damping() throws {
    // A second moment of rank one, with one channel that is always zero.
    var h = Matrix(zeros: 32, 32)
    for i in 1..<32 { for j in 1..<32 { h[i, j] = 1e6 } }
    let evidence = Evidence(count: 1, secondMoment: h)
    let factor = try evidence.inverseFactor(damping: 0, descending: false)
    #expect(factor.dead == [0])
    let matrix = try GPTQ().quantize(
      Self.numbers(4, 32, 5), onto: IntegerGrid(bits: 4, groupSize: 32), given: evidence)
    let isFinite = matrix.decoded().values.allSatisfy { $0.isFinite }
    #expect(isFinite)
    #expect(throws: Problem.self) { try Evidence().inverseFactor(damping: 0.01, descending: false) }
    h[3, 3] = .nan
    #expect(throws: Problem.self) {
      try Evidence(count: 1, secondMoment: h).inverseFactor(damping: 0.01, descending: true)
    }
  }

  @Test("options are set by name, and wrong ones named")
  func options() throws {
    let method = try MethodDescription(name: "gptq", setting: [("actOrder", "false"), ("damping", "0.05")])
    let gptq = try #require(method.method as? GPTQ)
    #expect(!gptq.actOrder && gptq.damping == 0.05)
    for wrong in [("act", "true"), ("actOrder", "1"), ("damping", "much"), ("damping", "nan")] {
      #expect(throws: Problem.self) { try MethodDescription(name: "gptq", setting: [wrong]) }
    }
    #expect(throws: Problem.self) { try MethodDescription(name: "gtpq") }
    let recipe = Recipe(method: gptq, grid: try IntegerGrid(bits: 4, groupSize: 64, isSymmetric: true))
    let copy = try JSONDecoder().decode(Recipe.self, from: Data(recipe.text.utf8))
    #expect(copy == recipe)
  }

  @Test("a grid is found by bits, group and format, and an impossible one refused")
  func gridRequests() throws {
    func label(_ bits: Double, _ group: Int?, symmetric: Bool = false, gguf: Bool = false) throws -> String {
      try EncodingCatalog.grid(
        for: GridRequest(bits: bits, groupSize: group, isSymmetric: symmetric, isForGGUF: gguf)
      ).label
    }
    #expect(try label(4, 128) == "int4 g128")
    #expect(try label(3, nil, symmetric: true) == "int3s row")
    #expect(try label(1.58, 64) == "ternary g64")
    #expect(try label(4, 128, gguf: true) == "Q4_1")
    #expect(try label(4, 128, symmetric: true, gguf: true) == "Q4_0")
    #expect(try label(8, nil, gguf: true) == "Q8_0")
    for (bits, gguf) in [(7.0, true), (0.5, false), (9, false), (-1, false)] {
      #expect(throws: Problem.self) { try label(bits, 64, gguf: gguf) }
    }
    #expect(throws: Problem.self) { try label(4, -1) }
  }

  @Test("every card says what each option does", arguments: MethodCatalog.names)
  func cards(name: String) throws {
    let type = try #require(MethodCatalog[name])
    let data = try JSONEncoder().encode(try MethodDescription(name: name))
    let members = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    for option in members.keys where option != "name" {
      #expect(type.card.options[option] != nil, "\(option)")
    }
    #expect(!type.card.summary.isEmpty && !type.card.paper.isEmpty)
  }
}
