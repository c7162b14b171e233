import Foundation
import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

/// Models that contradict themselves, each a sentence and never a trap.
@Suite struct HostileModelTests {
  /// A copy of a small model's folder with its configuration changed.
  static func load(_ changes: [String: Any?], of model: String = "gqa") throws -> Model {
    let source = TestData.fixture("model/\(model)")
    let folder = NSTemporaryDirectory() + "lathe-hostile-\(UUID().uuidString)"
    try FileManager.default.copyItem(atPath: source, toPath: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let file = URL(fileURLWithPath: folder + "/config.json")
    var json = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
    for (key, value) in changes { json[key] = value }
    try JSONSerialization.data(withJSONObject: json).write(to: file)
    return try Model(reading: folder)
  }

  /// A key, the JSON put under it (nothing removes the key), and what the sentence must say.
  static let cases: [(key: String, json: String?, says: String)] = [
    ("hidden_size", "0", "hidden size of 0"), ("hidden_size", "-64", "hidden size of -64"),
    ("hidden_size", "128", "where the configuration demands"), ("num_hidden_layers", "3", "no tensor"),
    ("num_hidden_layers", "1000000000", "number of layers"),
    ("num_attention_heads", "0", "num_attention_heads is 0"),
    ("num_key_value_heads", "3", "evenly"), ("head_dim", "15", "odd head dimension"),
    ("vocab_size", "129", "the embedding is"),
    ("intermediate_size", "97", "where the configuration demands"),
    ("model_type", "\"bert\"", "\"bert\" is not supported"),
    ("model_type", nil, "\"model_type\" is missing"), ("hidden_act", "\"gelu\"", "\"gelu\" is not supported"),
    ("rms_norm_eps", "-1", "norm epsilon"),
    ("vocab_size", "1e30", "\"vocab_size\" is missing or of the wrong type"),
    ("rope_parameters", #"{"rope_type":"yarn","rope_theta":1e4}"#, "\"yarn\" is not supported"),
    ("rope_parameters", #"{"rope_type":"llama3","rope_theta":1e4}"#, "\"factor\" is missing"),
    ("rope_parameters", #"{"rope_type":"linear","factor":0,"rope_theta":1e4}"#, "not positive"),
    ("quantization_config", #"{"quant_method":"gptq"}"#, "already quantized by \"gptq\""),
    ("quantization_config", #"{"quant_method":"lathe"}"#, "\"format_version\" is missing"),
    (
      "quantization_config",
      #"{"quant_method":"lathe","format_version":99,"recipe":"","calibration":"","bits_per_weight":4,"encodings":{}}"#,
      "layout version 99"
    ),
  ]

  @Test("a configuration that cannot be is refused in words", arguments: cases.indices)
  func configuration(index: Int) throws {
    let (key, json, says) = Self.cases[index]
    let value = try json.map {
      try JSONSerialization.jsonObject(with: Data($0.utf8), options: [.fragmentsAllowed])
    }
    let problem = #expect(throws: Problem.self) { try Self.load([key: value]) }
    #expect(
      problem?.description.contains(says) == true,
      "\(problem?.description ?? "no problem") should say \(says)")
    #expect(problem?.kind == .badData)
    #expect(problem?.place != nil)
  }

  @Test("configurations mutated at random are models or sentences")
  func fuzz() throws {
    var random = SeededGenerator(seed: 11)
    let source = try Data(contentsOf: URL(fileURLWithPath: TestData.fixture("model/gqa/config.json")))
    let folder = NSTemporaryDirectory() + "lathe-fuzz-\(UUID().uuidString)"
    try FileManager.default.copyItem(atPath: TestData.fixture("model/gqa"), toPath: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for _ in 0..<300 {
      var data = source
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<data.count, using: &random)
        data[at] = UInt8.random(in: 32...126, using: &random)
      }
      try data.write(to: URL(fileURLWithPath: folder + "/config.json"))
      do { _ = try Model(reading: folder) } catch { #expect(!error.description.isEmpty) }
    }
  }
}
