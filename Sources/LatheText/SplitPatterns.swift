/// The patterns that byte-level tokenizers cut a text into words with, by the names GGUF files give them.
///
/// Source: the `tokenizer.json` of each model, and llama.cpp's `src/llama-vocab.cpp` for the names.
enum SplitPatterns {
  static let gpt2 =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
  static let llama3 =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
    + #"\s*[\r\n]+|\s+(?!\S)|\s+"#
  static let qwen2 =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
    + #"\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let tekken =
    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"#
    + #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"#
    + #"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let gpt4o =
    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"#
    + #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"#
    + #"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// The patterns of each pre-tokenizer, applied one after the other.
  static let named: [String: [String]] = [
    "default": [#"[\p{P}\$\+<=>\^~\|]+"#, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]"],
    "gpt-2": [gpt2], "gpt2": [gpt2], "olmo": [gpt2], "mpt": [gpt2], "phi-2": [gpt2], "jina-es": [gpt2],
    "llama-bpe": [llama3], "llama3": [llama3], "llama-v3": [llama3], "dbrx": [llama3], "smaug-bpe": [llama3],
    "falcon3": [llama3],
    "qwen2": [qwen2], "deepseek-r1-qwen": [qwen2], "stablelm2": [qwen2], "megrez": [qwen2],
    "smollm": [#"\p{N}"#, gpt2], "starcoder": [#"\p{N}"#, gpt2], "refact": [#"\p{N}"#, gpt2],
    "command-r": [#"\p{N}"#, gpt2], "codeshell": [#"\p{N}"#, gpt2], "exaone": [#"\p{N}"#, gpt2],
    "tekken": [tekken], "gpt-4o": [gpt4o], "llama4": [gpt4o],
  ]
}
