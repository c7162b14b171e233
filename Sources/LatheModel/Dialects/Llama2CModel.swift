public import LatheFormats
public import LatheTensor

/// A llama2.c checkpoint: a LLaMA with interleaved rotation and fixed constants.
public enum Llama2CDialect: CheckpointDialect {
  public static let name = "llama2.c"

  public static func recognises(_ checkpoint: Checkpoint, at path: String) -> Bool {
    checkpoint.format == Llama2C.name
  }

  public static func model(from checkpoint: Checkpoint, at path: String) throws(Problem) -> Model {
    func count(_ key: String) throws(Problem) -> Int {
      guard let count = checkpoint.metadata["llama2c." + key]?.integer else {
        throw Problem(.badData, "the header lacks \(key)")
      }
      return count
    }
    let hidden = try count("dim"), heads = try count("n_heads")
    guard heads > 0 else { throw Problem(.badData, "the file claims \(heads) attention heads") }
    let configuration = Configuration(
      hiddenSize: hidden, layers: try count("n_layers"), heads: heads, keyValueHeads: try count("n_kv_heads"),
      headDimension: hidden / heads, feedForwardSize: try count("hidden_dim"),
      vocabularySize: try count("vocab_size"),
      contextLength: try count("seq_len"), normEpsilon: 1e-5,
      rotary: RotaryConfiguration(base: 10000, pairing: .interleaved),
      tiesEmbeddings: checkpoint["lm_head.weight"] == nil)
    return try checkpoint.model(.llama, configuration, names: .huggingFace) { (name) throws(Problem) in
      try checkpoint.matrix(name)
    }
  }
}
