internal import LatheEncoding
public import LatheTensor

/// How a model's weights meet their inputs.
public enum Activations: String, Codable, CaseIterable, Sendable {
  /// As they are, in single precision: what evaluation uses unless asked.
  case float
  /// Rounded to signed bytes, a scale for each 32 to 128 of them and each token; sums of whole numbers.
  ///
  /// Fast, and close: weights of no whole codes (floats, odd groups, scales that binary16 cannot hold) meet inputs as they
  /// are; `weightsWithoutTiles` counts them.
  case int8
}

extension Model {
  /// The model with its weights laid out for the given inputs.
  ///
  /// With `int8`, each weight is copied into tiles at its second use, and the pages of its file are given up; from then on the
  /// mapped file is not touched but for the embeddings of tokens. The first use reads the file alone, to the same results: the
  /// first token of a model does not wait for tiles. Weights of which only that copy tells whether they fit are copied at once.
  public func prepared(for activations: Activations, team: ThreadTeam) -> Model {
    var copy = self
    switch activations {
    case .float:
      copy.tiledEmbedding = nil
      copy.head?.tiles = nil
      for layer in copy.blocks.indices {
        for role in Role.allCases { copy.blocks[layer].weights[role]?.tiles = nil }
      }
    case .int8:
      for layer in copy.blocks.indices {
        for role in Role.allCases { copy.blocks[layer].weights[role]?.tile(role, team) }
      }
      copy.head?.tile(nil, team)
      if head == nil { copy.tiledEmbedding = embedding.tiled(later: true, team: team) }
    }
    return copy
  }

  /// Copies into tiles what waits for its second use.
  package func layOut(team: ThreadTeam) {
    for linear in blocks.flatMap({ $0.weights.values }) + [effectiveHead] { linear.tiles?.layOut(team: team) }
  }

  /// How its weights meet their inputs.
  public var activations: Activations {
    let isTiled =
      tiledEmbedding != nil || head?.tiles != nil
      || blocks.contains { $0.weights.values.contains { $0.tiles != nil } }
    return isTiled ? .int8 : .float
  }
}

extension Model {
  /// The weights that meet inputs as they are, of all that are multiplied: those of the blocks and the head.
  public var weightsWithoutTiles: (count: Int, all: Int) {
    let all = blocks.flatMap { $0.weights.values } + [effectiveHead]
    return (all.count { $0.tiles == nil }, all.count)
  }
}

extension Linear {
  /// Lays the weight out in tiles, where it can be.
  ///
  /// Three quarters of what rounding costs come from the inputs of `down`, products of two activations.
  fileprivate mutating func tile(_ role: Role?, _ team: ThreadTeam) {
    tiles = weight.tiled(isDelicate: role == .down, later: true, team: team)
  }
}
