import Foundation
import LatheFormats
import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

/// Logits against those of Hugging Face transformers in float32, one feature of the architecture at a time.
@Suite struct LogitTests {
  static let features = [
    "mha", "gqa", "mqa", "tied", "biases", "head-dim", "rope-linear", "rope-linear-old", "rope-llama3",
    "rope-llama3-old",
    "rope-theta", "rope-theta-old", "bfloat16", "float16", "sharded",
    "phi3", "openelm",
  ]

  static func reference(_ name: String) throws -> (ids: [Int32], logits: [Float]) {
    let file = try Checkpoint(reading: TestData.fixture("model/\(name)/logits.safetensors"))
    return (try file.tensor("ids").data.elements(), try file.tensor("logits").data.elements())
  }

  /// The largest difference between our logits and the reference's, over the positions the reference has.
  static func difference(
    _ model: Model, _ reference: (ids: [Int32], logits: [Float]), context: Int? = nil
  ) -> Float {
    let inference = Inference(model, team: ThreadTeam(count: 2), context: context)
    let width = model.configuration.vocabularySize
    let first = reference.ids.count - reference.logits.count / width
    var largest: Float = 0
    let rows = inference.readLogits(of: reference.ids, cache: inference.makeCache())
    while let run = rows.next() {
      for i in 0..<run.count where run.first + i >= first {
        for j in 0..<width {
          largest = max(
            largest, abs(run.logits[i * width + j] - reference.logits[(run.first + i - first) * width + j]))
        }
      }
    }
    return largest
  }

  @Test("each feature's logits are the reference's", arguments: features)
  func feature(name: String) throws {
    // The weights lie beside the reference's logits, which must not be taken for a shard.
    let model = try Model(reading: TestData.fixture("model/\(name)"))
    #expect(Self.difference(model, try Self.reference(name)) < 1e-3)
  }

  @Test("frequencies for long contexts are taken where the context asked for is long")
  func longFrequencies() throws {
    let model = try Model(reading: TestData.fixture("model/phi3-long"))
    let reference = try Self.reference("phi3-long")
    #expect(Self.difference(model, reference, context: 40) < 1e-3)
    #expect(Self.difference(model, reference) > 0.1)
    let file = try Checkpoint(reading: TestData.fixture("model/phi3-long/logits.safetensors"))
    let short = (Array(reference.ids.prefix(24)), try file.tensor("short").data.elements(as: Float.self))
    #expect(Self.difference(model, short, context: 24) < 1e-3)
    #expect(Self.difference(model, short) < 1e-3)
  }

  @Test("novella-6m's logits are the reference's")
  func novella() throws {
    let model = try Model(reading: TestData.packageFolder + "/Models/novella-6m")
    #expect(Self.difference(model, try Self.reference("novella-6m")) < 1e-3)
  }

  @Test(
    "stories260K's logits are the reference's",
    .enabled(if: TestData.isPresent, "stories260K is not at hand: set LATHE_DATA"))
  func stories() throws {
    let model = try Model(reading: TestData.path("models/stories260K/stories260K.bin"))
    #expect(Self.difference(model, try Self.reference("stories260K")) < 1e-3)
  }

  @Test(
    "reading at once, in pieces and token by token gives the same logits",
    arguments: ["gqa", "rope-llama3", "biases", "phi3", "openelm"])
  func pieces(name: String) throws {
    let model = try Model(reading: TestData.fixture("model/\(name)"))
    let ids = try Self.reference(name).ids
    let inference = Inference(model, team: ThreadTeam(count: 2))
    let whole = inference.logits(after: ids, cache: inference.makeCache())
    for step in [1, 3, 17] {
      let cache = inference.makeCache(capacity: 1)
      var logits: [Float] = []
      for start in stride(from: 0, to: ids.count, by: step) {
        logits = inference.logits(after: Array(ids[start..<min(start + step, ids.count)]), cache: cache)
      }
      for (a, b) in zip(whole, logits) { #expect(abs(a - b) < 1e-4) }
    }
  }

  @Test("tiles of attention over a long context agree with one query at a time")
  func longContext() throws {
    let model = try Model(reading: TestData.fixture("model/gqa"))
    let ids = (0..<900).map { Int32(($0 * 37 + $0 / 7) % model.configuration.vocabularySize) }
    let inference = Inference(model, team: ThreadTeam(count: 2))
    let whole = inference.logits(after: ids, cache: inference.makeCache())
    let cache = inference.makeCache()
    _ = inference.logits(after: Array(ids.prefix(895)), cache: cache)
    var last: [Float] = []
    for id in ids.suffix(5) { last = inference.logits(after: [id], cache: cache) }
    for (a, b) in zip(whole, last) { #expect(abs(a - b) < 1e-3) }
  }
}
