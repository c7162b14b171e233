import Foundation
import LatheEncoding
import LatheFormats
import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

/// Blocks that differ in size, fused projections and norms of heads, in every kind of file.
@Suite struct ArchitectureTests {
  static let fixtures = ["gqa", "biases", "phi3", "phi3-long", "openelm"]
  static let ids = CacheTests.ids(40, vocabulary: 128)

  static func temporary() -> String { NSTemporaryDirectory() + "lathe-architecture-\(UUID().uuidString)" }

  static func logits(_ model: Model, context: Int? = nil) -> [Float] {
    let inference = Inference(model, team: ThreadTeam(count: 2), context: context)
    return inference.logits(after: ids, cache: inference.makeCache())
  }

  @Test("GGUF gives back the configuration and the logits", arguments: fixtures)
  func gguf(name: String) throws {
    let model = try Model(reading: TestData.fixture("model/\(name)")), path = Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try GGUFDialect.write(model, vocabulary: [], name: name, to: path)
    let read = try Model(reading: path)
    #expect(read.architecture == model.architecture)
    #expect(read.parameterCount == model.parameterCount)
    var configuration = read.configuration
    // Pairs lie side by side in LLaMA's files.
    configuration.rotary.pairing = model.configuration.rotary.pairing
    #expect(configuration == model.configuration)
    let isReordered = read.configuration.rotary.pairing != model.configuration.rotary.pairing
    for context in [nil, 40] {
      let difference =
        zip(Self.logits(model, context: context), Self.logits(read, context: context))
        .map { abs($0 - $1) }.max() ?? 1
      #expect(isReordered ? difference < 1e-4 : difference == 0)
    }
  }

  @Test("fused tensors have the names, the rows and the order that llama.cpp expects")
  func fused() throws {
    for (name, fused, separate) in [
      ("phi3", ["attn_qkv": 128, "ffn_up": 192], ["attn_q", "attn_k", "ffn_gate", "attn_q_norm"]),
      ("openelm", ["attn_qkv": 64, "ffn_up": 32, "ffn_gate": 32, "attn_q_norm": 16], ["attn_q", "attn_v"]),
    ] {
      let model = try Model(reading: TestData.fixture("model/\(name)")), path = Self.temporary()
      defer { try? FileManager.default.removeItem(atPath: path) }
      try GGUFDialect.write(model, vocabulary: [], name: name, to: path)
      let file = try Checkpoint(reading: path)
      for (tensor, rows) in fused { #expect(file["blk.0.\(tensor).weight"]?.shape[0] == rows, "\(tensor)") }
      for tensor in separate { #expect(file["blk.0.\(tensor).weight"] == nil, "\(tensor)") }
      let parts = [Role.query, .key, .value].compactMap { model.blocks[0].weights[$0]?.weight.parts[0] }
      #expect(try file.tensor("blk.0.attn_qkv.weight").data == Bytes(joining: parts))
    }
  }

  @Test("a fused projection's parts are views of the mapped file")
  func views() throws {
    let model = try Model(reading: TestData.fixture("model/phi3"))
    let file = try Checkpoint(reading: TestData.fixture("model/phi3/model.safetensors"))
    for (roles, name) in [
      ([Role.query, .key, .value], "self_attn.qkv_proj"), ([.gate, .up], "mlp.gate_up_proj"),
    ] {
      let tensor = try file.tensor("model.layers.1.\(name).weight").data
      let parts = roles.compactMap { model.blocks[1].weights[$0]?.weight.parts[0] }
      #expect(Bytes(joining: parts) == tensor)
      for (a, b) in zip(parts, parts.dropFirst()) {
        // Neighbours in memory, where a copy would lie elsewhere.
        #expect(a.baseAddress + a.count == b.baseAddress)
      }
    }
  }

  @Test("what config.json is written as is read as the same sizes", arguments: fixtures)
  func description(name: String) throws {
    let model = try Model(reading: TestData.fixture("model/\(name)")), folder = Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let json = try JSONObject(describing: model).json(setting: "x", to: Data("1".utf8))
    try Data(json.utf8).write(to: URL(fileURLWithPath: folder + "/config.json"))
    let shape = try ModelShape(named: folder)
    #expect(shape.architecture == model.architecture)
    #expect(shape.configuration == model.configuration)
  }

  @Test("a cache holds each block's own heads")
  func cache() throws {
    let c = try Model(reading: TestData.fixture("model/openelm")).configuration
    #expect(c.sizes.map(\.heads) == [2, 4, 6] && c.sizes.map(\.feedForwardSize) == [32, 96, 128])
    #expect((c.heads, c.keyValueHeads, c.feedForwardSize) == (6, 2, 128))
    #expect(c.cacheWidth == 2 * 16 * (1 + 2 + 2))
    for type in CacheType.allCases {
      let cache = KeyValueCache(c, capacity: 64, type: type)
      // Codes come in groups of 32 elements, of which a head of 16 fills half.
      let width = Double(c.cacheWidth * (type == .f32 || type == .f16 ? 1 : 2))
      #expect(Double(8 * cache.byteCount) == type.bitsPerValue * 64 * width)
    }
    let shared = KeyValueCache(c, capacity: 64, sharesLayers: true)
    #expect(shared.byteCount == 2 * 4 * 64 * 16 * (1 + 2))
  }

  @Test("packed, batched and plain reading agree where blocks differ")
  func packs() throws {
    let model = try Model(reading: TestData.fixture("model/openelm"))
    let inference = Inference(model, team: ThreadTeam(count: 2))
    let texts = [Self.ids[0..<9], Self.ids[9..<20], Self.ids[20..<40]]
    let pack = Pack(texts.map { ($0, .none) }, prefix: 0)
    let wanted = pack.rows.map { $0.upperBound - 1 }
    var packed = [[Float]](repeating: [], count: texts.count)
    inference.read(pack, after: nil, wanted: wanted) { first, count, logits in
      for i in 0..<count {
        packed[first + i] = Array(UnsafeBufferPointer(start: logits + i * 128, count: 128))
      }
    }
    for (text, found) in zip(texts, packed) {
      let plain = inference.logits(after: Array(text), cache: inference.makeCache())
      for (a, b) in zip(plain, found) { #expect(abs(a - b) < 1e-4) }
    }
    let caches = texts.map { text in
      let cache = inference.makeCache()
      _ = inference.logits(after: Array(text.dropLast()), cache: cache)
      return cache
    }
    let together = inference.logits(afterEach: texts.map { $0[$0.endIndex - 1] }, caches: caches)
    for (index, found) in packed.enumerated() {
      for j in 0..<128 { #expect(abs(together[index * 128 + j] - found[j]) < 1e-4) }
    }
  }

  @Test("known shapes have the published numbers of parameters")
  func shapes() throws {
    for (name, parameters) in [
      ("llama-3.2-1b", 1_235_814_400), ("phi-3-mini", 3_821_079_552), ("openelm-1.1b", 1_079_891_456),
    ] {
      let shape = try ModelShape(named: name)
      for names in [shape.architecture.nativeTensorNames, shape.architecture.ggufTensorNames] {
        let weights = shape.weights(names).reduce(0) { $0 + $1.rows * $1.columns }
        #expect(weights + shape.norms(names).reduce(0) { $0 + $1.count } == parameters, "\(name)")
      }
    }
  }
}

/// Files of these architectures that contradict themselves.
@Suite struct HostileArchitectureTests {
  static let cases: [(model: String, key: String, json: String, says: String)] = [
    ("openelm", "num_query_heads", "[2, 4]", "\"num_query_heads\" has 2 values where the model has 3 layers"),
    ("openelm", "num_kv_heads", "[1, 3, 2]", "4 heads cannot share 3"),
    ("openelm", "num_kv_heads", "[1, 0, 2]", "is none"),
    ("openelm", "num_kv_heads", "[1, 0.5, 2]", "sizes of layer 1"),
    ("openelm", "num_kv_heads", "2", "\"num_kv_heads\" is missing or of the wrong type"),
    ("openelm", "ffn_multipliers", "[0.5, -1, 2]", "sizes of layer 1"),
    ("openelm", "ffn_multipliers", "[0.5, 1e300, 2]", "sizes of layer 1"),
    ("openelm", "ffn_multipliers", "[0.5, 3, 2]", "gate, up of layer 1 have 192 rows"),
    ("openelm", "ffn_dim_divisor", "0", "sizes of layer 0"),
    ("openelm", "head_dim", "32", "q, k, v of layer 0 have 64 rows where the configuration demands 128"),
    ("openelm", "activation_fn_name", "\"gelu\"", "\"gelu\" is not supported"),
    ("openelm", "ffn_with_glu", "false", "without a gate"),
    (
      "phi3", "num_key_value_heads", "4",
      "q, k, v of layer 0 have 128 rows where the configuration demands 192"
    ),
    ("phi3", "sliding_window", "0", "attention window of 0"),
    ("phi3", "partial_rotary_factor", "0.75", "partial_rotary_factor of 0.75"),
    ("phi3-long", "rope_parameters", #"{"rope_type":"longrope"}"#, "is missing"),
    (
      "phi3-long", "rope_parameters",
      #"{"rope_type":"longrope","short_factor":[1],"long_factor":[1],"original_max_position_embeddings":32}"#,
      "1 rotary factors do not fit"
    ),
    (
      "phi3-long", "rope_parameters",
      #"{"rope_type":"su","short_factor":[1],"long_factor":[1],"original_max_position_embeddings":0}"#,
      "not positive"
    ),
  ]

  @Test("a configuration that cannot be is refused in words", arguments: cases.indices)
  func configuration(index: Int) throws {
    let (model, key, json, says) = Self.cases[index]
    let value = try JSONSerialization.jsonObject(with: Data(json.utf8), options: [.fragmentsAllowed])
    let problem = #expect(throws: Problem.self) { try HostileModelTests.load([key: value], of: model) }
    #expect(
      problem?.description.contains(says) == true,
      "\(problem?.description ?? "no problem") should say \(says)")
    #expect(problem?.kind == .badData)
  }

  @Test("a text longer than the window or the context is told")
  func notes() throws {
    var c = try Model(reading: TestData.fixture("model/phi3")).configuration
    c.attentionWindow = 2047
    #expect(c.exactContext == 2047 && c.note(onContext: 2047) == nil)
    #expect(c.note(onContext: 2048)?.contains("2047") == true)
    #expect(c.note(onContext: 5000)?.contains("4096") == true)
  }
}
