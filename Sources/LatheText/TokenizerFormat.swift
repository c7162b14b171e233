internal import LatheTensor

/// A kind of file that a tokenizer is read from.
struct TokenizerFormat: Sendable {
  /// The name, as problems and lists show it.
  let name: String
  /// Whether a file is of this kind, by its name in lower case and its first bytes.
  let recognizes: @Sendable (_ name: String, _ head: Bytes) -> Bool
  /// Reads a tokenizer, given what the files beside it say.
  let load: @Sendable (Bytes, TokenizerSettings) throws(Problem) -> Tokenizer

  /// Every kind there is, the one whose recognition is surest first.
  static let all: [TokenizerFormat] = [
    HuggingFaceFile.format,
    Llama2cFile.format,
    SentencePieceFile.format,
    TiktokenFile.format,
  ]
}
