import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// A megabyte without a space must not take time that grows with its square.
@Suite struct LongTextTests {
  @Test(.timeLimit(.minutes(1))) func runsOfOneCharacter() throws {
    let tokenizer = try Tokenizer.load(path: novella)
    for character in ["a", " ", "\n", "é", "漢", "\u{2581}"] {
      let text = String(repeating: character, count: 1 << 20)
      let ids = try tokenizer.encode(text, addingSpecialTokens: false)
      #expect(ids.count > 0)
      if character != "\u{2581}" { #expect(tokenizer.decode(ids) == text) }
    }
  }

  @Test(.enabled(if: TestData.isPresent), .timeLimit(.minutes(1)))
  func runsOfOneCharacterByBytes() throws {
    let tokenizer = try Tokenizer.load(path: TestData.path("tokenizers/llama3"))
    for character in ["a", " ", "漢", "\r\n\t"] {
      let text = String(repeating: character, count: 1 << 20)
      #expect(tokenizer.decode(try tokenizer.encode(text)) == text)
      #expect(tokenizer.decode(try tokenizer.encode(text + "x")) == text + "x")
    }
  }
}
