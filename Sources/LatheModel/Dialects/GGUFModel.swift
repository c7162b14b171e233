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
    let sizes = try layerSizes(from: checkpoint, prefix: prefix, layers: try count("block_count"))
    let hidden = try count("embedding_length")
    let dimension = value("attention.key_length")?.integer ?? hidden / sizes[0].heads
    guard (value("attention.value_length")?.integer ?? dimension) == dimension,
      (value("rope.dimension_count")?.integer ?? dimension) == dimension
    else { throw Problem(.badData, "key, value and rotary dimensions that differ are not supported") }
    let window = value("attention.sliding_window")?.integer ?? 0
    let headNorm = architecture.ggufTensorNames.tensor(of: .query, in: 0) ?? ""
    return Configuration(
      hiddenSize: hidden, layers: sizes.count, heads: sizes[0].heads, keyValueHeads: sizes[0].keyValueHeads,
      headDimension: dimension, feedForwardSize: sizes[0].feedForwardSize,
      vocabularySize: embedding.shape.first ?? 0, contextLength: value("context_length")?.integer ?? 2048,
      normEpsilon: Float(value("attention.layer_norm_rms_epsilon")?.number ?? 1e-5),
      rotary: try rotary(from: checkpoint, architecture), tiesEmbeddings: checkpoint["output.weight"] == nil,
      normalizesHeads: checkpoint[headNorm] != nil, attentionWindow: window > 0 ? window : nil
    ).with(sizes)
  }

  /// Heads and widths, each given for all layers or for each.
  private static func layerSizes(
    from checkpoint: Checkpoint, prefix: String, layers: Int
  ) throws(Problem) -> [LayerSizes] {
    guard (1...4096).contains(layers) else {
      throw Problem(.badData, "a number of layers of \(layers) is out of range (1 to 4096)")
    }
    func counts(_ key: String) throws(Problem) -> [Int]? {
      guard let value = checkpoint.metadata[prefix + key] else { return nil }
      guard let counts = value.integers, value.array == nil || counts.count == layers else {
        throw Problem(
          .badData, "\"\(prefix)\(key)\" is no whole number, nor one for each of \(layers) layers")
      }
      return value.array == nil ? [Int](repeating: counts[0], count: layers) : counts
    }
    func required(_ key: String) throws(Problem) -> [Int] {
      guard let counts = try counts(key) else {
        throw Problem(.badData, "\"\(prefix)\(key)\" is missing or not a whole number")
      }
      return counts
    }
    let heads = try required("attention.head_count"), widths = try required("feed_forward_length")
    let shared = try counts("attention.head_count_kv") ?? heads
    guard let few = heads.min(), few > 0 else {
      throw Problem(.badData, "the file claims \(heads.min() ?? 0) attention heads")
    }
    return heads.indices.map {
      LayerSizes(heads: heads[$0], keyValueHeads: shared[$0], feedForwardSize: widths[$0])
    }
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
    if checkpoint["rope_factors_long.weight"] != nil {
      rotary.scaling = .long(try longRotary(from: checkpoint, prefix))
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

  private static func longRotary(from checkpoint: Checkpoint, _ prefix: String) throws(Problem) -> LongRotary
  {
    guard let original = checkpoint.metadata[prefix + "scaling.original_context_length"]?.integer else {
      throw Problem(.badData, "\"\(prefix)scaling.original_context_length\" is missing or not a whole number")
    }
    return LongRotary(
      short: try checkpoint.vector("rope_factors_short.weight"),
      long: try checkpoint.vector("rope_factors_long.weight"), originalContext: original,
      attentionFactor: Float(checkpoint.metadata[prefix + "scaling.attn_factor"]?.number ?? 1))
  }
}
