import Foundation
import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

@Suite struct SpeculationTests {
  /// novella-6m without some of its blocks: a draft that is often wrong.
  static func draft(of model: Model, blocks: Int) -> Model {
    var draft = model
    draft.blocks = Array(model.blocks.prefix(blocks))
    draft.configuration.layers = blocks
    return draft
  }

  @Test("a draft changes nothing of a greedy text", arguments: [1, 4, 7, 12], [6, 5, 2])
  func greedy(tokens: Int, blocks: Int) throws {
    let model = try Model(reading: CacheTests.path), team = ThreadTeam(count: 2)
    let inference = Inference(model, team: team)
    for (penalty, limit, type) in [(Float(1), 60, CacheType.f32), (1.3, 33, .f16)] {
      let draft = try Draft(Inference(Self.draft(of: model, blocks: blocks), team: team), tokens: tokens)
      let options = CacheTests.greedy { $0.repetitionPenalty = penalty }
      var texts: [[Int32]] = []
      for helper in [nil, draft] {
        var ids: [Int32] = []
        let stop = try inference.generate(
          after: CacheTests.ids(9), limit: limit, sampling: options, end: [], cacheType: type, draft: helper
        ) {
          ids.append($0); return true
        }
        #expect(stop == .length && ids.count == limit)
        texts.append(ids)
      }
      #expect(texts[0] == texts[1])
      #expect(draft.proposed > 0 && draft.accepted <= draft.proposed)
      // Its own draft is always right, but for ties within rounding.
      if blocks == 6 { #expect(draft.acceptance > 0.95) }
    }
  }

  @Test("a text ends where it would without a draft")
  func ends() throws {
    let model = try Model(reading: CacheTests.path), team = ThreadTeam(count: 1)
    let inference = Inference(model, team: team)
    var plain: [Int32] = []
    try inference.generate(after: [1], limit: 20, sampling: CacheTests.greedy(), end: []) {
      plain.append($0); return true
    }
    for limit in [0, 1, 2, 6] {
      var ids: [Int32] = []
      try inference.generate(
        after: [1], limit: limit, sampling: CacheTests.greedy(), end: [], draft: try Draft(inference)
      ) {
        ids.append($0); return true
      }
      #expect(ids == Array(plain.prefix(limit)))
    }
    var ids: [Int32] = []
    let other = Inference(Self.draft(of: model, blocks: 5), team: team)
    let stop = try inference.generate(
      after: [1], limit: 20, sampling: CacheTests.greedy(), end: [plain[7]], draft: try Draft(other)
    ) {
      ids.append($0); return true
    }
    #expect(stop == .end && ids == Array(plain.prefix { $0 != plain[7] }))
  }

  @Test("another vocabulary and a senseless number of tokens are sentences")
  func hostile() throws {
    let model = try Model(reading: CacheTests.path), team = ThreadTeam(count: 1)
    let inference = Inference(model, team: team)
    let other = Inference(try Model(reading: TestData.fixture("model/gqa")), team: team)
    #expect(throws: Problem.self) {
      try inference.generate(
        after: [1], limit: 4, sampling: SamplingOptions(), end: [], draft: try Draft(other))
    }
    for tokens in [0, 65, -1] { #expect(throws: Problem.self) { try Draft(inference, tokens: tokens) } }
  }

  /// Draws by way of `q` that should follow `p`: χ² and its degrees of freedom.
  private func chiSquare(_ options: SamplingOptions, _ p: [Float], _ q: [Float], draws: Int) -> (Double, Int)
  {
    var sampler = Sampler(options), p = p, q = q
    let target = sampler.distribution(&p), given = sampler.distribution(&q)
    var counts = [Int](repeating: 0, count: p.count)
    for _ in 0..<draws { counts[Int(sampler.settle(sampler.draw(given), from: given, by: target))] += 1 }
    var sum = 0.0, cells = 0
    for (token, count) in counts.enumerated() {
      let expected = Double(target.probability(of: Int32(token))) * Double(draws)
      if expected == 0 {
        #expect(count == 0)
        continue
      }
      sum += (Double(count) - expected) * (Double(count) - expected) / expected
      cells += 1
    }
    return (sum, cells - 1)
  }

  @Test("drawn by way of any other distribution, tokens follow their own", arguments: 0..<4)
  func distribution(which: Int) {
    let p: [Float] = [0, 1.5, 1.2, -1, 0.3, -2, 0.9, 0.1], q: [Float] = [1.5, 0, 0.2, 1, -3, 0.4, 0.9, -1]
    var options = SamplingOptions.pure(seed: UInt64(11 + which))
    switch which {
    case 1: options.temperature = 0.7
    case 2: (options.topK, options.topP) = (5, 0.9)
    case 3: (options.minP, options.temperature) = (0.2, 1.3)
    default: break
    }
    for (p, q) in [(p, q), (q, p), (p, p)] {
      let (sum, freedom) = chiSquare(options, p, q, draws: 40_000)
      // The mean of χ² is its degrees of freedom k, its deviation √2k: five of those.
      #expect(sum < Double(freedom) + 5 * (2 * Double(freedom)).squareRoot(), "\(sum) of \(freedom)")
    }
  }

  @Test("sampled texts follow the model's distribution whatever the draft")
  func sampledTexts() throws {
    let model = try Model(reading: CacheTests.path), team = ThreadTeam(count: 1)
    let inference = Inference(model, team: team)
    let draft = try Draft(Inference(Self.draft(of: model, blocks: 3), team: team), tokens: 3)
    // The second token after a prompt, over many seeds, with and without: few likely tokens, so that counts are large.
    func counts(_ draft: Draft?, _ seeds: Range<UInt64>) throws -> [Int32: Int] {
      var counts: [Int32: Int] = [:]
      for seed in seeds {
        var options = SamplingOptions()
        (options.topK, options.temperature, options.seed) = (3, 1, seed)
        var last: Int32 = 0
        try inference.generate(after: [1, 300], limit: 3, sampling: options, end: [], draft: draft) {
          last = $0; return true
        }
        counts[last, default: 0] += 1
      }
      return counts
    }
    let n = 400
    let plain = try counts(nil, 0..<UInt64(n)), other = try counts(draft, 1000..<UInt64(1000 + n))
    var sum = 0.0, cells = 0
    for token in Set(plain.keys).union(other.keys) {
      let a = Double(plain[token] ?? 0), b = Double(other[token] ?? 0)
      guard a + b >= 10 else { continue }
      sum += (a - b) * (a - b) / (a + b)
      cells += 1
    }
    #expect(cells > 1 && sum < Double(cells) + 5 * (2 * Double(cells)).squareRoot(), "\(sum) of \(cells)")
  }
}
