import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// The test vectors of llama.cpp's vocabularies.
@Suite(.enabled(if: TestData.isPresent)) struct GGUFTests {
  @Test(arguments: ["llama-spm", "llama-bpe", "gpt-2", "qwen2", "phi-3"])
  func vectors(_ name: String) throws {
    let path = try TestData.path("tokenizers/gguf-vocabularies/ggml-vocab-\(name).gguf")
    let tokenizer = try Tokenizer(gguf: readVocabulary(path))
    let separator = "\n__ggml_vocab_test__\n"
    let texts = split(try Bytes(mapping: path + ".inp").text, separator)
    let lines = try Bytes(mapping: path + ".out").text.split(
      separator: "\n", omittingEmptySubsequences: false)
    #expect(texts.count > 40)
    #expect(lines.last == "" && lines.count == texts.count + 1)
    for (text, line) in zip(texts, lines) {
      let ids = try tokenizer.encode(text, addingSpecialTokens: false, parsingSpecialTokens: false)
      #expect(ids == line.split(separator: " ").compactMap { Int32($0) }, "\(name) \(text.debugDescription)")
      #expect(tokenizer.decode(ids) == text || name == "phi-3", "\(name) \(text.debugDescription)")
    }
  }

  @Test func refusesContradictions() throws {
    var vocabulary = GGUFVocabulary(model: "llama", tokens: [[0x61]], scores: [0])
    #expect(try Tokenizer(gguf: vocabulary).vocabularySize == 1)
    vocabulary.scores = []
    #expect(throws: Problem.self) { try Tokenizer(gguf: vocabulary) }
    vocabulary.model = "gpt2"
    #expect(try Tokenizer(gguf: vocabulary).vocabularySize == 1)
    vocabulary.merges = [[0x61, 0x20]]
    #expect(throws: Problem.self) { try Tokenizer(gguf: vocabulary) }
    vocabulary.merges = []
    vocabulary.pre = "unheard-of"
    #expect(throws: Problem.self) { try Tokenizer(gguf: vocabulary) }
    vocabulary.pre = "default"
    vocabulary.beginningOfSequence = 1
    #expect(throws: Problem.self) { try Tokenizer(gguf: vocabulary) }
    vocabulary.model = "bert"
    #expect(throws: Problem.self) { try Tokenizer(gguf: vocabulary) }
  }

  /// Splits bytewise: a Swift `String` would take a line break and a mark after it for one character.
  private func split(_ text: String, _ separator: String) -> [String] {
    var parts: [String] = []
    var part: [UInt8] = []
    for byte in text.utf8 {
      part.append(byte)
      if part.count >= separator.utf8.count, part.suffix(separator.utf8.count).elementsEqual(separator.utf8) {
        parts.append(String(decoding: part.dropLast(separator.utf8.count), as: UTF8.self))
        part = []
      }
    }
    return parts + (part.isEmpty ? [] : [String(decoding: part, as: UTF8.self)])
  }
}

/// Reads the keys of a well-formed GGUF file that a vocabulary needs.
private func readVocabulary(_ path: String) throws -> GGUFVocabulary {
  var reader = Reader(bytes: try Bytes(mapping: path))
  var vocabulary = GGUFVocabulary(model: "", tokens: [])
  reader.at = 16
  let count: UInt64 = reader.number()
  for _ in 0..<count {
    let key = String(decoding: reader.string(), as: UTF8.self)
    let value = reader.value(reader.number())
    switch (key, value) {
    case ("tokenizer.ggml.model", .string(let text)): vocabulary.model = String(decoding: text, as: UTF8.self)
    case ("tokenizer.ggml.pre", .string(let text)): vocabulary.pre = String(decoding: text, as: UTF8.self)
    case ("tokenizer.ggml.tokens", .strings(let list)): vocabulary.tokens = list
    case ("tokenizer.ggml.merges", .strings(let list)): vocabulary.merges = list
    case ("tokenizer.ggml.scores", .numbers(let list)): vocabulary.scores = list.map { Float($0) }
    case ("tokenizer.ggml.token_type", .numbers(let list)): vocabulary.types = list.map { Int32($0) }
    case ("tokenizer.ggml.bos_token_id", .number(let id)): vocabulary.beginningOfSequence = Int32(id)
    case ("tokenizer.ggml.eos_token_id", .number(let id)): vocabulary.endOfSequence = [Int32(id)]
    case ("tokenizer.ggml.add_space_prefix", .number(let flag)): vocabulary.addsSpacePrefix = flag != 0
    default: break
    }
  }
  return vocabulary
}

private struct Reader {
  enum Value {
    case number(Double)
    case string([UInt8])
    case numbers([Double])
    case strings([[UInt8]])
  }

  let bytes: Bytes
  var at = 0

  mutating func number<T: BitwiseCopyable>() -> T {
    defer { at += MemoryLayout<T>.size }
    return bytes.load(at: at)
  }

  mutating func string() -> [UInt8] {
    let count = Int(number() as UInt64)
    defer { at += count }
    return bytes[at..<(at + count)].elements()
  }

  mutating func value(_ type: UInt32) -> Value {
    switch type {
    case 0, 7: return .number(Double(number() as UInt8))
    case 1: return .number(Double(number() as Int8))
    case 2: return .number(Double(number() as UInt16))
    case 3: return .number(Double(number() as Int16))
    case 4: return .number(Double(number() as UInt32))
    case 5: return .number(Double(number() as Int32))
    case 6: return .number(Double(number() as Float))
    case 8: return .string(string())
    case 10: return .number(Double(number() as UInt64))
    case 11: return .number(Double(number() as Int64))
    case 12: return .number(number())
    default:
      let element: UInt32 = number()
      let count: UInt64 = number()
      if element == 8 { return .strings((0..<count).map { _ in string() }) }
      return .numbers(
        (0..<count).map { _ in
          if case .number(let number) = value(element) { return number }
          return 0
        })
    }
  }
}
