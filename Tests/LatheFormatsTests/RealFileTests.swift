import LatheFormats
import LatheTensor
import LatheTestSupport
import Testing

@Suite(.enabled(if: TestData.isPresent)) struct RealFileTests {
  @Test func novella() throws {
    let checkpoint = try Checkpoint(reading: TestData.path("models/novella-6m"))
    #expect(checkpoint.format == "safetensors")
    #expect(checkpoint.tensors.count == 2 + 6 * 9)
    #expect(checkpoint["lm_head.weight"] == nil)
    let embedding = try checkpoint.tensor("model.embed_tokens.weight")
    #expect(embedding.shape == [4096, 256])
    #expect(embedding.type == .bf16)
    #expect(checkpoint.metadata["format"]?.text == "pt")
  }

  @Test func stories() throws {
    let checkpoint = try Checkpoint(reading: TestData.path("models/stories260K/stories260K.bin"))
    #expect(checkpoint.format == "llama2.c")
    #expect(checkpoint.metadata["llama2c.dim"]?.integer == 64)
    #expect(checkpoint["lm_head.weight"] == nil)
    let norm = try checkpoint.tensor("model.norm.weight").data.elements(as: Float.self)
    #expect(norm.count == 64)
    #expect(norm.allSatisfy { $0 > 0.1 && $0 < 20 })
    #expect(try checkpoint.tensor("model.layers.4.self_attn.k_proj.weight").shape == [32, 64])
  }

  @Test(arguments: ["gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"]) func vocabularies(_ name: String)
    throws
  {
    let path = try TestData.path("tokenizers/gguf-vocabularies/ggml-vocab-\(name).gguf")
    let start = ProcessorTime.now
    let checkpoint = try Checkpoint(reading: path)
    #expect(checkpoint.format == "GGUF")
    let tokens = try #require(checkpoint.metadata["tokenizer.ggml.tokens"]?.texts)
    #expect(ProcessorTime.now - start < .seconds(1))
    let types = try #require(checkpoint.metadata["tokenizer.ggml.token_type"]?.array?.int32s)
    #expect(tokens.count == types.count)
    let expected = [
      "gpt-2": 50257, "llama-bpe": 128_256, "llama-spm": 32000, "phi-3": 32064, "qwen2": 151_936,
    ]
    #expect(tokens.count == expected[name])
    if name == "llama-bpe" {
      #expect(tokens[128_000] == "<|begin_of_text|>")
      #expect(checkpoint.metadata["tokenizer.ggml.merges"]?.texts?.count == 280_147)
      #expect(checkpoint.metadata["tokenizer.ggml.bos_token_id"]?.integer == 128_000)
    }
  }
}

/// Files other programs wrote, kept with the project.
struct FixtureTests {
  @Test(arguments: ["gqa", "bfloat16", "float16", "sharded"]) func modelsOfTransformers(_ name: String) throws
  {
    let checkpoint = try Checkpoint(reading: TestData.fixture("model/" + name))
    #expect(checkpoint.files.count == (name == "sharded" ? 4 : 1))
    #expect(try checkpoint.tensor("model.layers.1.mlp.down_proj.weight").shape == [64, 96])
    let types: [String: StorageType] = ["gqa": .f32, "bfloat16": .bf16, "float16": .f16, "sharded": .f16]
    #expect(checkpoint.tensors.allSatisfy { $0.type == types[name] })
    #expect(checkpoint.tensors.count == (name == "sharded" ? 20 : 21))
    let logits = try Checkpoint(reading: TestData.fixture("model/\(name)/logits.safetensors"))
    #expect(try logits.tensor("ids").data.elements(as: Int32.self).count == 40)
    #expect(try logits.tensor("logits").shape == [40, 128])
  }
}
