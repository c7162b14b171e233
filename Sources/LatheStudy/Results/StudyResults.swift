internal import Foundation
public import LatheTensor

/// What a run directory holds, arranged for reading: a row for each model under each recipe.
public struct StudyResults: Sendable {
  /// The current plan.
  public var study: Study
  /// The rows of the current plan in its order, then those that only earlier plans asked for.
  public var rows: [ResultRow]
  /// The number of the plan's cells, and how many are finished.
  public var cells, finishedCells: Int

  /// Reads everything a run directory's database holds.
  ///
  /// - Throws: `Problem` where the database cannot be read, or no plan was ever begun in it.
  public init(of store: ResultStore) throws(Problem) {
    guard let plan = try store.currentPlan() else {
      throw Problem(
        .badData, "the database holds no study", at: store.path, cure: "run lathe study there first")
    }
    do {
      study = try JSONDecoder().decode(Study.self, from: Data(plan.text.utf8))
    } catch {
      throw Problem(
        .badData, "the stored plan cannot be read", at: store.path,
        cure: "run the study again in another directory")
    }
    let everything = try store.everything()
    let wanted = Set(plan.cells.map(\.cell))
    var order: [String: Int] = [:]
    for (position, cell) in plan.cells.enumerated() where order[cell.variant] == nil {
      order[cell.variant] = position
    }
    (cells, finishedCells) = (plan.cells.count, everything.cells.count { wanted.contains($0.key) })
    let scores = Dictionary(grouping: everything.scores, by: \.cell)
    let weights = Dictionary(grouping: everything.weights, by: \.variant)
    let answers = Dictionary(grouping: everything.answers, by: \.cell)
    // The current plan's cells come last, so that their figures win over earlier ones under the same name.
    let cells = Dictionary(grouping: everything.cells, by: \.variant).mapValues { cells in
      cells.filter { !wanted.contains($0.key) } + cells.filter { wanted.contains($0.key) }
    }
    rows = everything.variants.map { variant in
      ResultRow(
        variant: variant, isCurrent: order[variant.key] != nil, cells: cells[variant.key] ?? [],
        scores: (cells[variant.key] ?? []).flatMap { scores[$0.key] ?? [] },
        weights: weights[variant.key] ?? [],
        answers: (cells[variant.key] ?? []).flatMap { cell in
          (answers[cell.key] ?? []).map { (cell.protocolName, $0) }
        })
    }
    .filter { $0.isCurrent || !$0.cells.isEmpty }
    rows.sort {
      (order[$0.variant.key] ?? .max, $0.variant.key) < (order[$1.variant.key] ?? .max, $1.variant.key)
    }
  }

  /// The names of the models of the current plan, in its order.
  public var models: [String] { study.models.map(\.label) }

  /// The rows of the current plan for the model called `name`.
  public func rows(of name: String) -> [ResultRow] {
    rows.filter { $0.isCurrent && $0.variant.model == name }
  }

  /// The plan's measures of perplexity.
  public var perplexities: [PerplexityMeasure] {
    study.measures.compactMap { if case .perplexity(let measure) = $0 { measure } else { nil } }
  }

  /// The plan's tasks.
  public var tasks: [TaskMeasure] {
    study.measures.compactMap { if case .task(let measure) = $0 { measure } else { nil } }
  }

  /// The plan's measures of speed.
  public var speeds: [SpeedMeasure] {
    study.measures.compactMap { if case .speed(let measure) = $0 { measure } else { nil } }
  }
}

/// A model under a recipe, and all that is known of it.
public struct ResultRow: Sendable {
  /// What it is.
  public var variant: Variant
  /// Whether the current plan asks for it.
  public var isCurrent: Bool
  /// The finished cells.
  public var cells: [CellRecord]
  /// Their figures.
  public var scores: [Score]
  /// What became of each weight.
  public var weights: [WeightRecord]
  /// The tasks' figures question by question, each with its protocol's name.
  var answers: [(protocolName: String, record: AnswerRecord)] = []

  /// The figure of `metric` under a protocol.
  public func score(_ metric: String, under protocolName: String) -> Score? {
    scores.last { $0.metric == metric && $0.protocolName == protocolName }
  }

  /// A size: bits or bytes.
  public func size(_ metric: String) -> Double? { score(metric, under: "exact")?.value }

  /// The rise of log-perplexity over the original's on the same tokens, in nats.
  public func rise(under protocolName: String) -> Double? {
    guard let nll = score(Metric.nll, under: protocolName)?.value,
      let reference = score(Metric.referencePerplexity, under: protocolName)?.value
    else { return nil }
    return nll - log(reference)
  }
}

/// The points of a set that no other beats in both coordinates.
public enum ParetoFront {
  /// The indices of the points for which no other is at most as large in one coordinate and smaller in the other.
  ///
  /// Smaller is better in both. The result is in order of rising first coordinate.
  public static func indices(of points: [(x: Double, y: Double)]) -> [Int] {
    let order = points.indices.sorted { (points[$0].x, points[$0].y) < (points[$1].x, points[$1].y) }
    var front: [Int] = []
    for i in order where front.last.map({ points[i].y < points[$0].y }) ?? true { front.append(i) }
    return front
  }
}

/// Which figures of a column are best.
public enum BestMarks {
  /// The keys of the rows that are best of their model and nominal bits.
  ///
  /// Rows whose standard errors overlap the best one's share the mark; where all do, nothing is marked.
  public static func best(_ rows: [ResultRow], smallestIsBest: Bool, _ figure: (ResultRow) -> Score?) -> Set<
    String
  > {
    var marked: Set<String> = []
    let quantized = rows.filter { !$0.variant.isOriginal && $0.isCurrent && $0.variant.nominalBits != nil }
    let groups = Dictionary(grouping: quantized) { "\($0.variant.model) \($0.variant.nominalBits ?? 0)" }
    for group in groups.values {
      let known = group.compactMap { row in figure(row).map { (key: row.variant.key, score: $0) } }
      guard
        let best = known.min(by: {
          smallestIsBest ? $0.score.value < $1.score.value : $0.score.value > $1.score.value
        })
      else { continue }
      let tied = known.filter { other in
        abs(other.score.value - best.score.value)
          <= (other.score.standardError ?? 0) + (best.score.standardError ?? 0)
      }
      if tied.count < known.count { marked.formUnion(tied.map(\.key)) }
    }
    return marked
  }
}
