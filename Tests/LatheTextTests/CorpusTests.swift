import Foundation
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

private struct Reference: Decodable {
  let corpus: String
  let tokenizer: String
  let count: Int
  let fnv1a64: String
}

private struct References: Decodable {
  let results: [Reference]
}

/// Whole corpora, compared with sentencepiece, tiktoken and tokenizers by count and digest.
@Suite(.enabled(if: TestData.isPresent)) struct CorpusTests {
  @Test func idsOfWholeCorpora() throws {
    let references = try fixture("corpora.json", as: References.self).results
    #expect(references.count == 16)
    var tokenizers: [String: Tokenizer] = [:]
    for reference in references {
      let path = try TestData.path(reference.tokenizer)
      let tokenizer = try tokenizers[path] ?? Tokenizer.load(path: path)
      tokenizers[path] = tokenizer
      var ids: [Int32] = []
      for text in try texts(reference.corpus) {
        // Of the three packages only `tokenizers` looks for added tokens in a text.
        ids += try tokenizer.encode(
          text, addingSpecialTokens: false, parsingSpecialTokens: path.hasSuffix(".json"))
      }
      #expect(ids.count == reference.count, "\(reference.corpus) \(reference.tokenizer)")
      #expect(digest(ids) == reference.fnv1a64, "\(reference.corpus) \(reference.tokenizer)")
    }
  }

  @Test func countsOfTheField() throws {
    let joined = try #require(try texts("wikitext2/joined").first)
    let llama2 = try Tokenizer.load(path: TestData.path("tokenizers/llama2"))
    #expect(try llama2.encode(joined).count == 341_469)
    let file = try Bytes(mapping: TestData.path("corpora/wikitext2/wiki.test.raw"))
    #expect(try llama2.encode(file, addingSpecialTokens: false).count == 335_687)
    let llama3 = try Tokenizer.load(path: TestData.path("tokenizers/llama3"))
    #expect(llama3.beginningOfSequence == 128_000)
    #expect(llama3.endOfSequence == [128_001, 128_009])
    #expect(llama3.id(of: "<|start_header_id|>") == 128_006)
    #expect(llama3.id(of: "<|reserved_special_token_250|>") == 128_255)
    #expect(try llama3.encode(file, addingSpecialTokens: false).count == 289_076)
  }

  @Test(arguments: ["tokenizers/llama2", "tokenizers/llama3", "tokenizers/phi3"])
  func roundTrip(_ path: String) throws {
    let tokenizer = try Tokenizer.load(path: TestData.path(path))
    for corpus in ["wikitext2/wiki.test.raw", "c4/c4.jsonl"] {
      for text in try texts(corpus) {
        let ids = try tokenizer.encode(text, parsingSpecialTokens: false)
        // An added token of Phi-3 that is text takes the space after it.
        guard !text.contains("</s>") else { continue }
        #expect(tokenizer.decode(ids) == text)
      }
    }
  }

  private func texts(_ name: String) throws -> [String] {
    switch name {
    case "wikitext2/joined":
      let file = try Bytes(mapping: TestData.path("corpora/wikitext2/wiki.test.raw")).text
      let rows = file.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
      return [rows.map { $0.allSatisfy { $0 == " " } ? "" : $0 + "\n" }.joined(separator: "\n\n")]
    case "c4/c4.jsonl":
      struct Document: Decodable {
        let text: String
      }
      let lines = try Bytes(mapping: TestData.path("corpora/" + name)).text.split(separator: "\n")
      return try lines.map { try JSONDecoder().decode(Document.self, from: Data($0.utf8)).text }
    default: return [try Bytes(mapping: TestData.path("corpora/" + name)).text]
    }
  }
}
