internal import LatheTensor

extension Architecture {
  /// OpenELM (arXiv:2404.14619): heads and feed-forward widths that grow from block to block, queries and keys normalized
  /// head by head, fused projections.
  public static let openELM = Architecture(
    names: ["openelm"],
    ggufName: "openelm",
    configurationKeys: ConfigurationKeys(read: OpenELM.configuration, write: OpenELM.members),
    tensorNames: TensorNames(
      embedding: "transformer.token_embeddings", finalNorm: "transformer.norm", head: "lm_head",
      norms: [
        .attention: "transformer.layers.#.attn_norm", .feedForward: "transformer.layers.#.ffn_norm",
        .query: "transformer.layers.#.attn.q_norm", .key: "transformer.layers.#.attn.k_norm",
      ],
      weights: [
        .query: "transformer.layers.#.attn.qkv_proj", .key: "transformer.layers.#.attn.qkv_proj",
        .value: "transformer.layers.#.attn.qkv_proj", .output: "transformer.layers.#.attn.out_proj",
        .gate: "transformer.layers.#.ffn.proj_1", .up: "transformer.layers.#.ffn.proj_1",
        .down: "transformer.layers.#.ffn.proj_2",
      ]),
    ggufTensorNames: .gguf(replacing: [.query: "attn_qkv", .key: "attn_qkv", .value: "attn_qkv"]),
    ggufRotation: .halves,
    foldPoints: FoldPoint.gated)
}

/// The keys of `config.json` by which OpenELM describes its sizes, source: the authors' `configuration_openelm.py`.
enum OpenELM {
  static func configuration(from json: JSONObject, tied: Bool) throws(Problem) -> Configuration {
    func count(_ key: String) throws(Problem) -> Int { try json.required(key, json.integer(key)) }
    func list(_ key: String) throws(Problem) -> [Double] { try json.required(key, json.numbers(key)) }
    for (key, expected) in [("activation_fn_name", "swish"), ("normalization_layer_name", "rms_norm")] {
      if let value = json.text(key), value != expected {
        throw Problem(
          .badData, "the \(key) \"\(value)\" is not supported", at: json.place,
          cure: "supported is \(expected)")
      }
    }
    guard json.flag("ffn_with_glu") ?? true else {
      throw Problem(.badData, "a feed-forward part without a gate is not supported", at: json.place)
    }
    let hidden = try count("model_dim"), divisor = try count("ffn_dim_divisor")
    let heads = try list("num_query_heads"), shared = try list("num_kv_heads")
    let multipliers = try list("ffn_multipliers"), layers = try count("num_transformer_layers")
    for (key, count) in [
      ("num_query_heads", heads.count), ("num_kv_heads", shared.count),
      ("ffn_multipliers", multipliers.count),
    ] where count != layers || count == 0 {
      throw Problem(
        .badData, "\"\(key)\" has \(count) values where the model has \(layers) layers", at: json.place)
    }
    var rotary = try ConfigurationKeys.rotary(from: json)
    if let base = json.number("rope_freq_constant") { rotary.base = Float(base) }
    var sizes: [LayerSizes] = []
    for layer in heads.indices {
      guard let heads = Int(exactly: heads[layer]), let shared = Int(exactly: shared[layer]),
        let size = feedForwardSize(multipliers[layer] * Double(hidden), divisor: divisor)
      else { throw Problem(.badData, "the sizes of layer \(layer) are out of range", at: json.place) }
      sizes.append(LayerSizes(heads: heads, keyValueHeads: shared, feedForwardSize: size))
    }
    return Configuration(
      hiddenSize: hidden, layers: layers, heads: 1, keyValueHeads: 1,
      headDimension: try count("head_dim"), feedForwardSize: 1, vocabularySize: try count("vocab_size"),
      contextLength: json.integer("max_context_length") ?? 2048,
      // The authors' constant, which no key of theirs names.
      normEpsilon: Float(json.number("rms_norm_eps") ?? 1e-6), rotary: rotary,
      tiesEmbeddings: json.flag("share_input_output_layers") ?? tied,
      normalizesHeads: json.flag("normalize_qk_projections") ?? true
    ).with(sizes)
  }

  /// `size` to the nearest multiple of `divisor`, but never more than a tenth below it; nil where that is no width.
  static func feedForwardSize(_ size: Double, divisor: Int) -> Int? {
    guard (1...1 << 24).contains(divisor), size > 0, size < 0x1p24 else { return nil }
    let rounded = max(divisor, Int(size + Double(divisor) / 2) / divisor * divisor)
    return Double(rounded) < 0.9 * size ? rounded + divisor : rounded
  }

  static func members(of c: Configuration) -> [String: Any] {
    let sizes = c.sizes
    return [
      "architectures": ["OpenELMForCausalLM"], "model_dim": c.hiddenSize, "num_transformer_layers": c.layers,
      "head_dim": c.headDimension, "num_query_heads": sizes.map(\.heads),
      "num_kv_heads": sizes.map(\.keyValueHeads),
      "ffn_multipliers": sizes.map { Double($0.feedForwardSize) / Double(c.hiddenSize) },
      "ffn_dim_divisor": sizes.map(\.feedForwardSize).reduce(0, commonDivisor),
      "vocab_size": c.vocabularySize, "max_context_length": c.contextLength,
      "rope_freq_constant": Double(c.rotary.base), "rope_max_length": 2 * c.contextLength,
      "rope_parameters": ConfigurationKeys.members(of: c.rotary), "rms_norm_eps": Double(c.normEpsilon),
      "normalize_qk_projections": c.normalizesHeads, "share_input_output_layers": c.tiesEmbeddings,
      "activation_fn_name": "swish", "normalization_layer_name": "rms_norm", "ffn_with_glu": true,
    ]
  }

  private static func commonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : commonDivisor(b, a % b) }
}
