import Foundation
import LatheEncoding
import LatheFormats
import LatheModel
import LatheQuantize
import LatheTensor
import LatheTestSupport
import Testing

/// GGUF's mixes against what `llama-quantize` made of the same models (Scripts/fixtures/gguf_mixes.py).
@Suite struct MixTests {
  static func fixture<Value>(_ name: String, as type: Value.Type) throws -> [String: Value] {
    let data = try Data(
      contentsOf: URL(fileURLWithPath: TestData.fixture("encoding/gguf_mixes.json")))
    let all = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    return try #require(all[name] as? [String: Value])
  }

  static func temporary() -> String { NSTemporaryDirectory() + "lathe-mix-\(UUID().uuidString)" }

  /// The importance file of made-up numbers that the fixture was made with.
  static func importance(layers: Int, at path: String) throws {
    var data = Data()
    func append(_ number: Int) {
      withUnsafeBytes(of: Int32(number).littleEndian) { data.append(contentsOf: $0) }
    }
    let names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    append(layers * names.count)
    for layer in 0..<layers {
      for name in names {
        let text = "blk.\(layer).\(name).weight", count = name == "ffn_down" ? 768 : 256
        append(text.utf8.count)
        data.append(contentsOf: text.utf8)
        append(2)
        append(count)
        for j in 0..<count {
          let value = Float(2 * (1 + Double((7919 * j + 31 * layer) % 1000) / 125))
          withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
        }
      }
    }
    try data.write(to: URL(fileURLWithPath: path))
  }

  @Test(
    "every mix writes llama-quantize's bytes, with importances and without", arguments: GGUFMix.names,
    [false, true])
  func bytes(mix: String, weighed: Bool) throws {
    let key = weighed ? "novella_weighed" : "novella"
    // Without importances the peer refuses one of the mixes.
    guard let expected = try Self.fixture(key, as: String.self)[mix] else { return }
    let model = try Model(reading: DriverTests.path), path = Self.temporary(), file = path + ".dat"
    defer { for name in [path, file] { try? FileManager.default.removeItem(atPath: name) } }
    var importance: ImportanceMatrix?
    if weighed {
      try Self.importance(layers: 6, at: file)
      importance = try ImportanceMatrix(reading: file)
    }
    let recipe = try GGUFMix.recipe(named: mix, for: model, isWeighed: weighed)
    let quantizer = try Quantizer(model, recipe: recipe, importance: importance, team: ThreadTeam(count: 2))
    var outcomes = 0
    try quantizer.writeGGUF(to: path, vocabulary: [], name: "novella") {
      if case .weight = $0 { outcomes += 1 }
    }
    #expect(outcomes == 42)
    let tensors = try Checkpoint(reading: path).tensors.sorted { $0.name < $1.name }
    let text = tensors.map { "\($0.name) \($0.type.name) \(Digest.of($0.data))\n" }.joined()
    #expect(Digest.of(text) == expected)
  }

  /// A model of zeros, 32 layers deep, whose feed-forward width is no multiple of 256, its weights one and the same.
  static func grouped() throws -> Model {
    var model = try Model(reading: DriverTests.path)
    model.configuration.layers = 32
    model.configuration.keyValueHeads = 2
    (model.configuration.heads, model.configuration.headDimension) = (8, 32)
    (model.configuration.feedForwardSize, model.configuration.tiesEmbeddings) = (704, false)
    var block = model.blocks[0]
    for role in Role.allCases {
      let shape = model.configuration.shape(of: Site(0, role))
      block.weights[role]?.weight = try EncodedMatrix(Matrix(zeros: shape.rows, shape.columns))
    }
    model.blocks = [Block](repeating: block, count: 32)
    model.head = Linear(weight: model.embedding)
    return model
  }

  @Test("layers, shared heads, fallbacks and ends get llama-quantize's types", arguments: GGUFMix.names)
  func types(mix: String) throws {
    guard let expected = try Self.fixture("grouped", as: [String: String].self)[mix] else { return }
    let model = try Self.grouped()
    let recipe = try GGUFMix.recipe(named: mix, for: model)
    try recipe.validate(for: model)
    func runs(_ labels: [String]) -> String {
      var counted: [(count: Int, label: String)] = []
      for label in labels {
        if counted.last?.label == label {
          counted[counted.count - 1].count += 1
        } else {
          counted.append((1, label))
        }
      }
      return counted.map { "\($0.count)x\($0.label)" }.joined(separator: " ")
    }
    for role in Role.allCases {
      let name = model.architecture.ggufTensorNames.name(of: Site(0, role)).split(separator: ".")[2]
      let labels = (0..<32).map { recipe.rule(for: Site($0, role))?.encoding.encoding.label ?? "F16" }
      #expect(runs(labels) == expected[String(name)], "\(role)")
    }
    for (end, name) in [(ModelEnd.embedding, "token_embd"), (.head, "output")] {
      #expect(runs([recipe.rule(for: end)?.encoding.encoding.label ?? "F16"]) == expected[name])
    }
  }

  @Test("a rule means the embedding and the head only by name")
  func ends() throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let rtn = try MethodDescription(name: "rtn").method
    let everything = Recipe(name: "all", rules: [Rule(method: rtn, encoding: BlockGrid(.q8_0))])
    #expect(everything.rule(for: ModelEnd.embedding) == nil && everything.rule(for: Site(0, .up)) != nil)
    let named = Recipe(
      name: "ends", rules: [Rule(sites: "head|embedding", method: rtn, encoding: BlockGrid(.q6_k))])
    let ended = try named.quantizingEnds(of: model, team: team)
    #expect(ended.embedding.encoding.label == "Q6_K" && ended.head == nil)
    #expect(
      ended.blocks[0].weights[.up]?.weight.encoding.label
        == model.blocks[0].weights[.up]?.weight.encoding.label)
    let fitted = Recipe(
      name: "ends",
      rules: [
        Rule(
          sites: "embedding", method: try MethodDescription(name: "gptq").method, encoding: BlockGrid(.q6_k))
      ])
    #expect(throws: Problem.self) { try fitted.quantizingEnds(of: model, team: team) }
  }

  @Test("importance from calibration lowers the error that matters, and none is a sentence")
  func gathered() throws {
    let model = try Model(reading: DriverTests.path), team = ThreadTeam(count: 2)
    let recipe = try GGUFMix.recipe(named: "q2_k", for: model, isWeighed: true)
    #expect(recipe.evidence == [.channelEnergy])
    #expect(throws: Problem.self) { try Quantizer(model, recipe: recipe, team: team) }
    let text = try DriverTests.calibration(model)
    let weighed = try model.quantized(with: recipe, calibratingOn: text, team: team)
    let plain = try model.quantized(with: GGUFMix.recipe(named: "q2_k", for: model), team: team)
    #expect(weighed.bitsPerQuantizedWeight == plain.bitsPerQuantizedWeight)
    let differ = zip(weighed.blocks, plain.blocks).contains {
      $0.0.weights[.up]?.weight.parts != $0.1.weights[.up]?.weight.parts
    }
    #expect(differ)
  }

  @Test("importance files that are damaged or of another model are sentences")
  func damaged() throws {
    let path = Self.temporary() + ".dat"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Self.importance(layers: 1, at: path)
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(try ImportanceMatrix(reading: path).digest == Digest.of(try Bytes(mapping: path)))
    for length in [0, 3, 4, 7, 20, 30, 100, whole.count - 1] {
      try whole.prefix(length).write(to: URL(fileURLWithPath: path))
      #expect(throws: Problem.self) { try ImportanceMatrix(reading: path) }
    }
    var wrong = whole
    for i in 4..<8 { wrong[i] = 0xFF }
    try wrong.write(to: URL(fileURLWithPath: path))
    #expect(throws: Problem.self) { try ImportanceMatrix(reading: path) }
    // One layer where the model has six.
    try whole.write(to: URL(fileURLWithPath: path))
    let model = try Model(reading: DriverTests.path), out = Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let recipe = try GGUFMix.recipe(named: "q4_k_m", for: model, isWeighed: true)
    let quantizer = try Quantizer(
      model, recipe: recipe, importance: ImportanceMatrix(reading: path), team: ThreadTeam(count: 2))
    #expect(throws: Problem.self) { try quantizer.writeGGUF(to: out, vocabulary: [], name: "novella") }
    #expect(throws: Problem.self) { try GGUFMix.recipe(named: "q9_k", for: model) }
  }
}
