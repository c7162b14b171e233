import Benchmark
import Foundation
import LatheModel

/// Opening a model of more than four gigabytes, which costs its headers alone. The file is sparse: it takes no room.
func openingBenchmarks() {
  Benchmark("open a model of 4.5 GB") { benchmark in
    let folder = NSTemporaryDirectory() + "lathe-benchmark-\(UUID().uuidString)"
    try writeSparseModel(to: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    benchmark.startMeasurement()
    blackHole(try Model(reading: folder))
    benchmark.stopMeasurement()
  }
}

private func writeSparseModel(to folder: String) throws {
  let (hidden, layers, heads, feedForward, vocabulary) = (2048, 32, 16, 8192, 32000)
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  let config: [String: Any] = [
    "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
    "intermediate_size": feedForward, "vocab_size": vocabulary, "tie_word_embeddings": false,
  ]
  try JSONSerialization.data(withJSONObject: config).write(to: URL(fileURLWithPath: folder + "/config.json"))
  var entries: [String] = []
  var end = 0
  func add(_ name: String, _ shape: [Int]) {
    let start = end
    end += 2 * shape.reduce(1, *)
    entries.append(#""\#(name)":{"dtype":"F16","shape":\#(shape),"data_offsets":[\#(start),\#(end)]}"#)
  }
  add("model.embed_tokens.weight", [vocabulary, hidden])
  for layer in 0..<layers {
    for name in ["input_layernorm", "post_attention_layernorm"] {
      add("model.layers.\(layer).\(name).weight", [hidden])
    }
    for name in ["q", "k", "v", "o"] {
      add("model.layers.\(layer).self_attn.\(name)_proj.weight", [hidden, hidden])
    }
    for name in ["gate", "up"] {
      add("model.layers.\(layer).mlp.\(name)_proj.weight", [feedForward, hidden])
    }
    add("model.layers.\(layer).mlp.down_proj.weight", [hidden, feedForward])
  }
  add("model.norm.weight", [hidden])
  add("lm_head.weight", [vocabulary, hidden])
  let header = Data("{\(entries.joined(separator: ","))}".utf8)
  var head = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) }
  head.append(header)
  let file = URL(fileURLWithPath: folder + "/model.safetensors")
  try head.write(to: file)
  let handle = try FileHandle(forWritingTo: file)
  try handle.truncate(atOffset: UInt64(head.count + end))
  try handle.close()
}
