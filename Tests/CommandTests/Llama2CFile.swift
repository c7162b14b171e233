import Foundation
import Testing

/// Writes a model's folder as a llama2.c checkpoint, from the layout's description alone.
enum Llama2CFile {
  /// The checkpoint of the model in `folder`, a LLaMA in bfloat16 whose head is its embedding.
  static func make(from folder: String) throws -> Data {
    let config = try object(Data(contentsOf: URL(fileURLWithPath: folder + "/config.json")))
    let keys = [
      "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
      "vocab_size", "max_position_embeddings",
    ]
    let sizes = try keys.map { try #require(config[$0] as? Int) }
    let dimension = sizes[0] / sizes[3]
    let tensors = try Tensors(folder + "/model.safetensors")
    var data = Data()
    for size in sizes { withUnsafeBytes(of: Int32(size).littleEndian) { data.append(contentsOf: $0) } }
    func append(_ floats: [Float]) { floats.withUnsafeBytes { data.append(contentsOf: $0) } }
    func layers(_ name: String, pairing: Bool = false) throws {
      for layer in 0..<sizes[2] {
        let values = try tensors.floats("model.layers.\(layer).\(name).weight")
        append(pairing ? interleaved(values, width: sizes[0], dimension: dimension) : values)
      }
    }
    append(try tensors.floats("model.embed_tokens.weight"))
    try layers("input_layernorm")
    for name in ["q", "k"] { try layers("self_attn.\(name)_proj", pairing: true) }
    for name in ["v", "o"] { try layers("self_attn.\(name)_proj") }
    try layers("post_attention_layernorm")
    for name in ["gate", "down", "up"] { try layers("mlp.\(name)_proj") }
    append(try tensors.floats("model.norm.weight"))
    // Two tables of the rotation, which no reader needs.
    append([Float](repeating: 0, count: sizes[6] * dimension))
    return data
  }

  private static func object(_ data: Data) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  /// Rows whose rotated pairs lie half a head apart, put side by side.
  private static func interleaved(_ values: [Float], width: Int, dimension: Int) -> [Float] {
    var out: [Float] = []
    for row in 0..<values.count / width {
      let head = row / dimension, place = row % dimension
      let from = (head * dimension + place % 2 * (dimension / 2) + place / 2) * width
      out += values[from..<from + width]
    }
    return out
  }

  /// The tensors of a safetensors file.
  private struct Tensors {
    let header: [String: Any]
    let body: Data

    init(_ path: String) throws {
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      header = try Llama2CFile.object(data[8..<8 + length])
      body = data[(8 + length)...]
    }

    func floats(_ name: String) throws -> [Float] {
      let entry = try #require(header[name] as? [String: Any], "\(name)")
      let range = try #require(entry["data_offsets"] as? [Int])
      try #require(entry["dtype"] as? String == "BF16")
      let bytes = [UInt8](body[body.startIndex + range[0]..<body.startIndex + range[1]])
      return stride(from: 0, to: bytes.count, by: 2).map {
        Float(bitPattern: (UInt32(bytes[$0]) | UInt32(bytes[$0 + 1]) << 8) << 16)
      }
    }
  }
}
