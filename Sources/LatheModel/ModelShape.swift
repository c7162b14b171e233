import Foundation
public import LatheTensor

/// An architecture and its sizes, without weights: what a plan or a random model is made from.
public struct ModelShape: Sendable, Hashable {
  /// The name it was asked for by.
  public let name: String
  /// What kind of decoder it is.
  public let architecture: Architecture
  /// Its sizes.
  public let configuration: Configuration

  /// A shape of the given parts.
  public init(name: String, architecture: Architecture, configuration: Configuration) {
    (self.name, self.architecture, self.configuration) = (name, architecture, configuration)
  }

  /// The shape `text` names: one of `all`, a `config.json`, or a model, of which only the headers are read.
  ///
  /// - Throws: `Problem` where there is no such name or file, or the sizes are no decoder's.
  public init(named text: String) throws(Problem) {
    if let known = Self.all.first(where: { $0.name == text }) {
      self = known
      return
    }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: text, isDirectory: &isFolder) else {
      throw Problem(.noInput, "there is no shape of this name, and no such file", at: text, cure: Self.cure)
    }
    let file = isFolder.boolValue ? text + "/config.json" : text
    guard file.hasSuffix(".json"), FileManager.default.fileExists(atPath: file) else {
      let model = try Model(reading: text)
      self.init(name: text, architecture: model.architecture, configuration: model.configuration)
      try checkSize()
      return
    }
    let (architecture, configuration) = try HuggingFaceDialect.configuration(
      from: try JSONObject(reading: file), hasTensor: { _ in true })
    do throws(Problem) {
      try configuration.validate()
    } catch {
      throw error.located(at: file)
    }
    self.init(name: text, architecture: architecture, configuration: configuration)
    try checkSize()
  }

  /// Refuses sizes that are in range one by one, but not together.
  private func checkSize() throws(Problem) {
    let c = configuration
    var count = 2 * Double(c.vocabularySize) * Double(c.hiddenSize)
    for layer in 0..<c.layers {
      for role in Role.allCases {
        let (rows, columns) = c.shape(of: Site(layer, role))
        count += Double(rows) * Double(columns)
      }
    }
    guard count < 0x1p47 else {
      throw Problem(.badData, "a model of \(count) weights is out of range", at: name)
    }
  }

  private static var cure: String { "known are \(all.map(\.name).joined(separator: ", ")), or a config.json" }

  /// The shapes known by name. A new one is one entry here.
  public static let all: [ModelShape] = [
    // huggingface.co/meta-llama/Llama-3.2-1B
    ModelShape(
      name: "llama-3.2-1b", architecture: .llama,
      configuration: Configuration(
        hiddenSize: 2048, layers: 16, heads: 32, keyValueHeads: 8, headDimension: 64, feedForwardSize: 8192,
        vocabularySize: 128_256, contextLength: 131_072, normEpsilon: 1e-5,
        rotary: RotaryConfiguration(
          base: 500_000, pairing: .halves,
          scaling: .llama3(factor: 32, lowFactor: 1, highFactor: 4, originalContext: 8192)),
        tiesEmbeddings: true)),
    // arXiv:2407.21783
    ModelShape(
      name: "llama-3-8b", architecture: .llama,
      configuration: Configuration(
        hiddenSize: 4096, layers: 32, heads: 32, keyValueHeads: 8, headDimension: 128, feedForwardSize: 14336,
        vocabularySize: 128_256, contextLength: 8192, normEpsilon: 1e-5,
        rotary: RotaryConfiguration(base: 500_000, pairing: .halves), tiesEmbeddings: false)),
    // huggingface.co/microsoft/Phi-3-mini-4k-instruct
    ModelShape(
      name: "phi-3-mini", architecture: .phi3,
      configuration: Configuration(
        hiddenSize: 3072, layers: 32, heads: 32, keyValueHeads: 32, headDimension: 96, feedForwardSize: 8192,
        vocabularySize: 32064, contextLength: 4096, normEpsilon: 1e-5,
        rotary: RotaryConfiguration(base: 10_000, pairing: .halves), tiesEmbeddings: false,
        attentionWindow: 2047)),
    // huggingface.co/apple/OpenELM-1_1B
    ModelShape(
      name: "openelm-1.1b", architecture: .openELM,
      configuration: Configuration(
        hiddenSize: 2048, layers: 28, heads: 32, keyValueHeads: 8, headDimension: 64, feedForwardSize: 8192,
        vocabularySize: 32000, contextLength: 2048, normEpsilon: 1e-6,
        rotary: RotaryConfiguration(base: 10_000, pairing: .halves), tiesEmbeddings: true,
        normalizesHeads: true
      ).with(
        zip(
          [3, 7, 8, 6, 4].enumerated().flatMap { [Int](repeating: 16 + 4 * $0.offset, count: $0.element) },
          [
            1024, 1280, 1536, 1792, 2048, 2304, 2560, 2816, 3072, 3328, 3584, 3840, 4096, 4608, 4608, 5120,
            5376, 5632, 5888, 6144, 6400, 6656, 6912, 7168, 7424, 7680, 7936, 8192,
          ]
        ).map { LayerSizes(heads: $0, keyValueHeads: $0 / 4, feedForwardSize: $1) })),
  ]
}

extension ModelShape {
  /// A weight matrix that a model of this shape has.
  public struct Weight: Sendable, Hashable {
    /// Where it stands in a block; nil for the embedding and the head.
    public let site: Site?
    /// The name without ".weight".
    public let name: String
    /// The number of outputs and inputs.
    public let rows, columns: Int
  }

  /// Every tensor of weights, named as `names` has it; a tied head is none, fused weights are one.
  public func weights(_ names: TensorNames) -> [Weight] {
    let c = configuration
    var all = [Weight(site: nil, name: names.embedding, rows: c.vocabularySize, columns: c.hiddenSize)]
    for layer in 0..<c.layers {
      for roles in names.tensors {
        let site = Site(layer, roles[0])
        let rows = roles.reduce(0) { $0 + c.shape(of: Site(layer, $1)).rows }
        all.append(
          Weight(site: site, name: names.name(of: site), rows: rows, columns: c.shape(of: site).columns))
      }
    }
    if !c.tiesEmbeddings {
      all.append(Weight(site: nil, name: names.head, rows: c.vocabularySize, columns: c.hiddenSize))
    }
    return all
  }

  /// The tensors of the norms' scales, and how many each has.
  public func norms(_ names: TensorNames) -> [(name: String, count: Int)] {
    let c = configuration
    var all: [(name: String, count: Int)] = []
    for layer in 0..<c.layers {
      for norm in BlockNorm.allCases {
        let isOfHeads = norm == .query || norm == .key
        guard !isOfHeads || c.normalizesHeads, let name = names.tensor(of: norm, in: layer) else { continue }
        all.append((name, isOfHeads ? c.headDimension : c.hiddenSize))
      }
    }
    return all + [(names.finalNorm + ".weight", c.hiddenSize)]
  }
}
