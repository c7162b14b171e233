import Foundation
import LatheTensor
import LatheText
import Testing

private struct PieceCase: Decodable {
  let name: String
  let model: Data
  let ids: [[Int32]]
  let decoded: [String]
}

private struct PieceCases: Decodable {
  let texts: [String]
  let cases: [PieceCase]
}

/// Tiny SentencePiece models, one for each rule a model may have, compared with sentencepiece.
@Suite struct PieceTests {
  @Test func everyRule() throws {
    let all = try fixture("pieces.json", as: PieceCases.self)
    #expect(all.cases.count == 9)
    for item in all.cases {
      let tokenizer = try Tokenizer(Bytes([UInt8](item.model)), named: "tokenizer.model")
      for (index, text) in all.texts.enumerated() {
        let ids = try tokenizer.encode(text, addingSpecialTokens: false, parsingSpecialTokens: false)
        #expect(ids == item.ids[index], "\(item.name): \(text.debugDescription)")
        // Unknown tokens are left out here, while sentencepiece shows a mark for each.
        guard !ids.contains(0) else { continue }
        #expect(tokenizer.decode(ids) == item.decoded[index], "\(item.name): \(text.debugDescription)")
      }
    }
  }
}
