import Foundation
import LatheEncoding
import LatheModel
import LatheQuantize
import LatheTensor
import Testing

/// Recipes by name: chains and presets.
@Suite struct ChainTests {
  @Test("options go to the part that has them, or to the one that is named")
  func options() throws {
    let chain = try Chain(
      "hadamard+activations+gptq",
      setting: [("activationBits", "4"), ("clip", "true"), ("hadamard.seed", "7"), ("gptq.damping", "0.05")])
    #expect((chain.transforms[0] as? Hadamard)?.seed == 7)
    #expect((chain.transforms[1] as? QuantizedActivations)?.activationBits == 4)
    let method = try #require(chain.method as? GPTQ)
    #expect(method.clip && method.damping == 0.05)
    #expect(chain.name == "hadamard+activations+gptq")
  }

  @Test(
    "a chain that makes no sense is refused in a sentence",
    arguments: ["", "+", "gptq+awq", "gptq+rtn", "awq+", "nope", "awq+nope+gptq"])
  func nonsense(text: String) {
    let problem = #expect(throws: Problem.self) { try Chain(text) }
    #expect(problem?.kind == .usage)
  }

  @Test(
    "an option nobody has is named",
    arguments: [("x", "1"), ("awq.x", "1"), ("quip.seed", "1"), ("steps", "many")])
  func unknownOption(option: (String, String)) {
    #expect(throws: Problem.self) { try Chain("awq+gptq", setting: [(key: option.0, value: option.1)]) }
  }

  @Test("every preset makes a recipe that survives its own text", arguments: PresetCatalog.all.map(\.name))
  func presets(name: String) throws {
    let preset = try #require(PresetCatalog[name])
    let model = try Model(reading: DriverTests.path)
    let recipe = try preset.recipe(for: model)
    let copy = try JSONDecoder().decode(Recipe.self, from: Data(recipe.text.utf8))
    #expect(copy == recipe)
    #expect(recipe.name == name)
    try recipe.validate(for: model)
    if let bits = preset.bits { #expect(bits.real > bits.nominal && bits.real < bits.nominal + 2) }
    if preset.suitsEveryModel { #expect(try preset.recipe(for: nil) == recipe) }
  }

  @Test("names of presets are unique, and every method and transform has one")
  func completeness() throws {
    let names = PresetCatalog.all.map(\.name)
    #expect(Set(names).count == names.count)
    let recipes = try PresetCatalog.all.filter(\.suitsEveryModel).map { try $0.recipe(for: nil) }
    let methods = Set(recipes.flatMap { $0.rules.map { type(of: $0.method.method).card.name } })
    let transforms = Set(recipes.flatMap { $0.transforms.map { type(of: $0.transform).card.name } })
    #expect(methods == Set(MethodCatalog.names))
    #expect(transforms == Set(TransformCatalog.names))
  }

  @Test("every transform's card says what each option does", arguments: TransformCatalog.names)
  func cards(name: String) throws {
    let type = try #require(TransformCatalog[name])
    let data = try JSONEncoder().encode(try TransformDescription(name: name))
    let members = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    for option in members.keys where option != "name" {
      #expect(type.card.options[option] != nil, "\(option)")
    }
    #expect(!type.card.summary.isEmpty && !type.card.paper.isEmpty)
  }
}
