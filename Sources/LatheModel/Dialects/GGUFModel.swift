public import LatheFormats
public import LatheTensor

/// A GGUF file, as llama.cpp reads and writes it.
public enum GGUFDialect: CheckpointDialect {
  public static let name = "GGUF"

  public static func recognises(_ checkpoint: Checkpoint, at path: String) -> Bool {
    checkpoint.format == GGUF.name
  }

  public static func model(from checkpoint: Checkpoint, at path: String) throws(Problem) -> Model {
    guard let type = checkpoint.metadata["general.architecture"]?.text else {
      throw Problem(
        .badData, "the file does not name its architecture", cure: "general.architecture is missing")
    }
    guard let architecture = Architecture.named(gguf: type) else {
      throw Problem(
        .badData, "the architecture \"\(type)\" is not supported",
        cure: "supported are \(Architecture.all.map(\.ggufName).joined(separator: ", "))")
    }
    guard !checkpoint.tensors.isEmpty else {
      throw Problem(
        .badData, "the file holds a vocabulary and no weights", cure: "use it with `lathe tokenize`")
    }
    let configuration = try configuration(from: checkpoint, architecture)
    return try checkpoint.model(architecture, configuration, names: architecture.ggufTensorNames) {
      (name) throws(Problem) in try checkpoint.matrix(name)
    }
  }

  private static func configuration(from checkpoint: Checkpoint, _ architecture: Architecture) throws(Problem)
    -> Configuration
  {
    let prefix = architecture.ggufName + "."
    func value(_ key: String) -> MetadataValue? { checkpoint.metadata[prefix + key] }
    func count(_ key: String) throws(Problem) -> Int {
      guard let count = value(key)?.integer else {
        throw Problem(.badData, "\"\(prefix)\(key)\" is missing or not a whole number")
      }
      return count
    }
    if let experts = value("expert_count")?.integer, experts > 0 {
      throw Problem(.badData, "a mixture of \(experts) experts is not supported")
    }
    let embedding = try checkpoint.tensor("token_embd.weight")
    let heads = try count("attention.head_count")
    let hidden = try count("embedding_length")
    guard heads > 0 else { throw Problem(.badData, "the file claims \(heads) attention heads") }
    let dimension = value("attention.key_length")?.integer ?? hidden / heads
    guard (value("attention.value_length")?.integer ?? dimension) == dimension,
      (value("rope.dimension_count")?.integer ?? dimension) == dimension
    else { throw Problem(.badData, "key, value and rotary dimensions that differ are not supported") }
    return Configuration(
      hiddenSize: hidden, layers: try count("block_count"), heads: heads,
      keyValueHeads: value("attention.head_count_kv")?.integer ?? heads, headDimension: dimension,
      feedForwardSize: try count("feed_forward_length"), vocabularySize: embedding.shape.first ?? 0,
      contextLength: value("context_length")?.integer ?? 2048,
      normEpsilon: Float(value("attention.layer_norm_rms_epsilon")?.number ?? 1e-5),
      rotary: try rotary(from: checkpoint, architecture), tiesEmbeddings: checkpoint["output.weight"] == nil)
  }

  private static func rotary(from checkpoint: Checkpoint, _ architecture: Architecture) throws(Problem)
    -> RotaryConfiguration
  {
    let prefix = architecture.ggufName + ".rope."
    var rotary = RotaryConfiguration(
      base: Float(checkpoint.metadata[prefix + "freq_base"]?.number ?? 10000),
      pairing: architecture.ggufRotation)
    if checkpoint["rope_freqs.weight"] != nil {
      rotary.scaling = .factors(try checkpoint.vector("rope_freqs.weight"))
      return rotary
    }
    switch checkpoint.metadata[prefix + "scaling.type"]?.text ?? "none" {
    case "none": break
    case "linear":
      rotary.scaling = .linear(factor: Float(checkpoint.metadata[prefix + "scaling.factor"]?.number ?? 1))
    case let other:
      throw Problem(
        .badData, "the rotary scaling \"\(other)\" is not supported", cure: "supported are none, linear")
    }
    return rotary
  }
}
