import Foundation
import LatheEvaluate
import LatheModel
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

@Suite struct PerplexityTests {
  static let model = TestData.packageFolder + "/Models/novella-6m"

  @Test("a fixed passage has the reference's likelihood")
  func passage() throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: TestData.fixture("model/passages.json")))
    let json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: [String: Any]])
    let expected = try #require(json["novella-6m"]?["mean_nll"] as? Double)
    let ids = try Fixture.ids("model/novella-6m/logits.safetensors")
    let result = try Perplexity(try Model(reading: Self.model), team: ThreadTeam(count: 2)).measure(
      [ids], protocolName: "passage")
    #expect(abs(result.nll - expected) < 1e-4)
    #expect(result.tokens == 255)
    #expect(abs(result.perplexity - exp(expected)) / exp(expected) < 1e-3)
  }

  @Test(
    "perplexity is transformers' on the same windows, under each rule for the beginning",
    .enabled(if: TestData.isPresent, "the novels are not at hand: set LATHE_DATA"))
  func windows() throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: TestData.fixture("model/perplexity.json")))
    let json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let results = try #require(json["results"] as? [[String: Any]])
    let text = try Bytes(mapping: TestData.path("corpora/novels/heldout-treasure-island.txt"))
    let tokenizer = try Tokenizer.forModel(at: Self.model)
    let perplexity = try Perplexity(try Model(reading: Self.model), team: ThreadTeam())
    for result in results {
      let rule = result["bos"] as? String
      var measure = PerplexityProtocol.text(
        window: 512, beginning: rule == "stream" ? .first : rule == "every" ? .every : .none)
      measure.limit = 120
      let windows = try measure.windows(of: text, tokenizer)
      let ours = try perplexity.measure(windows, protocolName: measure.name)
      let theirs = try #require(result["perplexity"] as? Double)
      #expect(abs(ours.perplexity - theirs) / theirs < 1e-4, "\(rule ?? "")")
      #expect(ours.tokens == result["scored"] as? Int)
    }
  }

  @Test("a window longer than what is read at a time has the likelihood of reading it token by token")
  func longWindow() throws {
    let model = try Model(reading: Self.model), team = ThreadTeam(count: 2)
    let ids: [Int32] = (0..<Inference.batch + 60).map { i in
      let id: Int = i * 37 + i / 7
      return Int32(3 + id % 4000)
    }
    let result = try Perplexity(model, reference: model, team: team).measure(
      [ids], protocolName: "long", firstScored: Inference.batch)
    let inference = Inference(model, team: team), cache = inference.makeCache()
    var nll = 0.0
    for (position, id) in ids.enumerated().dropLast() {
      let logits = inference.logits(after: [id], cache: cache)
      guard position + 1 >= Inference.batch else { continue }
      let peak = logits.max() ?? 0
      nll += Double(peak) + log(logits.reduce(0) { $0 + exp(Double($1 - peak)) })
      nll -= Double(logits[Int(ids[position + 1])])
    }
    #expect(abs(result.nll - nll / 60) < 1e-4)
    let divergence = try #require(result.divergence)
    #expect(divergence.maximum < 1e-4)
  }

  @Test("a model has no divergence from itself, and agrees with itself everywhere")
  func itself() throws {
    let model = try Model(reading: Self.model)
    let windows = try SelfWrittenText.write(model, first: 1, count: 2, length: 64, seed: 1, threads: 2)
    let result = try Perplexity(model, reference: model, team: ThreadTeam(count: 2)).measure(
      windows, protocolName: "self")
    let divergence = try #require(result.divergence)
    #expect(divergence.mean < 1e-6)
    #expect(divergence.maximum < 1e-4)
    #expect(divergence.topAgreement == 1)
    #expect(divergence.probabilityChangeRMS < 1e-6 && abs(divergence.probabilityChange) < 1e-6)
    #expect(abs(divergence.referencePerplexity - result.perplexity) < 1e-9)
  }

  @Test("windows follow the protocol")
  func slicing() throws {
    let tokenizer = try Tokenizer.forModel(at: Self.model)
    let text = Bytes(Array(String(repeating: "It was the best of times. ", count: 40).utf8))
    let tokens = try tokenizer.encode(text, addingSpecialTokens: false, parsingSpecialTokens: false)
    let bos = try #require(tokenizer.beginningOfSequence)
    func windows(_ rule: PerplexityProtocol.Beginning) throws -> [[Int32]] {
      try PerplexityProtocol.text(window: 16, beginning: rule).windows(of: text, tokenizer)
    }
    #expect(try windows(.none)[1] == Array(tokens[16..<32]))
    #expect(try windows(.first)[0] == [bos] + tokens[0..<15])
    #expect(try windows(.first)[1] == Array(tokens[15..<31]))
    #expect(try windows(.every)[1] == [bos] + tokens[15..<30])
    #expect(try windows(.replacing)[1] == [bos] + tokens[16..<31])
    #expect(try windows(.none).count == tokens.count / 16)
    #expect(throws: Problem.self) {
      try PerplexityProtocol.text(window: 100_000, beginning: .none).windows(of: text, tokenizer)
    }
    #expect(throws: Problem.self) { try ProtocolCatalog.named("wikitext") }
  }

  @Test(
    "the corpora have the field's known numbers of tokens",
    .enabled(if: TestData.isPresent, "the corpora are not at hand: set LATHE_DATA"))
  func knownCounts() throws {
    let tokenizer = try Tokenizer.load(path: TestData.path("tokenizers/llama2/tokenizer.model"))
    let folder = try DataFolder(TestData.folder)
    let gptq = try folder.text(for: ProtocolCatalog.named("gptq-wikitext2-2048"))
    #expect(try tokenizer.encode(gptq, parsingSpecialTokens: false).count == 341_469)
    let raw = try folder.text(for: ProtocolCatalog.named("llamacpp-512"))
    #expect(
      try tokenizer.encode(raw, addingSpecialTokens: false, parsingSpecialTokens: false).count == 335_687)
  }

  @Test(
    "every protocol's text is at hand and long enough",
    .enabled(if: TestData.isPresent, "the corpora are not at hand: set LATHE_DATA"),
    arguments: ProtocolCatalog.all)
  func texts(measure: PerplexityProtocol) throws {
    let tokenizer = try Tokenizer.load(path: TestData.path("tokenizers/llama2/tokenizer.model"))
    let text = try DataFolder(TestData.folder).text(for: measure)
    #expect(try measure.windows(of: text, tokenizer).allSatisfy { $0.count == measure.window })
  }
}
