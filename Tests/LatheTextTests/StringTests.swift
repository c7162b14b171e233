import Foundation
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

private struct Case: Decodable {
  let text: String
  let sentencepiece: [Int32]
  let tokenizers: [Int32]
  let decoded: String
  let decodedByTokenizers: String
  let llama2: [Int32]
  let llama3: [Int32]
  let phi3: [Int32]
  let stories: [Int32]

  enum CodingKeys: String, CodingKey {
    case text, sentencepiece, tokenizers, decoded, decodedByTokenizers
    case llama2 = "tokenizers/llama2/tokenizer.model"
    case llama3 = "tokenizers/llama3/tokenizer.model"
    case phi3 = "tokenizers/phi3/tokenizer.json"
    case stories = "models/stories260K/tok512.model"
  }
}

private struct Cases: Decodable {
  let cases: [Case]
}

/// Difficult strings, compared with sentencepiece, tiktoken and tokenizers.
@Suite struct StringTests {
  private let cases: [Case]

  init() throws { cases = try fixture("strings.json", as: Cases.self).cases }

  @Test func sentencePieceModel() throws {
    let tokenizer = try Tokenizer.load(path: novella + "/tokenizer.model")
    for item in cases {
      let ids = try tokenizer.encode(item.text, addingSpecialTokens: false, parsingSpecialTokens: false)
      #expect(ids == item.sentencepiece, "\(item.text.debugDescription)")
      #expect(tokenizer.decode(ids) == item.decoded, "\(item.text.debugDescription)")
    }
  }

  @Test func convertedModel() throws {
    let tokenizer = try Tokenizer.load(path: novella + "/tokenizer.json")
    #expect(tokenizer.beginningOfSequence == 1)
    #expect(tokenizer.endOfSequence == [2])
    #expect(tokenizer.addsBeginningOfSequence)
    for item in cases {
      let ids = try tokenizer.encode(item.text)
      #expect(ids == item.tokenizers, "\(item.text.debugDescription)")
      #expect(tokenizer.decode(ids) == item.decodedByTokenizers, "\(item.text.debugDescription)")
    }
  }

  @Test(.enabled(if: TestData.isPresent)) func publishedModels() throws {
    let all: [(String, (Case) -> [Int32], parses: Bool)] = [
      ("tokenizers/llama2/tokenizer.model", { $0.llama2 }, false),
      ("tokenizers/llama3/tokenizer.model", { $0.llama3 }, false),
      ("tokenizers/phi3/tokenizer.json", { $0.phi3 }, true),
      ("models/stories260K/tok512.model", { $0.stories }, false),
    ]
    for (path, expected, parses) in all {
      let tokenizer = try Tokenizer.load(path: TestData.path(path))
      for item in cases {
        let ids = try tokenizer.encode(item.text, addingSpecialTokens: false, parsingSpecialTokens: parses)
        #expect(ids == expected(item), "\(path) \(item.text.debugDescription)")
      }
    }
  }

  @Test(.enabled(if: TestData.isPresent)) func llama2cModel() throws {
    let binary = try Tokenizer.load(path: TestData.path("models/stories260K/tok512.bin"))
    #expect(binary.vocabularySize == 512)
    for item in cases {
      // llama2.c neither collapses white space nor knows that a symbol stands for it.
      let text = item.text.split(separator: " ").joined(separator: " ")
      guard !text.isEmpty, !text.contains("\u{2581}"), text == item.text else { continue }
      #expect(
        try binary.encode(text, addingSpecialTokens: false, parsingSpecialTokens: false) == item.stories,
        "\(text.debugDescription)")
    }
  }

  @Test func specialTokensInText() throws {
    for name in ["tokenizer.model", "tokenizer.json"] {
      let tokenizer = try Tokenizer.load(path: novella + "/" + name)
      #expect(try tokenizer.encode("<s>") == [1, 1])
      #expect(try tokenizer.encode("<s>", addingSpecialTokens: false) == [1])
      #expect(try tokenizer.encode("<s>", addingSpecialTokens: false, parsingSpecialTokens: false).count > 1)
      #expect(tokenizer.decode([1, 2]) == "")
      #expect(tokenizer.decode([1, 2], skippingSpecialTokens: false) == "<s></s>")
      #expect(tokenizer.id(of: "</s>") == 2)
      #expect(tokenizer.piece(of: 2) == "</s>")
      #expect(tokenizer.piece(of: -1) == nil)
      #expect(tokenizer.piece(of: 4096) == nil)
    }
  }

  @Test func invalidBytes() throws {
    let tokenizer = try Tokenizer.load(path: novella)
    #expect(
      try tokenizer.encode(Bytes([0x61, 0xFF, 0x62, 0xE2, 0x96]))
        == tokenizer.encode("a\u{FFFD}b\u{FFFD}"))
  }

  @Test func streamsAnySplit() throws {
    var generator = SeededGenerator(state: 7)
    for name in ["tokenizer.model", "tokenizer.json"] {
      let tokenizer = try Tokenizer.load(path: novella + "/" + name)
      for item in cases {
        let ids = try tokenizer.encode(item.text)
        expectStream(tokenizer, ids)
      }
      for _ in 0..<300 {
        let ids = (0..<40).map { _ in Int32.random(in: 0..<300, using: &generator) }
        expectStream(tokenizer, ids)
      }
    }
  }

  private func expectStream(_ tokenizer: Tokenizer, _ ids: [Int32]) {
    var bytes: [UInt8] = []
    var decoder = StreamDecoder(tokenizer)
    var text = ""
    for id in ids { text += decoder.append(id) }
    text += decoder.finish()
    // The pieces one after the other, as bytes, read at once.
    for id in ids where !tokenizer.isSpecial(id) {
      let piece = tokenizer.piece(of: id) ?? ""
      if piece.count == 6, piece.hasPrefix("<0x"), let byte = UInt8(piece.dropFirst(3).dropLast(), radix: 16)
      {
        bytes.append(byte)
      } else {
        bytes += piece.replacingOccurrences(of: "\u{2581}", with: " ").utf8
      }
    }
    if bytes.first == 0x20 { bytes.removeFirst() }
    #expect(text == String(decoding: bytes, as: UTF8.self))
    #expect(text == tokenizer.decode(ids))
  }
}
