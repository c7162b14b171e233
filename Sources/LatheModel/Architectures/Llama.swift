extension Architecture {
  /// LLaMA 1 to 3.2: RMS norms, rotary positions, grouped queries, SwiGLU (arXiv:2302.13971, 2307.09288, 2407.21783).
  public static let llama = Architecture(
    names: ["llama"],
    ggufName: "llama",
    configurationKeys: .common("LlamaForCausalLM"),
    tensorNames: .huggingFace,
    ggufTensorNames: .gguf,
    ggufRotation: .interleaved,
    foldPoints: FoldPoint.gated)
}

extension FoldPoint {
  /// Those of a block with a norm before each part, and a gated feed-forward part.
  static let gated = [
    FoldPoint(consumers: [.query, .key, .value], producer: .attentionNorm),
    FoldPoint(consumers: [.output], producer: .weight(.value)),
    FoldPoint(consumers: [.gate, .up], producer: .feedForwardNorm),
    FoldPoint(consumers: [.down], producer: .weight(.up)),
  ]
}

extension TensorNames {
  /// The names of Hugging Face's LLaMA and the many models that follow it.
  public static let huggingFace = huggingFace(weights: [
    .query: "self_attn.q_proj", .key: "self_attn.k_proj", .value: "self_attn.v_proj",
    .output: "self_attn.o_proj", .gate: "mlp.gate_proj", .up: "mlp.up_proj", .down: "mlp.down_proj",
  ])

  /// Names of the same kind, the weights inside a block called otherwise.
  static func huggingFace(weights: [Role: String]) -> TensorNames {
    TensorNames(
      embedding: "model.embed_tokens", finalNorm: "model.norm", head: "lm_head",
      norms: [
        .attention: "model.layers.#.input_layernorm",
        .feedForward: "model.layers.#.post_attention_layernorm",
      ],
      weights: weights.mapValues { "model.layers.#." + $0 })
  }

  /// GGUF's names.
  public static let gguf = gguf(replacing: [:])

  /// GGUF's names, those of some weights replaced.
  static func gguf(replacing names: [Role: String]) -> TensorNames {
    let weights: [Role: String] = [
      .query: "attn_q", .key: "attn_k", .value: "attn_v", .output: "attn_output", .gate: "ffn_gate",
      .up: "ffn_up", .down: "ffn_down",
    ]
    return TensorNames(
      embedding: "token_embd", finalNorm: "output_norm", head: "output",
      norms: [
        .attention: "blk.#.attn_norm", .feedForward: "blk.#.ffn_norm", .query: "blk.#.attn_q_norm",
        .key: "blk.#.attn_k_norm",
      ],
      weights: weights.merging(names) { $1 }.mapValues { "blk.#." + $0 })
  }
}
