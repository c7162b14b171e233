public import LatheEncoding
public import LatheModel
public import LatheTensor

/// The weights of a model that lie in no block.
public enum ModelEnd: String, CaseIterable, Sendable {
  /// One row for each token; it may serve as the head too.
  case embedding
  /// What multiplies the last hidden state.
  case head

  /// The weight of `model`; nil where the embedding serves as head.
  public func weight(of model: Model) -> EncodedMatrix? {
    switch self {
    case .embedding: model.embedding
    case .head: model.head?.weight
    }
  }
}

extension Recipe {
  /// The model with its embedding and head quantized, where a rule names them, and its blocks as they are.
  ///
  /// - Throws: `Problem` where a weight cannot be quantized, or the rule's method needs calibration: nothing is
  ///   gathered at the ends.
  public func quantizingEnds(of model: Model, team: ThreadTeam) throws(Problem) -> Model {
    var copy = model
    for end in ModelEnd.allCases {
      guard let rule = rule(for: end), let weight = end.weight(of: model) else { continue }
      guard let grid = rule.encoding.encoding as? any Grid else {
        throw Problem(.usage, "no method can choose codes of \(rule.encoding.encoding.label)")
      }
      do throws(Problem) {
        let encoded = try weight.quantized(
          byRunsWith: rule.method.method, onto: grid, given: Evidence(), team: team
        ).matrix
        switch end {
        case .embedding: copy.embedding = encoded
        case .head: copy.head?.weight = encoded
        }
      } catch {
        throw error.located(at: "the \(end.rawValue)")
      }
    }
    return copy
  }
}

extension EncodedMatrix {
  /// The matrix in single precision, its rows split over the threads of `team`.
  func decoded(team: ThreadTeam) -> Matrix {
    var out = Matrix(zeros: rows, columns)
    out.values.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      nonisolated(unsafe) let target = base
      team.split(rows, grain: 16) { range in
        encoding.decode(self, rows: range, into: target + range.lowerBound * columns, with: .best)
      }
    }
    return out
  }
}
