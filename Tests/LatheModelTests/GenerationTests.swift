import Foundation
import LatheModel
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

@Suite struct GenerationTests {
  static let path = TestData.packageFolder + "/Models/novella-6m"

  @Test(
    "the greedy text is that of the reference",
    .enabled(if: TestData.isPresent, "stories260K is not at hand: set LATHE_DATA"))
  func greedyStory() throws {
    // The beginning of llama2.c's own golden text for this model.
    let path = try TestData.path("models/stories260K/stories260K.bin")
    let model = try Model(reading: path), tokenizer = try Tokenizer.forModel(at: path)
    var options = SamplingOptions()
    options.temperature = 0
    var ids: [Int32] = [1]
    try Inference(model, team: ThreadTeam(count: 2)).generate(
      after: [1], limit: 60, sampling: options, end: [1, 2]
    ) {
      ids.append($0)
      return true
    }
    let golden =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    #expect(tokenizer.decode(ids).hasPrefix(golden))
  }

  @Test("equal seeds give equal texts, other seeds others, and a stop is a stop")
  func seeds() throws {
    let model = try Model(reading: Self.path)
    let inference = Inference(model, team: ThreadTeam(count: 2))
    func text(_ seed: UInt64, limit: Int = 24) throws -> [Int32] {
      var options = SamplingOptions(), ids: [Int32] = []
      options.seed = seed
      try inference.generate(after: [1], limit: limit, sampling: options, end: [2]) {
        ids.append($0); return true
      }
      return ids
    }
    #expect(try text(1) == text(1))
    #expect(try text(1) != text(2))
    #expect(try text(1, limit: 0).isEmpty)
    var count = 0
    try inference.generate(after: [1], limit: 50, sampling: SamplingOptions(), end: []) { _ in
      count += 1; return count < 3
    }
    #expect(count == 3)
  }

  @Test("truncations leave what they promise")
  func truncations() {
    var logits: [Float] = [0, 3, 2.9, -4, 1]
    func draws(_ change: (inout SamplingOptions) -> Void) -> Set<Int32> {
      var options = SamplingOptions.pure(seed: 3)
      change(&options)
      var sampler = Sampler(options)
      return Set((0..<400).map { _ in sampler.next(&logits) })
    }
    #expect(draws { $0.topK = 1 } == [1])
    #expect(draws { $0.topK = 2 } == [1, 2])
    #expect(draws { $0.topP = 0.6 } == [1, 2])
    #expect(draws { $0.minP = 0.5 } == [1, 2])
    #expect(draws { $0.temperature = 0 } == [1])
    #expect(draws { _ in }.isSuperset(of: [0, 1, 2, 4]))
    var options = SamplingOptions()
    (options.temperature, options.repetitionPenalty) = (0, 2)
    var sampler = Sampler(options)
    #expect(sampler.next(&logits, after: [1]) == 2)
  }

  @Test("pure sampling follows the distribution")
  func pureSampling() {
    var sampler = Sampler(.pure(seed: 5))
    var logits: [Float] = [log(0.5), log(0.3), log(0.2)]
    var counts = [0, 0, 0]
    for _ in 0..<20000 { counts[Int(sampler.next(&logits))] += 1 }
    for (count, p) in zip(counts, [0.5, 0.3, 0.2]) { #expect(abs(Double(count) / 20000 - p) < 0.015) }
  }

  @Test("self-written text is the same for any number of threads")
  func selfWritten() throws {
    let model = try Model(reading: Self.path)
    let one = try SelfWrittenText.write(model, first: 1, count: 3, length: 12, seed: 9, threads: 1)
    let two = try SelfWrittenText.write(model, first: 1, count: 3, length: 12, seed: 9, threads: 2)
    #expect(one == two)
    #expect(one.allSatisfy { $0.count == 12 && $0[0] == 1 })
    #expect(one[0] != one[1])
  }

  @Test("foreign tokens and empty prompts are sentences")
  func hostile() throws {
    let inference = Inference(try Model(reading: Self.path), team: ThreadTeam(count: 1))
    #expect(throws: Problem.self) {
      try inference.generate(after: [], limit: 1, sampling: SamplingOptions(), end: [])
    }
    #expect(throws: Problem.self) {
      try inference.generate(after: [5000], limit: 1, sampling: SamplingOptions(), end: [])
    }
    #expect(throws: Problem.self) {
      try inference.generate(after: [-1], limit: 1, sampling: SamplingOptions(), end: [])
    }
  }
}
