import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// Damaged files of every kind: a problem with a sentence, or a tokenizer that works; never a trap.
@Suite struct FuzzTests {
  private static let files: [(name: String, path: String)] = [
    ("tokenizer.model", novella + "/tokenizer.model"), ("tokenizer.json", novella + "/tokenizer.json"),
  ]

  @Test func damagedFiles() throws {
    for (name, path) in FuzzTests.files { try fuzz(name, try Bytes(mapping: path)) }
  }

  @Test(.enabled(if: TestData.isPresent)) func damagedFilesOfOthers() throws {
    let ranks = try Bytes(mapping: TestData.path("tokenizers/llama3/tokenizer.model"))
    // The first ranks are enough, and quicker.
    let end = try #require((40_000..<ranks.count).first { ranks[$0] == 0x0A })
    try fuzz("tokenizer.model", ranks[0..<(end + 1)])
    try fuzz("tokenizer.bin", try Bytes(mapping: TestData.path("models/stories260K/tok512.bin")))
    try fuzz("tokenizer.model", try Bytes(mapping: TestData.path("models/stories260K/tok512.model")))
  }

  @Test func damagedSteps() throws {
    let text = """
      {"version": "1.0", "added_tokens": [{"id": 5, "content": "[X]", "lstrip": true, "rstrip": false,
      "single_word": true, "normalized": true, "special": true}], "normalizer": {"type": "Sequence", "normalizers":
      [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "a+?"}, "content": "b"}, {"type": "Strip",
      "strip_left": true, "strip_right": false}]}, "pre_tokenizer": {"type": "Sequence", "pretokenizers":
      [{"type": "Split", "pattern": {"Regex": "[^a-c]|(?<=b)c"}, "behavior": "MergedWithNext", "invert": false},
      {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}]}, "post_processor":
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id":
      "A", "type_id": 0}}], "special_tokens": {"[X]": {"id": "[X]", "ids": [5], "tokens": ["[X]"]}}}, "decoder":
      {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
      "model": {"type": "BPE", "unk_token": "u", "fuse_unk": true, "byte_fallback": false, "ignore_merges": false,
      "vocab": {"a": 0, "b": 1, "c": 2, "u": 3, "ab": 4, "\\u2581": 6, "\\u2581a": 7}, "merges": ["a b", ["▁", "a"]]}}
      """
    _ = try Tokenizer(Bytes(Array(text.utf8)), named: "tokenizer.json").encode("abcab [X] bc")
    try fuzz("tokenizer.json", Bytes(Array(text.utf8)))
  }

  @Test func damagedVocabularies() throws {
    let pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "ab", "\u{2581}", "\u{2581}a", "c", "abc"].map {
      Array($0.utf8)
    }
    let original = GGUFVocabulary(
      model: "llama", tokens: pieces, scores: pieces.indices.map { -Float($0) },
      types: [2, 3, 3, 6, 1, 1, 1, 1, 1, 4, 1], merges: [Array("a b".utf8), Array("ab c".utf8)],
      beginningOfSequence: 1, endOfSequence: [2])
    #expect(try Tokenizer(gguf: original).encode("abc") == [1, 7, 6, 9])
    var generator = SeededGenerator(state: 3)
    for round in 0..<4000 {
      var vocabulary = original
      if round % 2 == 1 { vocabulary.model = "gpt2" }
      for _ in 0..<Int.random(in: 1...3, using: &generator) { damage(&vocabulary, &generator) }
      check(vocabulary)
    }
  }

  private func check(_ vocabulary: GGUFVocabulary) {
    do {
      let tokenizer = try Tokenizer(gguf: vocabulary)
      _ = tokenizer.decode(try tokenizer.encode("abc <s> \u{2581}c\n"), skippingSpecialTokens: false)
    } catch {
      #expect(!error.what.isEmpty)
    }
  }

  private func damage(_ vocabulary: inout GGUFVocabulary, _ generator: inout SeededGenerator) {
    let at = Int.random(in: 0..<11, using: &generator)
    let noise = UInt8.random(in: 0...255, using: &generator)
    switch Int.random(in: 0..<8, using: &generator) {
    case 0: vocabulary.tokens[at] = []
    case 1: vocabulary.tokens[at] = [noise, 0xE2]
    case 2 where at < vocabulary.scores.count: vocabulary.scores[at] = at % 2 == 0 ? .nan : .infinity
    case 3: vocabulary.types[at] = Int32(noise) - 100
    case 4: vocabulary.scores.removeLast(at % 2)
    case 5: vocabulary.merges.append([UInt8](repeating: 0x20, count: at))
    case 6: vocabulary.beginningOfSequence = Int32(at) * 3 - 8
    default: vocabulary.endOfSequence = [Int32(at), .max >> Int32(noise % 31)]
    }
  }

  private func fuzz(_ name: String, _ original: Bytes) throws {
    var generator = SeededGenerator(state: UInt64(original.count))
    let bytes = original.elements(as: UInt8.self)
    let end = ProcessorTime.now + .seconds(2)
    var round = 0
    while round < 2000, ProcessorTime.now < end {
      check(name, damaged(bytes, round, &generator))
      round += 1
    }
    #expect(round > 20)
  }

  private func damaged(_ bytes: [UInt8], _ round: Int, _ generator: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    switch round % 4 {
    case 0: bytes.removeLast(Int.random(in: 1...bytes.count, using: &generator))
    case 1:
      for _ in 0..<Int.random(in: 1...8, using: &generator) {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] ^=
          1 << UInt8.random(in: 0..<8, using: &generator)
      }
    case 2:
      let at = Int.random(in: 0..<bytes.count, using: &generator)
      for i in at..<min(bytes.count, at + 4) { bytes[i] = UInt8.random(in: 0...255, using: &generator) }
    default:
      let at = Int.random(in: 0..<bytes.count, using: &generator)
      let end = min(bytes.count, at + Int.random(in: 1...64, using: &generator))
      bytes.replaceSubrange(
        at..<end, with: bytes[0..<Int.random(in: 0...min(64, bytes.count), using: &generator)])
    }
    return bytes
  }

  private func check(_ name: String, _ bytes: [UInt8]) {
    do {
      let tokenizer = try Tokenizer(Bytes(bytes), named: name)
      let ids = try tokenizer.encode("Hello <s> wörld\n\u{1F642} [X] 123  ab", addingSpecialTokens: true)
      _ = tokenizer.decode(ids + [-1, 0, .max, .min], skippingSpecialTokens: false)
    } catch {
      #expect(!error.what.isEmpty)
    }
  }
}
