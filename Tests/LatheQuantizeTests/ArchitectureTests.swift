import Foundation
import LatheEncoding
import LatheFormats
import LatheModel
import LatheQuantize
import LatheTensor
import LatheTestSupport
import Testing

/// Every kind of method on models whose blocks differ, or whose projections are fused.
@Suite struct ArchitectureTests {
  static let models = ["phi3", "openelm"]
  static let chains = [
    "rtn", "gptq", "hqq", "pb-llm", "billm", "awq", "smoothquant", "hadamard+gptq", "quip", "activations",
  ]

  static func calibration() throws -> Calibration {
    let tokens: [Int32] = (0..<480).map { i in
      let id: Int = i * 37 + i * i / 7 + 3
      return Int32(id % 128)
    }
    return try Calibration(tokens: tokens, count: 12, length: 40, source: "numbers")
  }

  @Test("what is saved computes, bit for bit, what was in memory", arguments: models, chains)
  func roundTrip(name: String, chain: String) throws {
    let path = TestData.fixture("model/\(name)"), out = DriverTests.temporary()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let model = try Model(reading: path), team = ThreadTeam(count: 2)
    let text = try Self.calibration(), recipe = try TransformTests.recipe(chain, bits: 6, group: 32)
    let memory = try model.quantized(with: recipe, calibratingOn: text, team: team)
    let fingerprint = try Fingerprint(model: path, recipe: recipe, calibration: text)
    let quantizer = try Quantizer(model, recipe: recipe, calibration: text, team: team)
    let store = try FolderStore(at: out + ".partial", model: quantizer.model, fingerprint: fingerprint)
    try quantizer.run(into: store)
    try store.finish(as: out, source: path)
    let read = try Model(reading: out), tokens = text.samples[0]
    let a = Inference(memory, team: team), b = Inference(read, team: team), c = Inference(model, team: team)
    let found = b.logits(after: tokens, cache: b.makeCache())
    #expect(a.logits(after: tokens, cache: a.makeCache()) == found)
    #expect(read.byteCount == memory.byteCount && read.configuration == model.configuration)
    // Close to the original, too: the parts were not mistaken for one another.
    let exact = c.logits(after: tokens, cache: c.makeCache())
    let error = zip(exact, found).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let limit: Float = chain == "billm" || chain == "pb-llm" ? 2 : 0.2
    #expect(error < limit * exact.reduce(0) { $0 + $1 * $1 }, "\(error)")
  }

  @Test("transforms keep the function", arguments: models, TransformCatalog.names)
  func keepsFunction(name: String, transform: String) throws {
    let model = try Model(reading: TestData.fixture("model/\(name)")), team = ThreadTeam(count: 2)
    let text = try Self.calibration(), recipe = try TransformTests.recipe(transform + "+rtn")
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
    #expect(zip(expected, found).allSatisfy { abs($0 - $1) < 2e-3 })
  }

  @Test("GGUF blocks are quantized, joined, and read back as parts", arguments: models, ["q8_0", "q4_0"])
  func blocks(name: String, type: String) throws {
    let model = try Model(reading: TestData.fixture("model/\(name)")), out = DriverTests.temporary()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let team = ThreadTeam(count: 2)
    var request = GridRequest(bits: 4, groupSize: nil, isSymmetric: false)
    request.family = type
    let recipe = try Chain("rtn").recipe(try EncodingCatalog.grid(for: request))
    let memory = try model.quantized(with: recipe, team: team)
    try Quantizer(model, recipe: recipe, team: team).writeGGUF(to: out, vocabulary: [], name: name)
    let read = try Model(reading: out)
    for (a, b) in zip(memory.blocks, read.blocks) {
      for role in Role.allCases {
        #expect(a.weights[role]?.weight.parts == b.weights[role]?.weight.parts, "\(role)")
      }
    }
  }

  @Test("parts of one tensor need one type, and a sentence says so")
  func mixedTypes() throws {
    let model = try Model(reading: TestData.fixture("model/phi3")), team = ThreadTeam(count: 2)
    let rtn = try MethodDescription(name: "rtn").method
    let recipe = Recipe(
      name: "mixed",
      rules: [
        Rule(sites: "*.v", method: rtn, encoding: BlockGrid(.q8_0)),
        Rule(sites: "*", method: rtn, encoding: BlockGrid(.q4_0)),
      ])
    let problem = #expect(throws: Problem.self) {
      try Quantizer(model, recipe: recipe, team: team).writeGGUF(to: "/dev/null/x", vocabulary: [], name: "x")
    }
    #expect(problem?.description.contains("blk.0.attn_qkv is one tensor") == true)
    // llama-quantize's mixes give the parts of one tensor one type.
    for mix in GGUFMix.names {
      let recipe = try GGUFMix.recipe(named: mix, for: model)
      for layer in model.blocks.indices {
        let labels = [Role.query, .key, .value].map {
          recipe.rule(for: Site(layer, $0))?.encoding.encoding.label
        }
        #expect(Set(labels).count == 1, "\(mix)")
      }
    }
  }

  @Test("where widths differ, only what does not fit another type's blocks gets it")
  func misfits() throws {
    var model = try Model(reading: TestData.fixture("model/openelm"))
    for layer in model.blocks.indices {
      for role in Role.allCases {
        let columns = role == .output && layer == 1 ? 128 : 256
        model.blocks[layer].weights[role]?.weight = try EncodedMatrix(Matrix(zeros: 2, columns))
      }
    }
    var request = GridRequest(bits: 4, groupSize: nil, isSymmetric: false)
    request.family = "q4_k"
    let recipe = try Chain("rtn").recipe(try EncodingCatalog.grid(for: request))
    let (fitting, misfits) = recipe.leavingOutMisfits(of: model)
    #expect(misfits.isEmpty)
    for layer in model.blocks.indices {
      for role in Role.allCases {
        let label = fitting.rule(for: Site(layer, role))?.encoding.encoding.label
        #expect(label == (role == .output && layer == 1 ? "Q5_0" : "Q4_K"))
      }
    }
  }

  @Test("rows as wide as OpenELM's are laid out in tiles", arguments: [1, 1.58, 2, 3, 4, 5, 6, 7, 8])
  func tiles(bits: Double) throws {
    let shape = try ModelShape(named: "openelm-1.1b"), team = ThreadTeam(count: 2)
    let grid = try #require(try SynthesisTests.request(bits, 128) as? any Grid)
    for columns in Set(shape.weights(shape.architecture.nativeTensorNames).map(\.columns)) {
      let weight = MethodTests.numbers(16, columns, 7)
      let encoded = try RoundToNearest().quantize(weight, onto: grid, given: Evidence())
      #expect(encoded.tiled(team: team) != nil, "\(columns) columns")
    }
  }

  @Test("a synthesized shape opens, native and GGUF, and counts the bytes foretold", arguments: models)
  func synthesis(name: String) throws {
    let shape = try ModelShape(named: TestData.fixture("model/\(name)/config.json"))
    let native = SynthesisTests.Place(), gguf = SynthesisTests.Place(), team = ThreadTeam(count: 2)
    let made = try Synthesis(shape, encoding: try SynthesisTests.request(4, 32), seed: 1)
    try made.writeFolder(to: native.path, team: team)
    let model = try Model(reading: native.path)
    #expect(model.configuration == shape.configuration)
    #expect(try model.byteCount == made.byteCount())
    let blocks = try Synthesis(shape, encoding: try SynthesisTests.request(4, family: "q4_0"), seed: 1)
    try blocks.writeGGUF(to: gguf.path, team: team)
    let other = try Model(reading: gguf.path)
    #expect(other.configuration == shape.configuration)
    #expect(try other.byteCount == blocks.byteCount())
    for model in [model, other] {
      let inference = Inference(model, team: team)
      #expect(inference.logits(after: [1, 2, 3], cache: inference.makeCache()).allSatisfy { $0.isFinite })
    }
  }
}
