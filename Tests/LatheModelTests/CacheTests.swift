import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

/// Caches of every type, texts read together, and drafts.
@Suite struct CacheTests {
  static let path = TestData.packageFolder + "/Models/novella-6m"

  static func ids(_ count: Int, _ seed: Int = 0, vocabulary: Int = 4096) -> [Int32] {
    (0..<count).map { Int32(($0 * 37 + $0 / 7 + seed * 101 + 3) % vocabulary) }
  }

  static func greedy(_ change: (inout SamplingOptions) -> Void = { _ in }) -> SamplingOptions {
    var options = SamplingOptions()
    options.temperature = 0
    change(&options)
    return options
  }

  @Test("a cache takes the bytes its type names, and a type its share of single precision")
  func bytes() throws {
    let model = try Model(reading: Self.path), c = model.configuration
    for type in CacheType.allCases {
      let cache = KeyValueCache(c, capacity: 128, type: type)
      let values = 2 * c.layers * c.keyValueWidth * 128
      #expect(Double(cache.byteCount) * 8 == type.bitsPerValue * Double(values))
    }
  }

  @Test(
    "reading at once, in pieces and token by token gives the same logits",
    arguments: ["gqa", "mqa", "head-dim", "openelm"], CacheType.allCases)
  func pieces(name: String, type: CacheType) throws {
    let model = try Model(reading: TestData.fixture("model/\(name)"))
    let ids = try LogitTests.reference(name).ids
    let inference = Inference(model, team: ThreadTeam(count: 2))
    let whole = inference.logits(after: ids, cache: inference.makeCache(type: type))
    let exact = inference.logits(after: ids, cache: inference.makeCache())
    let spread = whole.map { abs($0) }.max() ?? 1
    for step in [1, 3, 17] {
      let cache = inference.makeCache(capacity: 1, type: type)
      var logits: [Float] = []
      for start in stride(from: 0, to: ids.count, by: step) {
        logits = inference.logits(after: Array(ids[start..<min(start + step, ids.count)]), cache: cache)
      }
      // A last place lost may move a code.
      let rounding: Float = spread * [.f32: 1e-5, .f16: 1e-3, .int8: 0.01][type, default: 0]
      // Four bits meet queries rounded to bytes, here, and floats there: that is less than they lost themselves.
      if type == .int4 {
        #expect(Self.distance(whole, logits) < 0.3 * Self.distance(whole, exact))
        continue
      }
      for (a, b) in zip(whole, logits) { #expect(abs(a - b) <= rounding) }
    }
  }

  /// The root of the mean square of what two vectors differ by.
  static func distance(_ a: [Float], _ b: [Float]) -> Float {
    (zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Float(a.count)).squareRoot()
  }

  @Test("logits stay as near those of single precision as the type allows", arguments: CacheType.allCases)
  func nearness(type: CacheType) throws {
    let inference = Inference(try Model(reading: Self.path), team: ThreadTeam(count: 2))
    let exact = inference.logits(after: Self.ids(200), cache: inference.makeCache())
    let found = inference.logits(after: Self.ids(200), cache: inference.makeCache(type: type))
    var error: Float = 0, size: Float = 0
    for (a, b) in zip(found, exact) {
      error += (a - b) * (a - b)
      size += b * b
    }
    let allowed: Float = [.f32: 0, .f16: 1e-3, .int8: 0.01, .int4: 0.15][type, default: 0]
    #expect((error / size).squareRoot() <= allowed, "\((error / size).squareRoot())")
  }

  @Test("a long context, read in runs by threads, is that of tiles", arguments: CacheType.allCases)
  func longContext(type: CacheType) throws {
    let model = try Model(reading: TestData.fixture("model/gqa"))
    let ids = Self.ids(1300, vocabulary: model.configuration.vocabularySize)
    let two = Inference(model, team: ThreadTeam(count: 2)), one = Inference(model, team: ThreadTeam(count: 1))
    func last(_ inference: Inference) -> [Float] {
      let cache = inference.makeCache(type: type)
      // Seven at a time: a system's product of matrices may sum in another order where threads share it otherwise.
      for start in stride(from: 0, to: 1299, by: 7) {
        _ = inference.logits(after: Array(ids[start..<min(start + 7, 1299)]), cache: cache)
      }
      return inference.logits(after: [ids[1299]], cache: cache)
    }
    let found = last(two)
    #expect(found == last(one))
    let whole = two.logits(after: ids, cache: two.makeCache(type: type))
    let rounding: Float = [.f32: 1e-3, .f16: 5e-3, .int8: 0.05, .int4: 0.5][type, default: 0]
    for (a, b) in zip(whole, found) { #expect(abs(a - b) < rounding) }
  }

  @Test("what is cut off leaves no trace", arguments: CacheType.allCases)
  func truncation(type: CacheType) throws {
    let inference = Inference(try Model(reading: Self.path), team: ThreadTeam(count: 2))
    let cache = inference.makeCache(type: type), other = inference.makeCache(type: type)
    _ = inference.logits(after: Self.ids(20), cache: cache)
    _ = inference.logits(after: Self.ids(20), cache: other)
    for id in Self.ids(30, 5) { _ = inference.logits(after: [id], cache: cache) }
    cache.truncate(to: 20)
    #expect(cache.count == 20)
    #expect(inference.logits(after: [7], cache: cache) == inference.logits(after: [7], cache: other))
  }

  @Test(
    "texts of different lengths read together have the logits of each alone", arguments: CacheType.allCases)
  func together(type: CacheType) throws {
    let inference = Inference(try Model(reading: Self.path), team: ThreadTeam(count: 2))
    let width = inference.configuration.vocabularySize
    func read() -> [KeyValueCache] {
      [3, 40, 9, 17, 1].enumerated().map { index, length in
        let cache = inference.makeCache(type: type)
        _ = inference.logits(after: Self.ids(length, index), cache: cache)
        return cache
      }
    }
    let caches = read(), alone = read()
    for step in 0..<3 {
      let next = caches.indices.map { Int32(50 + $0 + 7 * step) }
      let found = inference.logits(afterEach: next, caches: caches)
      for (index, cache) in alone.enumerated() {
        let expected = inference.logits(after: [next[index]], cache: cache)
        // So few rows: the same to the bit.
        #expect(Array(found[index * width..<(index + 1) * width]) == expected)
        #expect(caches[index].count == cache.count)
      }
    }
    #expect(inference.logits(afterEach: [], caches: []).isEmpty)
  }

  @Test("texts join and leave a batch, and each is what it would be alone")
  func batch() throws {
    let inference = Inference(try Model(reading: Self.path), team: ThreadTeam(count: 2))
    func alone(_ prompt: [Int32], _ limit: Int, _ end: Set<Int32>) throws -> [Int32] {
      var ids: [Int32] = []
      try inference.generate(after: prompt, limit: limit, sampling: Self.greedy(), end: end) {
        ids.append($0); return true
      }
      return ids
    }
    let prompts: [[Int32]] = [[1], Self.ids(12, 1), Self.ids(5, 2), Self.ids(9, 3)], limits = [12, 3, 9, 1]
    let batch = BatchedGeneration(inference)
    var texts = [[Int32]](repeating: [], count: 4), stops: [Int: StopReason] = [:]
    for index in 0..<2 {
      try batch.add(prompts[index], limit: limits[index], sampling: Self.greedy(), end: [])
    }
    var steps = 0
    while batch.count > 0 {
      for event in batch.step() {
        if let token = event.token { texts[event.text].append(token) }
        stops[event.text] = event.stop
      }
      steps += 1
      if steps == 4 {
        for index in 2..<4 {
          #expect(
            try batch.add(prompts[index], limit: limits[index], sampling: Self.greedy(), end: []) == index)
        }
      }
    }
    #expect(steps == 13)
    for index in 0..<4 { #expect(try texts[index] == alone(prompts[index], limits[index], [])) }
    #expect(stops == [0: .length, 1: .length, 2: .length, 3: .length])

    let end: Set<Int32> = [texts[0][4]]
    var both: [[Int32]] = [[], []]
    let reasons = try inference.generate(
      afterEach: [prompts[0], prompts[1]], limit: 8, sampling: Self.greedy(), end: end
    ) { both[$0].append($1) }
    #expect(reasons[0] == .end)
    #expect(try both == [alone(prompts[0], 8, end), alone(prompts[1], 8, end)])
    #expect(throws: Problem.self) { try batch.add([], limit: 1, sampling: Self.greedy(), end: []) }
    #expect(throws: Problem.self) { try batch.add([1], limit: 0, sampling: Self.greedy(), end: []) }
    #expect(throws: Problem.self) { try batch.add([4096], limit: 1, sampling: Self.greedy(), end: []) }
    try batch.add([1], limit: 5, sampling: Self.greedy(), end: [])
    batch.remove(4)
    #expect(batch.count == 0 && batch.step().isEmpty)
  }
}
