internal import LatheModel
internal import LatheTensor

/// The log-likelihood of a request's scored tokens, in nats, and whether each was the likeliest.
struct Likelihood: Hashable, Sendable {
  var sum: Double
  var isGreedy: Bool
}

/// Scores many requests together, reading what they share once.
///
/// Requests of one call form a forest: those that begin alike part where they differ. A long beginning that many calls
/// share, the examples of a few-shot task, stays in a cache. Logits are computed where tokens are scored, nowhere else.
final class LikelihoodScorer {
  private let inference: Inference
  /// A beginning shorter than this is not worth an attention of its own.
  private static let leastShared = 4
  /// A beginning shorter than this is not kept from call to call.
  private static let leastKept = 48
  /// Tokens read at once, about.
  static let budget = 1024
  private var kept: (tokens: [Int32], cache: KeyValueCache)?

  init(_ model: Model, team: ThreadTeam) { inference = Inference(model, team: team) }

  /// Reads a beginning once for all later calls whose requests have it.
  ///
  /// - Returns: the number of its tokens, 0 where there is none worth it.
  @discardableResult
  func keep(beginningOf requests: [ScoringRequest]) -> Int {
    guard let first = requests.first else { return 0 }
    if let kept, Self.starts(first, with: kept.tokens) { return kept.tokens.count }
    let shared = requests.dropFirst().map { other in
      min(Self.shared(first.tokens[...], other.tokens[...]), first.given - 1, other.given - 1)
    }
    // Some requests may be cut at the beginning and share nothing: half of them must.
    let useful = shared.filter { $0 >= Self.leastKept }
    guard 2 * useful.count >= requests.count - 1, let count = useful.min() else { return 0 }
    if let kept, kept.tokens.elementsEqual(first.tokens.prefix(count)) { return count }
    kept = nil
    let tokens = Array(first.tokens.prefix(count))
    kept = (tokens, inference.prefill(tokens[...]))
    return count
  }

  /// Whether the cache holds the request's beginning.
  private static func starts(_ request: ScoringRequest, with tokens: [Int32]) -> Bool {
    request.given > tokens.count && request.tokens.starts(with: tokens)
  }

  private static func shared(_ a: ArraySlice<Int32>, _ b: ArraySlice<Int32>) -> Int {
    var count = 0
    for (x, y) in zip(a, b) {
      if x != y { break }
      count += 1
    }
    return count
  }

  /// The number of tokens that reading `requests` after others would add, about.
  func cost(_ requests: [ScoringRequest]) -> Int {
    var cost = 0
    for (index, request) in requests.enumerated() {
      let known: Int
      if index > 0 {
        known = Self.shared(requests[index - 1].input, request.input)
      } else {
        known = kept.map { Self.starts(request, with: $0.tokens) ? $0.tokens.count : 0 } ?? 0
      }
      cost += request.tokens.count - 1 - known
    }
    return cost
  }

  /// Scores `requests`.
  ///
  /// - Throws: `Problem` of kind `badData` where a token is foreign or the model's outputs are not finite.
  func score(_ requests: [ScoringRequest]) throws(Problem) -> [Likelihood] {
    for request in requests { try inference.checkTokens(request.tokens) }
    var forest = Forest(requests, kept: kept?.tokens ?? [], leastShared: Self.leastShared)
    forest.grow()
    let pack = Pack(forest.segments, prefix: kept?.tokens.count ?? 0)
    // The rows where something is scored, and which tokens are.
    var places = [Int](repeating: -1, count: pack.tokens.count)
    var wanted: [Int] = [], targets: [[(request: Int, token: Int32)]] = []
    for (index, request) in requests.enumerated() {
      for (offset, row) in forest.rows(of: index, in: pack, last: request.scored).enumerated() {
        if places[row] < 0 {
          places[row] = wanted.count
          wanted.append(row)
          targets.append([])
        }
        targets[places[row]].append((index, request.tokens[request.given + offset]))
      }
    }
    let results = Results(targets.map(\.count))
    let vocabulary = inference.configuration.vocabularySize, team = inference.team
    inference.read(pack, after: kept?.cache, wanted: wanted) { first, count, logits in
      team.split(count, grain: 8) { range in
        for i in range {
          let row = logits + i * vocabulary
          let sum = Kernels.best.logSumExp(row, vocabulary), best = Kernels.best.argmax(row, vocabulary)
          for (n, target) in targets[first + i].enumerated() {
            results.set(first + i, n, row[Int(target.token)] - sum, best == Int(target.token))
          }
        }
      }
    }
    return try gather(requests.count, targets, results)
  }

  private func gather(
    _ count: Int, _ targets: [[(request: Int, token: Int32)]], _ results: Results
  ) throws(Problem) -> [Likelihood] {
    var likelihoods = [Likelihood](repeating: Likelihood(sum: 0, isGreedy: true), count: count)
    for (row, list) in targets.enumerated() {
      for (n, target) in list.enumerated() {
        let (value, isBest) = results.get(row, n)
        likelihoods[target.request].sum += Double(value)
        if !isBest { likelihoods[target.request].isGreedy = false }
      }
    }
    guard likelihoods.allSatisfy(\.sum.isFinite) else {
      throw Problem(.badData, "the model's outputs are not finite", cure: "its weights are damaged")
    }
    return likelihoods
  }

  /// A place for what is found at each row.
  private final class Results: @unchecked Sendable {
    // Threads write different rows, and nobody reads before all are done.
    private let starts: [Int]
    private let values: UnsafeMutableBufferPointer<(Float, Bool)>

    init(_ counts: [Int]) {
      var starts: [Int] = [], total = 0
      for count in counts {
        starts.append(total)
        total += count
      }
      self.starts = starts
      values = .allocate(capacity: total)
      values.initialize(repeating: (0, false))
    }

    deinit { values.deallocate() }
    func set(_ row: Int, _ n: Int, _ value: Float, _ isBest: Bool) {
      values[starts[row] + n] = (value, isBest)
    }
    func get(_ row: Int, _ n: Int) -> (Float, Bool) { values[starts[row] + n] }
  }
}

/// Requests as segments: what several begin with is one segment that the others continue.
private struct Forest {
  let requests: [ScoringRequest]
  let kept: [Int32]
  let leastShared: Int
  private(set) var segments: [(tokens: ArraySlice<Int32>, parent: Pack.Parent)] = []
  /// The last segment of each request.
  private var last: [Int]

  init(_ requests: [ScoringRequest], kept: [Int32], leastShared: Int) {
    (self.requests, self.kept, self.leastShared) = (requests, kept, leastShared)
    last = [Int](repeating: -1, count: requests.count)
  }

  mutating func grow() {
    let requests = requests, kept = kept
    let sorted = requests.indices.sorted { requests[$0].input.lexicographicallyPrecedes(requests[$1].input) }
    func follows(_ i: Int) -> Bool {
      !kept.isEmpty && requests[i].given > kept.count && requests[i].tokens.starts(with: kept)
    }
    split(sorted.filter(follows)[...], from: kept.count, after: .prefix)
    split(sorted.filter { !follows($0) }[...], from: 0, after: .none)
  }

  /// Makes segments of sorted requests that are alike up to `depth`, which `parent` ends at.
  private mutating func split(_ group: ArraySlice<Int>, from depth: Int, after parent: Pack.Parent) {
    guard let first = group.first, let end = group.last else { return }
    let a = requests[first].input, b = requests[end].input
    var common = depth
    while common < min(a.count, b.count), a[common] == b[common] { common += 1 }
    // Requests that are equal are one segment, and so is a request alone.
    if common == b.count {
      segments.append((b[depth...], parent))
      for request in group { last[request] = segments.count - 1 }
      return
    }
    var (depth, parent) = (depth, parent)
    if common - depth >= leastShared {
      segments.append((a[depth..<common], parent))
      (depth, parent) = (common, .segment(segments.count - 1))
    }
    var start = group.startIndex
    while start < group.endIndex {
      let input = requests[group[start]].input
      var next = start + 1
      if input.count == common {
        // It ends where the others go on.
        while next < group.endIndex, requests[group[next]].input.count == common { next += 1 }
        finish(group[start..<next], depth, common, parent)
      } else {
        let token = input[common]
        while next < group.endIndex, requests[group[next]].input[common] == token { next += 1 }
        split(group[start..<next], from: depth, after: parent)
      }
      start = next
    }
  }

  private mutating func finish(_ group: ArraySlice<Int>, _ depth: Int, _ common: Int, _ parent: Pack.Parent) {
    if depth == common, case .segment(let index) = parent {
      for request in group { last[request] = index }
    } else if let first = group.first {
      segments.append((requests[first].input[depth..<common], parent))
      for request in group { last[request] = segments.count - 1 }
    }
  }

  /// The rows of the last `count` tokens that a request's model reads, in their order.
  func rows(of request: Int, in pack: Pack, last count: Int) -> [Int] {
    var rows: [Int] = []
    var index = last[request]
    while index >= 0, rows.count < count {
      for row in pack.rows[index].reversed() where rows.count < count { rows.append(row) }
      if case .segment(let parent) = segments[index].parent { index = parent } else { index = -1 }
    }
    return rows.reversed()
  }
}
