import Foundation
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// Small tokenizers, one for each step that a tokenizer.json may have, compared with the `tokenizers` package.
@Suite struct PipelineTests {
  @Test func everyStep() throws {
    let url = URL(fileURLWithPath: TestData.fixture("text/pipelines.json"))
    let root = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
    let texts = try #require(root["texts"] as? [String])
    let models = try #require(root["models"] as? [String: [String: Any]])
    let cases = try #require(root["cases"] as? [[String: Any]])
    #expect(cases.count > 35)
    for item in cases {
      let name = item["name"] as? String ?? ""
      var file = try #require(item["file"] as? [String: Any])
      let options = try #require(item["options"] as? [String: Any])
      let model = try #require(models[item["model"] as? String ?? ""])
      file["model"] = model.merging(options) { $1 }
      let data = try JSONSerialization.data(withJSONObject: file)
      let tokenizer = try Tokenizer(Bytes([UInt8](data)), named: "tokenizer.json")
      let ids = try #require(item["ids"] as? [[Int]])
      let decoded = try #require(item["decoded"] as? [String])
      for (index, text) in texts.enumerated() {
        let found = try tokenizer.encode(text)
        #expect(found.map(Int.init) == ids[index], "\(name): \(text.debugDescription)")
        #expect(tokenizer.decode(found) == decoded[index], "\(name): \(text.debugDescription)")
      }
    }
  }

  @Test func refusesWhatItDoesNotKnow() throws {
    let steps = [
      (#""normalizer": {"type": "Nmt"}"#, "Nmt"),
      (#""pre_tokenizer": {"type": "UnicodeScripts"}"#, "UnicodeScripts"),
      (#""decoder": {"type": "CTC"}"#, "CTC"),
      (#""post_processor": {"type": "Other"}"#, "Other"),
      (
        #""pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}"#,
        "regular expression"
      ),
    ]
    for (step, name) in steps {
      let text = #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, \#(step)}"#
      let problem = #expect(throws: Problem.self) {
        try Tokenizer(Bytes(Array(text.utf8)), named: "tokenizer.json")
      }
      #expect(problem?.description.contains(name) == true)
      #expect(problem?.kind == .badData)
    }
  }
}
