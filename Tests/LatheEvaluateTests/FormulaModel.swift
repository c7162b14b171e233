import Foundation
import LatheTestSupport

/// A model with LLaMA-3's vocabulary whose weights a formula gives, as `Scripts/fixtures/task_models.py` makes it.
enum FormulaModel {
  /// Writes the model into a new folder.
  static func write() throws -> String {
    let folder = NSTemporaryDirectory() + "lathe-formula-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let hidden = 32, layers = 2, narrow = 16, wide = 64, vocabulary = 128_256
    try Data(
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": \(hidden),
       "intermediate_size": \(wide), "num_hidden_layers": \(layers), "num_attention_heads": 4,
       "num_key_value_heads": 2, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
       "vocab_size": \(vocabulary), "bos_token_id": 128000, "eos_token_id": 128001, "tie_word_embeddings": true,
       "hidden_act": "silu"}
      """.utf8
    ).write(to: URL(fileURLWithPath: folder + "/config.json"))
    var tensors: [(name: String, shape: [Int])] = [("model.embed_tokens.weight", [vocabulary, hidden])]
    for layer in 0..<layers {
      let block = "model.layers.\(layer)."
      tensors += [
        (block + "self_attn.q_proj.weight", [hidden, hidden]),
        (block + "self_attn.k_proj.weight", [narrow, hidden]),
        (block + "self_attn.v_proj.weight", [narrow, hidden]),
        (block + "self_attn.o_proj.weight", [hidden, hidden]),
        (block + "mlp.gate_proj.weight", [wide, hidden]), (block + "mlp.up_proj.weight", [wide, hidden]),
        (block + "mlp.down_proj.weight", [hidden, wide]),
      ]
    }
    var header: [String: Any] = [:]
    var data = Data()
    func add(_ name: String, _ shape: [Int], _ values: [Float]) {
      let start = data.count
      values.withUnsafeBytes { data.append(contentsOf: $0) }
      header[name] = ["dtype": "F32", "shape": shape, "data_offsets": [start, data.count]] as [String: Any]
    }
    for (number, tensor) in tensors.enumerated() {
      let values = formula(
        UInt64(number + 1), tensor.shape.reduce(1, *), scale: number == 0 ? 0.6 : 0.5)
      add(tensor.name, tensor.shape, values)
    }
    let ones = [Float](repeating: 1, count: hidden)
    for layer in 0..<layers {
      add("model.layers.\(layer).input_layernorm.weight", [hidden], ones)
      add("model.layers.\(layer).post_attention_layernorm.weight", [hidden], ones)
    }
    add("model.norm.weight", [hidden], ones)
    let text = try JSONSerialization.data(withJSONObject: header)
    var file = Data()
    withUnsafeBytes(of: UInt64(text.count).littleEndian) { file.append(contentsOf: $0) }
    try (file + text + data).write(to: URL(fileURLWithPath: folder + "/model.safetensors"))
    try FileManager.default.copyItem(
      atPath: TestData.path("tokenizers/llama3/tokenizer.model"), toPath: folder + "/tokenizer.model")
    return folder
  }

  private static func formula(_ tensor: UInt64, _ count: Int, scale: Float) -> [Float] {
    var state = tensor << 32
    return (0..<count).map { _ in
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      z ^= z >> 31
      return (Float(z >> 40) / Float(1 << 24) - 0.5) * (2 * scale)
    }
  }
}
