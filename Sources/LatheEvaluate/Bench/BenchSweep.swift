internal import LatheModel
public import LatheTensor

/// Tests of speed over every combination of settings, in the manner of llama-bench.
///
/// A test reads a prompt or writes tokens. Each is run once to warm up and then as often as asked; before each run the
/// streaming rate of memory is measured, so that a figure stands beside what the machine gave at that time.
public struct BenchSweep: Sendable {
  /// The prompts' lengths.
  public let prompts: [Int]
  /// The numbers of tokens to write.
  public let generates: [Int]
  /// How often each test is run after the warm-up.
  public let repetitions: Int
  /// The values of `BenchDimension.all`, in order.
  public let values: [[Int]]
  /// The bytes that the streaming rate is measured on.
  private let streamBytes: Int

  /// A sweep as options describe it.
  ///
  /// - Parameter options: the lists given, by the names of dimensions; what is absent takes its standard.
  /// - Throws: `Problem` of kind `usage` naming what is wrong.
  public init(_ options: [String: String], repetitions: Int, streamBytes: Int = 512 << 20) throws(Problem) {
    guard repetitions > 0 else { throw Problem(.usage, "a measurement needs at least one repetition") }
    guard repetitions <= 10_000 else { throw Problem(.usage, "more than 10,000 repetitions") }
    (self.repetitions, self.streamBytes) = (repetitions, streamBytes)
    prompts = try BenchDimension.prompt.values(of: options["prompt"])
    generates = try BenchDimension.generate.values(of: options["generate"])
    values = try BenchDimension.all.map { (dimension) throws(Problem) in
      try dimension.values(of: options[dimension.name])
    }
    guard !tests.isEmpty else {
      throw Problem(.usage, "a measurement needs at least one token", cure: "give a --prompt, or --generate")
    }
    guard combinations.count * tests.count <= 10_000 else {
      throw Problem(
        .usage, "the sweep has \(combinations.count * tests.count) tests, more than 10,000",
        cure: "give shorter lists")
    }
  }

  /// The tests of each combination.
  package var tests: [SpeedTest] {
    prompts.filter { $0 > 0 }.map { .prompt($0) } + generates.filter { $0 > 0 }.map { .generate($0) }
  }

  /// Every combination of values, one for each of `BenchDimension.all`.
  public var combinations: [[Int]] {
    values.reduce([[]]) { made, values in made.flatMap { one in values.map { one + [$0] } } }
  }

  /// Whether one JSON object can hold the results for one model.
  public var isSingle: Bool { prompts.count == 1 && generates.count == 1 && combinations.count == 1 }

  /// The repetitions of all tests on `models` models.
  public func total(models: Int) -> Int { models * combinations.count * tests.count * repetitions }

  /// Runs every test on the model at `path`.
  ///
  /// - Parameters:
  ///   - row: receives each test's figures.
  ///   - progress: told before each repetition, with the test's name.
  /// - Throws: `Problem` where the model cannot be read, or what `row` throws.
  public func run(
    at path: String, progress: (String) -> Void, row: (BenchRow) throws -> Void
  ) throws {
    let clock = ContinuousClock(), start = clock.now
    let model = try Model(reading: path)
    let fileBytes = try ModelSize.fileBytes(at: path)
    Speed.resetPeakMemory()
    // Times and memory of a model alone are taken before the meter's buffer is there.
    var meter: StreamMeter?
    var firstToken = 0.0, peak = 0
    var teams: [Int: ThreadTeam] = [:]
    // Laying weights out takes longer than many a test: once for each kind of inputs.
    var prepared: [Int: Model] = [:]
    for combination in combinations {
      let setting = Setting(combination)
      let team = teams[setting[.threads]] ?? ThreadTeam(count: setting[.threads])
      teams[setting[.threads]] = team
      let laidOut = prepared[setting[.activations]] ?? setting.prepare(model, team)
      prepared[setting[.activations]] = laidOut
      let inference = Inference(laidOut, team: team)
      for test in tests {
        let caches = try (0..<setting.texts(of: test)).map { _ throws(Problem) in
          try setting.makeCache(inference, capacity: setting[.depth] + test.tokens)
        }
        if setting[.depth] > 0 { _ = SpeedTest.prompt(setting[.depth]).seconds(inference, caches) }
        if meter == nil {
          _ = test.first.seconds(inference, caches)
          firstToken = (clock.now - start) / .seconds(1)
        }
        // What waits for its second use is part of no test.
        laidOut.layOut(team: team)
        for cache in caches { cache.truncate(to: setting[.depth]) }
        _ = test.seconds(inference, caches)
        if meter == nil { peak = Speed.peakMemory }
        let stream = meter ?? StreamMeter(count: streamBytes, team: team)
        meter = stream
        var rates: [Double] = [], streams: [Double] = []
        for _ in 0..<repetitions {
          progress(setting.name(of: test))
          streams.append(stream.measure(team: team))
          for cache in caches { cache.truncate(to: setting[.depth]) }
          rates.append(Double(caches.count * test.tokens) / test.seconds(inference, caches))
        }
        try row(
          BenchRow(
            path: path, model: model, fileBytes: fileBytes, combination: combination, test: test,
            rates: rates, streamRate: streams.median, firstTokenSeconds: firstToken, peakMemory: peak,
            withoutTiles: inference.model.weightsWithoutTiles))
      }
    }
  }

  /// Where each group of weights' time goes while one token after another is written, under the first combination.
  ///
  /// - Throws: `Problem` where the model cannot be read.
  public func roofline(at path: String, tokens: Int = 32) throws(Problem) -> Roofline {
    let setting = Setting(combinations[0]), team = ThreadTeam(count: setting[.threads])
    let model = try Model(reading: path)
    let meter = StreamMeter(count: streamBytes, team: team)
    return try Roofline(
      model, Inference(setting.prepare(model, team), team: team), setting, tokens: tokens, meter: meter)
  }
}

/// One combination, by dimension.
struct Setting {
  let values: [Int]

  init(_ values: [Int]) { self.values = values }

  subscript(_ dimension: BenchDimension) -> Int {
    BenchDimension.all.firstIndex(of: dimension).map { values[$0] } ?? 0
  }

  /// The model laid out for this setting's inputs.
  func prepare(_ model: Model, _ team: ThreadTeam) -> Model {
    model.prepared(for: Activations.allCases[self[.activations]], team: team)
  }

  /// An empty cache under this setting.
  ///
  /// - Throws: `Problem` of kind `usage` where no memory holds it.
  func makeCache(_ inference: Inference, capacity: Int) throws(Problem) -> KeyValueCache {
    let needed =
      Double(self[.parallel])
      * Footprint.cacheBytes(inference.configuration, context: capacity, bits: cacheBits)
    guard needed < Double(Machine.memory) else {
      throw Problem(
        .usage, "a cache of \(capacity) tokens takes more than the machine's memory",
        cure: "give a smaller --depth, --prompt or --generate")
    }
    return inference.makeCache(capacity: capacity, type: CacheType.allCases[self[.cacheType]])
  }

  /// The bits of an element of keys and values.
  var cacheBits: Double { CacheType.allCases[self[.cacheType]].bitsPerValue }

  /// The texts of a test: prompts are read one after another.
  func texts(of test: SpeedTest) -> Int {
    if case .generate = test { return max(1, self[.parallel]) }
    return 1
  }

  /// The test's name, its depth with it.
  func name(of test: SpeedTest) -> String {
    let depth = self[.depth]
    return test.name + (depth > 0 ? " @ d\(depth)" : "")
  }
}

extension SpeedTest {
  /// What gives a test's first logits.
  var first: SpeedTest { if case .generate = self { .generate(1) } else { self } }

  /// "pp512" for a prompt, "tg128" for writing, as llama-bench calls them.
  var name: String {
    switch self {
    case .prompt(let count): "pp\(count)"
    case .generate(let count): "tg\(count)"
    }
  }
}
