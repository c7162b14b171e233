internal import LatheEncoding
public import LatheModel
public import LatheTensor

/// A recipe known by name.
public struct Preset: Sendable {
  /// The name on the command line.
  public let name: String
  /// What it is, in a few words.
  public let title: String
  /// Where it was published.
  public let paper: String
  /// What the recipe says of every weight of the blocks; nil where it depends on the model.
  private let chain: (@Sendable () throws(Problem) -> Recipe)?
  private let mix: Bool

  /// The recipe for a model.
  ///
  /// - Parameters:
  ///   - model: the model to quantize, or nil for presets that suit every model.
  ///   - isWeighed: whether there is calibration text or an importance matrix to weigh errors by.
  /// - Throws: `Problem` where the recipe depends on the model and there is none, or does not suit it.
  public func recipe(for model: Model?, isWeighed: Bool = false) throws(Problem) -> Recipe {
    if let chain {
      var recipe = try chain()
      recipe.name = name
      return recipe
    }
    guard let model else {
      throw Problem(
        .usage, "the recipe \"\(name)\" is made for one model", cure: "name it on the command line")
    }
    return try GGUFMix.recipe(named: name, for: model, isWeighed: isWeighed)
  }

  /// Whether it needs no model to be made.
  public var suitsEveryModel: Bool { !mix }

  /// What is stored for a weight of the blocks: "int4 g128"; nil for a mix of types.
  public var encoding: String? { (try? chain?())?.rules.first?.storage.label }

  /// The bits of a code as papers count them, and the bits a weight of 4096 × 4096 costs; nil for a mix of types.
  public var bits: (nominal: Double, real: Double)? {
    guard let recipe = try? chain?(), let rule = recipe.rules.first,
      let bytes = try? recipe.storedBytes(at: Site(0, .query), rows: 4096, columns: 4096)
    else { return nil }
    return (rule.storage.nominalBits, Double(8 * bytes) / (4096 * 4096))
  }

  /// A method, perhaps behind transforms, on one grid.
  init(_ name: String, _ chain: String, _ request: GridRequest? = nil, set options: [(String, String)] = []) {
    let made = try? Chain(chain)
    self.name = name
    title = made?.title ?? chain
    paper = made?.paper ?? ""
    mix = false
    self.chain = { () throws(Problem) in
      let chain = try Chain(chain, setting: options.map { (key: $0.0, value: $0.1) })
      return chain.recipe(try EncodingCatalog.grid(for: request ?? chain.defaults))
    }
  }

  /// A mix of GGUF's block types.
  init(mix name: String) {
    self.name = name
    title = "GGUF's \(name.uppercased())"
    paper = "llama.cpp"
    mix = true
    chain = nil
  }
}

/// Every recipe known by name. A new one is one line here.
public enum PresetCatalog {
  /// The presets, the study's first.
  public static let all: [Preset] =
    study + today + GGUFMix.names.map { Preset(mix: $0) }

  /// The preset called `name`.
  public static subscript(name: String) -> Preset? { all.first { $0.name == name } }

  private static func grid(
    _ bits: Double, _ group: Int?, symmetric: Bool = false, centred: Bool = false, family: String? = nil
  ) -> GridRequest {
    GridRequest(bits: bits, groupSize: group, isSymmetric: symmetric, isCentred: centred, family: family)
  }

  /// The post-training rows of "How good are low-bit quantized LLaMA3 models?" (arXiv:2404.14047, tables 1 and 2).
  private static var study: [Preset] {
    var presets: [Preset] = []
    for method in ["rtn", "gptq", "awq"] {
      presets += [4, 3, 2].map { Preset("\(method)-w\(Int($0))g128", method, grid($0, 128)) }
      presets += [8, 4, 3, 2].map { Preset("\(method)-w\(Int($0))", method, grid($0, nil)) }
    }
    presets += [4, 3, 2].map {
      Preset("quip-w\(Int($0))", "quip", grid($0, nil, symmetric: true, centred: true))
    }
    presets += [
      Preset("pb-llm-2", "pb-llm", set: [("salientShare", "\(1.0 / 7)")]),
      Preset("pb-llm-1.7", "pb-llm"),
      Preset("billm", "billm"),
    ]
    presets += [8, 6, 4].map { bits in
      Preset(
        "smoothquant-w\(Int(bits))a\(Int(bits))", "smoothquant", grid(bits, nil, symmetric: true),
        set: [("alpha", "0.85"), ("activationBits", "\(Int(bits))")])
    }
    return presets
  }

  /// What today's users compare them with.
  private static var today: [Preset] {
    var presets = [
      Preset("arb-billm", "billm", set: [("refits", "15")]),
      Preset("w4a16", "gptq", grid(4, 128, symmetric: true)),
      Preset("w8a16", "gptq", grid(8, nil, symmetric: true)),
      Preset("w8a8", "smoothquant+gptq", grid(8, nil, symmetric: true), set: [("alpha", "0.8")]),
      Preset("nf4", "rtn", grid(4, nil, family: "nf4")), Preset("fp4", "rtn", grid(4, nil, family: "fp4")),
      Preset("mxfp4", "rtn", grid(4, nil, family: "mxfp4")),
      Preset("nvfp4", "rtn", grid(4, nil, family: "nvfp4")),
      Preset(
        "quarot-w4a4", "hadamard+activations+gptq", grid(4, nil, symmetric: true),
        set: [("activationBits", "4"), ("clip", "true")]),
    ]
    presets += [4, 3, 2].map { Preset("quarot-w\(Int($0))", "hadamard+gptq", grid($0, nil)) }
    presets += [4, 3, 2].map { Preset("awq-gptq-w\(Int($0))g128", "awq+gptq", grid($0, 128)) }
    // The best that is here without training, with and without groups: a rotation, ranges searched, a target that makes up
    // for what earlier weights spoiled, and passes after the sweep.
    let drift = [("mismatch", "1"), ("clip", "true"), ("passes", "3")]
    presets += [4, 3, 2].map { Preset("best-w\(Int($0))g128", "hadamard+gptq", grid($0, 128), set: drift) }
    presets += [4, 3, 2].map {
      Preset(
        "best-w\(Int($0))", "quip", grid($0, nil, symmetric: true, centred: true), set: [("mismatch", "1")])
    }
    presets += [4, 3, 2].map { Preset("hqq-w\(Int($0))", "hqq", grid($0, 64)) }
    return presets
  }
}
