internal import LatheEncoding

/// The parts of a model's work that are timed apart.
package enum StepGroup: String, CaseIterable, Sendable {
  /// The embedding and the head.
  case ends = "embedding, head"
  /// Queries, keys, values and what joins the heads.
  case projections = "q, k, v, o"
  /// The two weights that lead into the feed-forward part.
  case gateUp = "gate, up"
  /// The weight that leads out of it.
  case down
  /// Attention over the cache.
  case attention = "attention, cache"
  /// Norms, activation, sums.
  case rest = "norms and the rest"
}

extension Model {
  /// The bytes of weights that one token reads in each group; of the embedding one row.
  package var weightBytesPerToken: [StepGroup: Int] {
    var bytes: [StepGroup: Int] = [:]
    bytes[.ends] = effectiveHead.byteCount + embedding.byteCount / max(1, embedding.rows)
    bytes[.rest] = 4 * finalNorm.count
    for block in blocks {
      bytes[.rest, default: 0] += 4 * block.normCount
      for (role, linear) in block.weights { bytes[role.group, default: 0] += linear.byteCount }
    }
    return bytes
  }
}

extension Role {
  fileprivate var group: StepGroup {
    switch self {
    case .query, .key, .value, .output: .projections
    case .gate, .up: .gateUp
    case .down: .down
    }
  }
}
