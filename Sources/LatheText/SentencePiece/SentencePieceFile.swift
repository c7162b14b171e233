internal import LatheTensor
internal import SwiftProtobuf

/// SentencePiece's `tokenizer.model`: a protocol-buffers message of scored pieces and rules for white space.
///
/// Source: github.com/google/sentencepiece, `src/sentencepiece_model.proto` and `src/bpe_model.cc`.
enum SentencePieceFile {
  static let format = TokenizerFormat(
    name: "SentencePiece", recognizes: { _, head in head.count > 1 && head[0] == 0x0A && head[1] != 0x7B },
    load: load)

  static func load(_ bytes: Bytes, _ settings: TokenizerSettings) throws(Problem) -> Tokenizer {
    guard bytes.count < 1 << 28 else {
      throw Problem(.badData, "a SentencePiece model of \(bytes.count) bytes", cure: "check the path")
    }
    let model: SentencePieceModel
    do {
      model = try SentencePieceModel(serializedBytes: bytes.elements(as: UInt8.self), partial: true)
    } catch {
      throw Problem(
        .badData, "not a SentencePiece model, or a damaged one", cure: "fetch the tokenizer again")
    }
    guard model.trainer.algorithm == 2 else {
      let names: [Int32: String] = [1: "unigram", 3: "word", 4: "character"]
      throw Problem(
        .badData,
        "the model is of the kind \(names[model.trainer.algorithm] ?? "\(model.trainer.algorithm)")",
        cure: "use a model made of byte-pair merges (BPE)")
    }
    var rules = WhitespaceRules()
    rules.addsDummyPrefix = model.normalizer.addsDummyPrefix
    rules.removesExtraWhitespace = model.normalizer.removesExtraWhitespace
    rules.escapesWhitespace = model.normalizer.escapesWhitespace
    rules.treatsWhitespaceAsSuffix = model.trainer.treatWhitespaceAsSuffix
    if !model.normalizer.characterMap.isEmpty {
      rules.characters = try CharacterMap([UInt8](model.normalizer.characterMap))
    }
    let tokens = model.pieces.map {
      ScoredVocabulary.Token(
        text: Array($0.text.utf8), score: $0.score,
        kind: ScoredVocabulary.Kind(rawValue: UInt8($0.kind.rawValue)) ?? .normal)
    }
    func control(_ text: String) -> Int32? {
      tokens.firstIndex { $0.kind == .control && $0.text.elementsEqual(text.utf8) }.map { Int32($0) }
    }
    let vocabulary = ScoredVocabulary(
      kind: "SentencePiece BPE", tokens: tokens,
      space: rules.escapesWhitespace ? WhitespaceRules.symbol : [0x20],
      rules: rules, beginning: control("<s>") ?? control("<bos>"), end: control("</s>") ?? control("<eos>"))
    return try vocabulary.tokenizer(settings)
  }
}
