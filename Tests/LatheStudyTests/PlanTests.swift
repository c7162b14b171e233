import Foundation
import LatheEncoding
import LatheEvaluate
import LatheQuantize
import LatheStudy
import LatheTensor
import LatheTestSupport
import Testing

@Suite struct PlanTests {
  @Test func everyPartIsRead() throws {
    let study = try TinyStudy.study()
    #expect(study.name == "tiny")
    #expect(study.models.map(\.label) == ["tiny"])
    #expect(study.calibration == CalibrationText("self", samples: 2, length: 64, seed: 1))
    #expect(study.measures.map(\.protocolName) == ["self-64-seed-2", "speed-8-4"])
    #expect(study.keepsModels)
  }

  @Test func listsStandForEveryCombination() throws {
    let text = TinyStudy.plan().replacingOccurrences(
      of: "{method: [rtn, gptq], bits: [4, 2], group: 128}",
      with:
        "{method: [gptq], bits: [4, 3], group: [64, 0], symmetric: [true, false], set: {actOrder: [true, false]}}"
    )
    let study = try TinyStudy.study(text)
    #expect(study.recipes.count == 16)
    #expect(Set(study.recipes.map(\.label)).count == 16)
    #expect(study.recipes[0].label == "gptq int4s g64 actOrder")
    #expect(study.recipes[0].family == "GPTQ g64 symmetric actOrder")
    #expect(
      study.recipes[0].options == "--method gptq --bits 4 --group-size 64 --symmetric --set actOrder=true")
  }

  @Test func bitsVarySlowest() throws {
    let labels = try TinyStudy.study().recipes.map(\.label)
    #expect(labels == ["rtn int4 g128", "gptq int4 g128", "rtn int2 g128", "gptq int2 g128"])
    #expect(try TinyStudy.study().recipes.map(\.nominalBits) == [4, 4, 2, 2])
  }

  @Test func rulesAreRecipes() throws {
    let text = TinyStudy.plan(
      more: """
        keep: false
        """
    ).replacingOccurrences(
      of: "- {method: [rtn, gptq], bits: [4, 2], group: 128}",
      with: """
        - label: mixed
            rules:
              - {sites: "*.down|0.*", method: gptq, set: {damping: 0.05}, encoding: {encoding: integer, bits: 8, group_size: 64}}
              - {method: rtn, bits: 1.58, group: 0}
        """)
    let study = try TinyStudy.study(text)
    let recipe = try #require(study.recipes.first)
    #expect(recipe.label == "mixed")
    #expect(recipe.recipe.rules.map(\.sites) == ["*.down|0.*", "*"])
    #expect(recipe.recipe.rules.map(\.encoding.encoding.label) == ["int8 g64", "ternary row"])
    #expect(recipe.nominalBits == nil)
    #expect(!study.keepsModels)
  }

  @Test func theDemoIsAPlan() throws {
    let study = try Study(reading: TestData.packageFolder + "/Studies/demo.yml")
    #expect(study.recipes.count == 8)
    #expect(study.models.map(\.label) == ["novella-6m"])
  }

  @Test func protocolsAreNamed() throws {
    let text = TinyStudy.plan(
      measures: """
          - perplexity: {protocol: gptq-wikitext2-2048, windows: 2}
          - perplexity: {text: Package.swift, window: 128, bos: none, divergence: false}
        """)
    let study = try TinyStudy.study(text)
    #expect(
      study.measures.map(\.protocolName) == [
        "gptq-wikitext2-2048 (first 2 windows)", "text-128-bos-none Package.swift",
      ])
  }

  /// A replacement in the plan, what the sentence must say, and its line.
  static let mistakes: [(String, String, String, Int)] = [
    ("name: tiny", "nmae: tiny", "unknown key \"nmae\" in the file; known are name, title", 1),
    ("name: tiny", "name: ../tiny", "cannot name a run", 1),
    ("label: tiny", "lable: tiny", "unknown key \"lable\" in model; known are path, label, tokenizer", 4),
    (
      "samples: 2", "sample: 2",
      "unknown key \"sample\" in calibration; known are text, samples, length, seed", 5
    ),
    ("samples: 2", "samples: 0", "samples must be a whole number from 1 to 1048576, not \"0\"", 5),
    ("samples: 2", "samples: many", "samples must be a whole number from 1 to 1048576, not \"many\"", 5),
    ("seed: 1", "seed: -1", "seed must be a whole number, 0 or more, not \"-1\"", 5),
    ("[rtn, gptq]", "[rtn, gptx]", "unknown method \"gptx\"; known are rtn, ", 7),
    ("bits: [4, 2]", "bits: [4, 9]", "9 bits are out of range; choose 1 to 8", 7),
    ("bits: [4, 2]", "bits: [4, nan]", "bits must be a number, not \"nan\"", 7),
    ("bits: [4, 2]", "bits: [4, 1e300]", "bits are out of range", 7),
    ("bits: [4, 2]", "bits: [4, 4]", "the recipe \"rtn int4 g128\" occurs twice", 7),
    ("group: 128", "group: -1", "group must be a whole number from 0 to 1048576, not \"-1\"", 7),
    ("group: 128", "symmetric: maybe", "symmetric must be true or false, not \"maybe\"", 7),
    ("group: 128", "set: {bogus: 1}", "rtn has no option \"bogus\"; its options are clip", 7),
    ("group: 128", "set: {clip: 7}", "rtn cannot set clip to \"7\"; give true or false", 7),
    ("method: [rtn, gptq], bits", "bits", "a recipe needs method and bits", 7),
    ("perplexity: {text: self", "perplexty: {text: self", "unknown key \"perplexty\" in measure", 9),
    (
      "text: self, window", "protocol: ptb, window",
      "window has no place here: a named protocol has its own; remove it", 9
    ),
    ("text: self, window: 64,", "bos: none,", "perplexity needs either a protocol or a text", 9),
    ("window: 64", "window: 1", "window must be a whole number from 2 to 1048576, not \"1\"", 9),
    ("divergence: true", "divergence: 1", "divergence must be true or false, not \"1\"", 9),
    ("prompt: 8", "prompt: [8]", "prompt must be a whole number", 10),
    ("title:", "name:", "occurs twice", 1),
    ("title:", "title: [", "not YAML", 3),
  ]

  @Test(arguments: mistakes) func aMistakeGetsASentence(_ mistake: (String, String, String, Int)) throws {
    let text = TinyStudy.plan().replacingOccurrences(of: mistake.0, with: mistake.1)
    #expect(text != TinyStudy.plan())
    let problem = #expect(throws: Problem.self) { try TinyStudy.study(text) }
    #expect(problem?.kind == .badData)
    #expect(problem?.description.contains(mistake.2) == true, "\(problem?.description ?? "")")
    let place = problem?.place ?? ""
    #expect(
      place == "plan:\(mistake.3)" || mistake.2 == "occurs twice" || mistake.2 == "not YAML", "\(place)")
  }

  @Test func missingPartsAndFilesAreNamed() throws {
    let empty = #expect(throws: Problem.self) { try TinyStudy.study("name: x\n") }
    #expect(empty?.description.contains("the plan has no \"models\"") == true)
    let file = #expect(throws: Problem.self) {
      try TinyStudy.study(TinyStudy.plan().replacingOccurrences(of: "novella-6m", with: "novella-7m"))
    }
    #expect(file?.kind == .noInput)
    #expect(file?.place == "plan:4")
    let plan = #expect(throws: Problem.self) { try Study(reading: "/nowhere/plan.yml") }
    #expect(plan?.kind == .noInput)
    let without = #expect(throws: Problem.self) {
      try TinyStudy.study(TinyStudy.plan().replacingOccurrences(of: "calibration: {", with: "title: {"))
    }
    #expect(without != nil)
  }

  @Test(arguments: [
    "", "[]", "- a\n- b", "name", "\u{0}", String(repeating: "[", count: 100_000), "a: &a [*a]", "%YAML 9",
  ])
  func nonsenseIsRefused(_ text: String) {
    let problem = #expect(throws: Problem.self) { try TinyStudy.study(text) }
    #expect(problem?.kind == .badData)
  }

  @Test func recipesAreFiles() throws {
    try TinyStudy.inFolder { folder in
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let path = folder + "/mixed.yml"
      try AtomicFile.write(
        "rules:\n  - {sites: \"0.*\", method: gptq, bits: 8}\n  - {method: rtn, bits: 3, group: 32}\n",
        to: path)
      let recipe = try Recipe(reading: path)
      #expect(recipe.name == "mixed")
      #expect(recipe.rules.map(\.encoding.encoding.label) == ["int8 g128", "int3 g32"])
      let text = TinyStudy.plan().replacingOccurrences(
        of: "{method: [rtn, gptq], bits: [4, 2], group: 128}", with: "{file: \"\(path)\", label: both}")
      #expect(try TinyStudy.study(text).recipes.map(\.label) == ["both"])
      try AtomicFile.write(
        "rules:\n  - {method: rtn, encoding: {encoding: integer, bits: 4, wide: 1}}\n", to: path)
      let problem = #expect(throws: Problem.self) { try Recipe(reading: path) }
      #expect(
        problem?.description.contains(":2: the encoding has no setting \"wide\"; known are bits") == true)
    }
  }
}
