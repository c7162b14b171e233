extension Architecture {
  /// Phi-3 (arXiv:2404.14219): a LLaMA whose projections are fused, query, key and value into one, gate and up into another.
  public static let phi3 = Architecture(
    names: ["phi3"],
    ggufName: "phi3",
    configurationKeys: .common("Phi3ForCausalLM"),
    tensorNames: .huggingFace(weights: [
      .query: "self_attn.qkv_proj", .key: "self_attn.qkv_proj", .value: "self_attn.qkv_proj",
      .output: "self_attn.o_proj", .gate: "mlp.gate_up_proj", .up: "mlp.gate_up_proj", .down: "mlp.down_proj",
    ]),
    ggufTensorNames: .gguf(replacing: [
      .query: "attn_qkv", .key: "attn_qkv", .value: "attn_qkv", .gate: "ffn_up", .up: "ffn_up",
    ]),
    ggufRotation: .halves,
    foldPoints: FoldPoint.gated)
}
