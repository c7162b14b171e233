import Foundation
import LatheEncoding
import LatheEvaluate
import LatheModel
import LatheQuantize
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// The driver on a real model: what it promises of order, of resuming and of what is written.
@Suite struct DriverTests {
  static let path = TestData.packageFolder + "/Models/novella-6m"

  static func calibration(_ model: Model, seed: UInt64 = 1) throws -> Calibration {
    let runs = try SelfWrittenText.write(model, first: 1, count: 4, length: 96, seed: seed, threads: 2)
    return try Calibration(samples: runs, source: "self, seed \(seed)")
  }

  static func recipe(_ method: any QuantizationMethod = GPTQ(), bits: Int = 3) throws -> Recipe {
    Recipe(method: method, grid: try IntegerGrid(bits: bits, groupSize: 64))
  }

  static func temporary() -> String { NSTemporaryDirectory() + "lathe-driver-\(UUID().uuidString)" }

  /// A store that fails when a given block comes.
  final class FailingStore: BlockStore {
    let inner: FolderStore
    let failing: Int
    init(_ inner: FolderStore, at failing: Int) { (self.inner, self.failing) = (inner, failing) }
    var finishedBlocks: Int { inner.finishedBlocks }
    func resumedStream(for text: Calibration, inference: Inference) throws(Problem) -> CalibrationStream? {
      try inner.resumedStream(for: text, inference: inference)
    }
    func append(_ block: Block, outcome: BlockOutcome, stream: CalibrationStream?) throws(Problem) {
      if outcome.layer == failing { throw Problem(.inputOutput, "the power fails") }
      try inner.append(block, outcome: outcome, stream: stream)
    }
  }

  @Test("a run that dies goes on from its last block, and ends with the same bytes")
  func resume() throws {
    let model = try Model(reading: Self.path), team = ThreadTeam(count: 2)
    let text = try Self.calibration(model), recipe = try Self.recipe()
    let fingerprint = try Fingerprint(model: Self.path, recipe: recipe, calibration: text)
    let quantizer = try Quantizer(model, recipe: recipe, calibration: text, team: team)
    let whole = Self.temporary(), broken = Self.temporary()
    defer { for path in [whole, broken] { try? FileManager.default.removeItem(atPath: path) } }
    let store = try FolderStore(at: whole + ".partial", model: model, fingerprint: fingerprint)
    try quantizer.run(into: store)
    try store.finish(as: whole, source: Self.path)
    for failing in [2, 4] {
      let partial = try FolderStore(at: broken + ".partial", model: model, fingerprint: fingerprint)
      #expect(throws: Problem.self) { try quantizer.run(into: FailingStore(partial, at: failing)) }
    }
    let last = try FolderStore(at: broken + ".partial", model: model, fingerprint: fingerprint)
    #expect(last.finishedBlocks == 4)
    var quantized = 0
    try quantizer.run(into: last) { if case .weight = $0 { quantized += 1 } }
    #expect(quantized == 2 * 7)
    try last.finish(as: broken, source: Self.path)
    for name in try FileManager.default.contentsOfDirectory(atPath: whole) where name != "journal.jsonl" {
      #expect(try Bytes(mapping: whole + "/" + name) == Bytes(mapping: broken + "/" + name), "\(name)")
    }
    #expect(!FileManager.default.fileExists(atPath: broken + ".partial"))
  }

  @Test("a working folder of another run is refused, and the difference named")
  func foreignFolder() throws {
    let model = try Model(reading: Self.path)
    let folder = Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let text = try Self.calibration(model), other = try Self.calibration(model, seed: 2)
    let first = try Fingerprint(model: Self.path, recipe: Self.recipe(), calibration: text)
    _ = try FolderStore(at: folder, model: model, fingerprint: first)
    let cases = [
      (try Fingerprint(model: Self.path, recipe: Self.recipe(bits: 4), calibration: text), "another recipe"),
      (
        try Fingerprint(model: Self.path, recipe: Self.recipe(), calibration: other), "other calibration text"
      ),
      (
        try Fingerprint(model: TestData.fixture("model/gqa"), recipe: Self.recipe(), calibration: text),
        "another model"
      ),
    ]
    for (fingerprint, says) in cases {
      let problem = #expect(throws: Problem.self) {
        try FolderStore(at: folder, model: model, fingerprint: fingerprint)
      }
      #expect(problem?.kind == .cannotCreate)
      #expect(problem?.description.contains(says) == true)
    }
  }

  @Test("what is saved computes, bit for bit, what was in memory", arguments: MethodCatalog.names)
  func roundTrip(name: String) throws {
    let model = try Model(reading: Self.path), team = ThreadTeam(count: 2)
    let text = try Self.calibration(model)
    let recipe = Recipe(
      method: try MethodDescription(name: name).method, grid: try IntegerGrid(bits: 4, groupSize: 32))
    let memory = try model.quantized(with: recipe, calibratingOn: text, team: team)
    let out = Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let fingerprint = try Fingerprint(model: Self.path, recipe: recipe, calibration: text)
    let store = try FolderStore(at: out + ".partial", model: model, fingerprint: fingerprint)
    try Quantizer(model, recipe: recipe, calibration: text, team: team).run(into: store)
    try store.finish(as: out, source: Self.path)
    let tokens = text.samples[0]
    let a = Inference(memory, team: team), b = Inference(try Model(reading: out), team: team)
    #expect(a.logits(after: tokens, cache: a.makeCache()) == b.logits(after: tokens, cache: b.makeCache()))
  }

  @Test("GPTQ's model is nearer to the original than rounding's, and a rule touches only its sites")
  func quality() throws {
    let model = try Model(reading: Self.path), team = ThreadTeam(count: 2)
    let text = try Self.calibration(model)
    let windows = try SelfWrittenText.write(model, first: 1, count: 3, length: 128, seed: 5, threads: 2)
    func divergence(_ recipe: Recipe) throws -> Double {
      let quantized = try model.quantized(with: recipe, calibratingOn: text, team: team)
      let result = try Perplexity(quantized, reference: model, team: team)
        .measure(windows, protocolName: "self")
      return try #require(result.divergence).mean
    }
    let rounded = try divergence(Self.recipe(RoundToNearest()))
    #expect(try divergence(Self.recipe()) < rounded)
    var some = try Self.recipe(RoundToNearest(), bits: 2)
    some.rules[0].sites = "*.down|0.*"
    let touched = try model.quantized(with: some, calibratingOn: text, team: team)
    for (layer, block) in touched.blocks.enumerated() {
      for (role, linear) in block.weights {
        #expect((linear.weight.bitsPerWeight < 16) == (layer == 0 || role == .down), "\(layer).\(role)")
      }
    }
  }

  @Test("rounding gives the bytes it has always given")
  func golden() throws {
    let model = try Model(reading: Self.path)
    let recipe = Recipe(method: RoundToNearest(), grid: try IntegerGrid(bits: 4, groupSize: 128))
    let quantized = try model.quantized(with: recipe, team: ThreadTeam(count: 2))
    let parts = try #require(quantized.blocks[3].weights[.down]).weight.parts
    #expect(parts.map { Digest.of($0) } == Self.goldenDigests)
  }

  static let goldenDigests = [
    "594bf78a2fa561bb421e5a5b", "58e70538c10bf21794e25c92", "af20a806257c5bc4a75cacbe",
  ]

  @Test("a recipe that needs text and has none is refused")
  func noText() throws {
    let model = try Model(reading: Self.path)
    #expect(throws: Problem.self) {
      try Quantizer(model, recipe: Self.recipe(), team: ThreadTeam(count: 1))
    }
    #expect(throws: Problem.self) {
      try Calibration(tokens: [1, 2, 3], count: 2, length: 2, source: "short")
    }
    #expect(throws: Problem.self) { try Calibration(samples: [], source: "none") }
  }
}
