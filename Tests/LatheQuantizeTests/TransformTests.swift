import Foundation
import LatheEncoding
import LatheEvaluate
import LatheModel
import LatheQuantize
import LatheTensor
import LatheTestSupport
import Testing

/// What transforms promise: the same function, honest bytes, and codes that lose less.
@Suite struct TransformTests {
  static let chains = [
    "awq", "smoothquant", "hadamard", "quip", "activations", "awq+gptq", "hadamard+activations+gptq",
    "smoothquant+rtn",
  ]

  static func recipe(_ chain: String, bits: Double = 4, group: Int? = 32) throws -> Recipe {
    let chain = try Chain(chain)
    return chain.recipe(
      try EncodingCatalog.grid(for: GridRequest(bits: bits, groupSize: group, isSymmetric: false)))
  }

  @Test("a transform keeps the model's function", arguments: TransformCatalog.names)
  func keepsFunction(name: String) throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let text = try DriverTests.calibration(model)
    let recipe = try Self.recipe(name + "+rtn")
    let quantizer = try Quantizer(model, recipe: recipe, calibration: text, team: team)
    var rewritten = quantizer.model
    let stream = try CalibrationStream(text, inference: Inference(quantizer.model, team: team))
    for layer in rewritten.blocks.indices {
      let block = try quantizer.transformed(layer, stream).withoutActivationGrids
      _ = stream.propagate(original: block, quantized: block)
      rewritten.blocks[layer] = block
    }
    let a = Inference(model, team: team), b = Inference(rewritten, team: team)
    let expected = a.logits(after: text.samples[0], cache: a.makeCache())
    let found = b.logits(after: text.samples[0], cache: b.makeCache())
    let difference = zip(expected, found).map { abs($0 - $1) }.max() ?? 1
    #expect(difference < 2e-3, "\(difference)")
    if name != "activations" {
      let isRewritten = zip(rewritten.blocks, model.blocks).allSatisfy {
        $0.weights[.query]?.weight.decoded() != $1.weights[.query]?.weight.decoded()
      }
      #expect(isRewritten)
    }
  }

  @Test("what is saved computes, bit for bit, what was in memory", arguments: chains)
  func roundTrip(chain: String) throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let text = try DriverTests.calibration(model)
    let recipe = try Self.recipe(chain)
    let memory = try model.quantized(with: recipe, calibratingOn: text, team: team)
    let out = DriverTests.temporary()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let fingerprint = try Fingerprint(model: DriverTests.path, recipe: recipe, calibration: text)
    let quantizer = try Quantizer(model, recipe: recipe, calibration: text, team: team)
    let store = try FolderStore(at: out + ".partial", model: quantizer.model, fingerprint: fingerprint)
    try quantizer.run(into: store)
    try store.finish(as: out, source: DriverTests.path)
    let read = try Model(reading: out), tokens = text.samples[0]
    let a = Inference(memory, team: team), b = Inference(read, team: team)
    #expect(a.logits(after: tokens, cache: a.makeCache()) == b.logits(after: tokens, cache: b.makeCache()))
    #expect(read.byteCount == memory.byteCount)
  }

  @Test("bits are those of the bytes on disk", arguments: chains + ["rtn", "gptq", "hqq", "pb-llm", "billm"])
  func honestBits(chain: String) throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let text = try DriverTests.calibration(model), recipe = try Self.recipe(chain)
    let out = DriverTests.temporary()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let fingerprint = try Fingerprint(model: DriverTests.path, recipe: recipe, calibration: text)
    let quantizer = try Quantizer(model, recipe: recipe, calibration: text, team: team)
    let store = try FolderStore(at: out + ".partial", model: quantizer.model, fingerprint: fingerprint)
    try quantizer.run(into: store)
    try store.finish(as: out, source: DriverTests.path)
    let read = try Model(reading: out)
    // Every tensor of the blocks in the files, norms left out.
    var onDisk = 0, weights = 0, foretold = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: out) where name.hasSuffix(".safetensors")
    {
      let data = try Data(contentsOf: URL(fileURLWithPath: out + "/" + name))
      let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
      let header = try #require(
        try JSONSerialization.jsonObject(with: data.dropFirst(8).prefix(length)) as? [String: Any])
      for (tensor, value) in header where tensor.contains(".layers.") && !tensor.contains("norm") {
        let offsets = try #require((value as? [String: Any])?["data_offsets"] as? [Int])
        onDisk += offsets[1] - offsets[0]
      }
    }
    for (layer, block) in read.blocks.enumerated() {
      for (role, linear) in block.weights {
        weights += linear.weight.count
        foretold += try #require(
          try recipe.storedBytes(
            at: Site(layer, role), rows: linear.weight.rows, columns: linear.weight.columns))
      }
    }
    #expect(read.bitsPerQuantizedWeight == Double(8 * onDisk) / Double(weights))
    #expect(foretold == onDisk)
  }

  @Test(
    "integer activations are executed: the product is that of the rounded numbers, in tiles and without",
    arguments: [8, 6, 4], [false, true])
  func integerActivations(bits: Int, isTiled: Bool) throws {
    let weight = MethodTests.numbers(24, 96, 5), team = ThreadTeam(count: 2)
    for grid in [
      try IntegerGrid(bits: bits, groupSize: nil, isSymmetric: true),
      try IntegerGrid(bits: bits, groupSize: isTiled ? 96 : 40),
      try IntegerGrid(bits: bits, groupSize: 32, isCentred: true),
    ] {
      let encoded = try RoundToNearest().quantize(weight, onto: grid, given: Evidence())
      let decoded = encoded.decoded()
      for scale in [nil, Float(0.01)] {
        var linear = Linear(weight: encoded)
        let activations = try ActivationGrid(bits: bits, scale: scale)
        linear.input = [.quantize(activations)]
        if isTiled {
          linear.tiles = encoded.tiled(team: team)
          #expect(linear.tiles != nil)
        }
        let x = MethodTests.numbers(9, 96, 6).values
        var out = [Float](repeating: 0, count: 9 * 24)
        linear(x, tokens: 9, into: &out, team: team)
        for t in 0..<9 {
          let row = Array(x[t * 96..<(t + 1) * 96])
          let step = scale ?? (row.map(abs).max() ?? 1) / activations.outermostCode
          let rounded = row.map {
            min(
              max(($0 / step).rounded(.toNearestOrEven), -activations.outermostCode),
              activations.outermostCode)
              * step
          }
          for r in 0..<24 {
            let expected = (0..<96).reduce(Float(0)) { $0 + decoded[r, $1] * rounded[$1] }
            let size = (0..<96).reduce(Float(0)) { $0 + abs(decoded[r, $1] * rounded[$1]) }
            #expect(abs(out[t * 24 + r] - expected) <= 1e-5 * size, "\(grid.label) \(t) \(r)")
          }
        }
      }
    }
  }

  @Test(
    "transforms earn their place: less divergence than the method alone",
    arguments: [("rtn", "awq+rtn", 3.0, 128), ("gptq", "quip+gptq", 2, nil)])
  func betterThanAlone(alone: String, chain: String, bits: Double, group: Int?) throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let runs = try SelfWrittenText.write(model, first: 1, count: 12, length: 128, seed: 3, threads: 2)
    let text = try Calibration(samples: runs, source: "self")
    let windows = try SelfWrittenText.write(model, first: 1, count: 4, length: 128, seed: 5, threads: 2)
    let divergences = try [alone, chain].map { chain in
      let quantized = try model.quantized(
        with: Self.recipe(chain, bits: bits, group: group), calibratingOn: text, team: team)
      let result = try Perplexity(quantized, reference: model, team: team).measure(
        windows, protocolName: "self")
      return try #require(result.divergence).mean
    }
    #expect(divergences[1] < divergences[0])
  }

  @Test("a model already turned, static steps behind a rotation, GGUF: each is refused in a sentence")
  func refusals() throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let text = try DriverTests.calibration(model)
    let turned = try Quantizer(model, recipe: try Self.recipe("hadamard+rtn"), calibration: text, team: team)
      .model
    #expect(throws: Problem.self) {
      try Quantizer(turned, recipe: try Self.recipe("hadamard+rtn"), calibration: text, team: team)
    }
    let chain = try Chain("hadamard+activations+rtn", setting: [("static", "true")])
    let recipe = chain.recipe(try IntegerGrid(bits: 8, groupSize: nil, isSymmetric: true))
    let problem = #expect(throws: Problem.self) {
      try model.quantized(with: recipe, calibratingOn: text, team: team)
    }
    #expect(problem?.description.contains("static") == true)
    #expect(throws: Problem.self) {
      try GGUFDialect.write(turned, vocabulary: [], name: "x", to: "/dev/null/x")
    }
  }
}
