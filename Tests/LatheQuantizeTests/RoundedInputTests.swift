import Foundation
import LatheEncoding
import LatheEvaluate
import LatheModel
import LatheQuantize
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// What rounding a model's inputs to bytes costs, on a real model of four bits.
@Suite struct RoundedInputTests {
  static let path = TestData.packageFolder + "/Models/novella-6m"

  static func quantized(_ grid: any Grid, team: ThreadTeam) throws -> Model {
    try Model(reading: path).quantized(with: Recipe(method: RoundToNearest(), grid: grid), team: team)
  }

  @Test(
    "at four and eight bits the divergence from exact products is below a thousandth of a nat",
    arguments: [4, 8])
  func divergence(bits: Int) throws {
    let team = ThreadTeam(count: 2)
    let exact = try Self.quantized(IntegerGrid(bits: bits, groupSize: 64), team: team)
    let rounded = exact.prepared(for: .int8, team: team)
    #expect(rounded.activations == .int8 && exact.activations == .float)
    let text = try SelfWrittenText.write(exact, first: 1, count: 4, length: 256, seed: 3, threads: 2)
    let result = try Perplexity(rounded, reference: exact, team: team)
      .measure(text, protocolName: "self")
    let divergence = try #require(result.divergence)
    #expect(divergence.mean > 0 && divergence.mean < 1e-3)
    // What goes back is what was.
    let back = rounded.prepared(for: .float, team: team)
    let a = Inference(exact, team: team), b = Inference(back, team: team)
    #expect(a.logits(after: text[0], cache: a.makeCache()) == b.logits(after: text[0], cache: b.makeCache()))
  }

  /// Recipes whose weights were not always executed from packed bits, and the divergence their tiles may add.
  static let recipes: [(name: String, limit: Double, make: @Sendable () throws -> Recipe)] = [
    ("nf4", 1e-3, { Recipe(method: RoundToNearest(), grid: NormalFloatGrid(.nf4)) }),
    ("fp4", 1e-3, { Recipe(method: RoundToNearest(), grid: NormalFloatGrid(.fp4)) }),
    ("nvfp4", 1e-3, { Recipe(method: RoundToNearest(), grid: NVFP4Grid()) }),
    (
      "scattered",
      1e-3,
      {
        var method = GPTQ()
        (method.actOrder, method.staticGroups) = (true, false)
        return Recipe(method: method, grid: try IntegerGrid(bits: 3, groupSize: 32))
      }
    ),
    ("ternary", 1e-3, { Recipe(method: RoundToNearest(), grid: try TernaryGrid(groupSize: 32)) }),
    // Inputs are rounded in any case, but a sum's last place may tip a code, here as between instruction sets.
    (
      "w8a8", 1e-3,
      {
        Recipe(
          name: "w8a8", transforms: [SmoothQuant()],
          rules: [Rule(method: RoundToNearest(), encoding: try IntegerGrid(bits: 8, groupSize: nil))])
      }
    ),
    ("billm", 1e-3, { Recipe(method: BiLLM(), grid: try IntegerGrid(bits: 4, groupSize: 128)) }),
    ("pbllm", 1e-3, { Recipe(method: PBLLM(), grid: try IntegerGrid(bits: 4, groupSize: 128)) }),
  ]

  @Test(
    "every kind of code is executed from packed bits, near to what it stands for", arguments: recipes.indices)
  func kinds(index: Int) throws {
    let team = ThreadTeam(count: 2), (name, limit, make) = Self.recipes[index]
    let original = try Model(reading: Self.path)
    let runs = try SelfWrittenText.write(original, first: 1, count: 8, length: 128, seed: 5, threads: 2)
    let exact = try original.quantized(
      with: make(), calibratingOn: Calibration(samples: runs, source: "self"), team: team)
    let rounded = exact.prepared(for: .int8, team: team)
    #expect(rounded.blocks.allSatisfy { $0.weights.values.allSatisfy { $0.tiles != nil } }, "\(name)")
    let result = try Perplexity(rounded, reference: exact, team: team).measure(runs, protocolName: "self")
    let divergence = try #require(result.divergence)
    #expect(divergence.mean < limit, "\(name): \(divergence.mean)")
  }

  @Test("the likeliest 64 tokens are the same after nine prompts of ten")
  func greedy() throws {
    let team = ThreadTeam(count: 2)
    let exact = try Self.quantized(IntegerGrid(bits: 4, groupSize: 64), team: team)
    let tokenizer = try Tokenizer.forModel(at: Self.path, override: nil)
    let prompts = [
      "The captain", "It was a dark night", "She looked at", "In the morning", "My dear", "The old house",
      "He said nothing", "When the ship", "Of all the men", "There was once",
    ]
    var options = SamplingOptions()
    options.temperature = 0
    var same = 0
    for prompt in prompts {
      var texts: [[Int32]] = []
      for activations in Activations.allCases {
        let inference = Inference(exact.prepared(for: activations, team: team), team: team)
        var ids: [Int32] = []
        try inference.generate(
          after: tokenizer.encode(prompt), limit: 64, sampling: options, end: []
        ) {
          ids.append($0)
          return true
        }
        texts.append(ids)
      }
      if texts[0] == texts[1] { same += 1 }
    }
    #expect(same >= 9, "\(same) of \(prompts.count)")
  }

  @Test("five tokens read together give what they give one by one, to the bit: a draft is verified exactly")
  func together() throws {
    let team = ThreadTeam(count: 2)
    let exact = try Self.quantized(IntegerGrid(bits: 4, groupSize: 64), team: team)
    let inference = Inference(exact.prepared(for: .int8, team: team), team: team)
    let prompt: [Int32] = [1, 300, 17, 912, 45, 7, 61, 88], rest: [Int32] = [5, 420, 33, 9, 1200]
    let a = inference.makeCache(), b = inference.makeCache()
    _ = inference.logits(after: prompt, cache: a)
    _ = inference.logits(after: prompt, cache: b)
    let together = inference.logits(atEach: rest, cache: a)
    let width = inference.configuration.vocabularySize
    for (i, token) in rest.enumerated() {
      let alone = inference.logits(after: [token], cache: b)
      #expect(alone == Array(together[i * width..<(i + 1) * width]), "token \(i)")
    }
  }
}
