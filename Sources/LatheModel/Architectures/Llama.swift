extension Architecture {
  /// LLaMA 1 to 3.2: RMS norms, rotary positions, grouped queries, SwiGLU (arXiv:2302.13971, 2307.09288, 2407.21783).
  public static let llama = Architecture(
    names: ["llama"],
    ggufName: "llama",
    tensorNames: .huggingFace,
    ggufTensorNames: .gguf,
    ggufRotation: .interleaved,
    foldPoints: [
      FoldPoint(consumers: [.query, .key, .value], producer: .attentionNorm),
      FoldPoint(consumers: [.output], producer: .weight(.value)),
      FoldPoint(consumers: [.gate, .up], producer: .feedForwardNorm),
      FoldPoint(consumers: [.down], producer: .weight(.up)),
    ])
}

extension TensorNames {
  /// The names of Hugging Face's LLaMA and the many models that follow it.
  public static let huggingFace = TensorNames(
    embedding: "model.embed_tokens", finalNorm: "model.norm", head: "lm_head",
    attentionNorm: "model.layers.#.input_layernorm",
    feedForwardNorm: "model.layers.#.post_attention_layernorm",
    weights: [
      .query: "model.layers.#.self_attn.q_proj", .key: "model.layers.#.self_attn.k_proj",
      .value: "model.layers.#.self_attn.v_proj", .output: "model.layers.#.self_attn.o_proj",
      .gate: "model.layers.#.mlp.gate_proj", .up: "model.layers.#.mlp.up_proj",
      .down: "model.layers.#.mlp.down_proj",
    ])

  /// GGUF's names.
  public static let gguf = TensorNames(
    embedding: "token_embd", finalNorm: "output_norm", head: "output",
    attentionNorm: "blk.#.attn_norm", feedForwardNorm: "blk.#.ffn_norm",
    weights: [
      .query: "blk.#.attn_q", .key: "blk.#.attn_k", .value: "blk.#.attn_v", .output: "blk.#.attn_output",
      .gate: "blk.#.ffn_gate", .up: "blk.#.ffn_up", .down: "blk.#.ffn_down",
    ])
}
