import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// A megabyte without a space must not take time that grows with its square.
@Suite struct LongTextTests {
  @Test(arguments: ["a", " ", "\n", "é", "漢", "\u{2581}"]) func runsOfOneCharacter(_ character: String) throws
  {
    let tokenizer = try Tokenizer.load(path: novella)
    try expectProportionalTime(character) { text in
      let ids = try tokenizer.encode(text, addingSpecialTokens: false)
      #expect(ids.count > 0)
      if character != "\u{2581}" { #expect(tokenizer.decode(ids) == text) }
    }
  }

  @Test(.enabled(if: TestData.isPresent), arguments: ["a", " ", "漢", "\r\n\t"])
  func runsOfOneCharacterByBytes(_ character: String) throws {
    let tokenizer = try Tokenizer.load(path: TestData.path("tokenizers/llama3"))
    try expectProportionalTime(character) { text in
      for text in [text, text + "x"] {
        let ids = try tokenizer.encode(text)
        #expect(tokenizer.decode(ids) == text)
      }
    }
  }

  /// Sixteen times the text may take 64 times as long; 256 would be its square.
  private func expectProportionalTime(_ character: String, _ body: (String) throws -> Void) throws {
    let part = String(repeating: character, count: 1 << 16)
    let whole = String(repeating: character, count: 1 << 20)
    try body(part)
    let short = try ProcessorTime.measure { try body(part) }
    let long = try ProcessorTime.measure { try body(whole) }
    #expect(long < short * 64, "\(long) for a text 16 times that of \(short)")
  }
}
