/// A decoder-only transformer, described as data.
///
/// The decoder interprets these values; it never asks an architecture's name. What a model needs and no feature
/// names becomes a new feature. One description per file in `Architectures/`.
public struct Architecture: Sendable, Hashable {
  /// The `model_type` values of `config.json` that mean this architecture.
  public let names: Set<String>
  /// The value of GGUF's `general.architecture`.
  public let ggufName: String
  /// How `config.json` describes its sizes.
  let configurationKeys: ConfigurationKeys
  /// The checkpoint's name for each weight, without suffix; "#" stands for the layer.
  public let tensorNames: TensorNames
  /// GGUF's names for the same.
  public let ggufTensorNames: TensorNames
  /// How GGUF orders the rows of query and key: rotated pairs side by side, or half a head apart as in `config.json` models.
  public let ggufRotation: RotaryConfiguration.Pairing
  /// Where a scale can move from a weight to the one that feeds it.
  public let foldPoints: [FoldPoint]

  /// Our own names, each weight by itself.
  public var nativeTensorNames: TensorNames { tensorNames.separated }

  /// Every architecture. A new one is one file and one line here.
  public static let all: [Architecture] = [.llama, .phi3, .openELM]

  /// The architecture that `config.json` calls `name`.
  public static func named(_ name: String) -> Architecture? { all.first { $0.names.contains(name) } }

  /// The architecture that GGUF calls `name`.
  public static func named(gguf name: String) -> Architecture? { all.first { $0.ggufName == name } }

  public static func == (a: Architecture, b: Architecture) -> Bool { a.ggufName == b.ggufName }

  public func hash(into hasher: inout Hasher) { hasher.combine(ggufName) }
}

/// What a weight matrix does in its block.
public enum Role: String, Codable, Sendable, CaseIterable {
  /// Makes queries.
  case query = "q"
  /// Makes keys.
  case key = "k"
  /// Makes values.
  case value = "v"
  /// Joins the heads' outputs.
  case output = "o"
  /// Makes what is activated in the feed-forward part.
  case gate
  /// Makes what the activated gate is multiplied with.
  case up
  /// Leads the feed-forward part back to the hidden state.
  case down

  /// The place in the block its input comes from.
  public var input: BlockInput {
    switch self {
    case .query, .key, .value: .attention
    case .output: .attentionOutput
    case .gate, .up: .feedForward
    case .down: .feedForwardHidden
    }
  }
}

/// The four places in a block whose values weights multiply, in the order they are computed.
public enum BlockInput: Int, Sendable, CaseIterable, Comparable {
  /// The normalized hidden state: query, key, value.
  case attention
  /// The heads' outputs side by side: output.
  case attentionOutput
  /// The normalized hidden state after attention: gate, up.
  case feedForward
  /// The product of the activated gate and up: down.
  case feedForwardHidden

  public static func < (a: BlockInput, b: BlockInput) -> Bool { a.rawValue < b.rawValue }

  /// The weights that read it.
  public var consumers: [Role] { Role.allCases.filter { $0.input == self } }
}

/// Where a weight matrix stands: the address calibration, quantization and saving share.
public struct Site: Hashable, Codable, Sendable, CustomStringConvertible {
  /// The block, from 0.
  public let layer: Int
  /// What the weight does in its block.
  public let role: Role

  /// The site of `role` in block `layer`.
  public init(_ layer: Int, _ role: Role) { (self.layer, self.role) = (layer, role) }

  /// "layer.role", the form recipe patterns match.
  public var description: String { "\(layer).\(role.rawValue)" }
}

/// Weights that share an input, and what feeds it.
///
/// A scale can move across a fold point: transforms need no table of architectures.
public struct FoldPoint: Sendable, Hashable {
  /// What produces the shared input.
  public enum Producer: Sendable, Hashable {
    /// The norm before attention.
    case attentionNorm
    /// The norm before the feed-forward part.
    case feedForwardNorm
    /// A weight of the same block.
    case weight(Role)
  }

  /// The weights that read the input.
  public let consumers: [Role]
  /// What writes it.
  public let producer: Producer
}

/// The norms of a block.
public enum BlockNorm: Sendable, CaseIterable {
  /// Before attention.
  case attention
  /// Before the feed-forward part.
  case feedForward
  /// Of each head's queries, before they are turned.
  case query
  /// Of each head's keys, before they are turned.
  case key
}

/// A dialect's names for the tensors of a decoder, "#" standing for the layer.
///
/// Weights of one name are one tensor, their rows one after another in the order of `Role`: a fused projection.
public struct TensorNames: Sendable, Hashable {
  /// The token embedding, the last norm and the head.
  public let embedding, finalNorm, head: String
  /// The norms of a block; some architectures have no norms of heads.
  public let norms: [BlockNorm: String]
  /// The weights of a block.
  public let weights: [Role: String]

  /// The name of a weight, without ".weight" or ".bias".
  public func name(of site: Site) -> String { Self.inLayer(site.layer, weights[site.role] ?? "") }

  /// The tensor of a norm's scales; nil where the architecture has no such norm.
  public func tensor(of norm: BlockNorm, in layer: Int) -> String? {
    norms[norm].map { Self.inLayer(layer, $0) + ".weight" }
  }

  /// The weights of a block, those of one tensor together.
  public var tensors: [[Role]] {
    var found: [[Role]] = []
    for role in Role.allCases {
      if let last = found.last?.last, weights[last] == weights[role] {
        found[found.count - 1].append(role)
      } else {
        found.append([role])
      }
    }
    return found
  }

  /// The same names, those of fused weights told apart by what each does.
  var separated: TensorNames {
    var weights = weights
    for roles in tensors where roles.count > 1 {
      for role in roles { weights[role]? += "." + role.rawValue }
    }
    return TensorNames(
      embedding: embedding, finalNorm: finalNorm, head: head, norms: norms, weights: weights)
  }

  /// `pattern` with the layer's number in it.
  public static func inLayer(_ layer: Int, _ pattern: String) -> String {
    pattern.split(separator: "#", omittingEmptySubsequences: false).joined(separator: "\(layer)")
  }
}
