internal import Foundation
public import LatheModel
public import LatheTensor

/// What a text measured of a model, and of its distance to a reference.
public struct PerplexityResult: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case protocolName = "protocol"
    case perplexity, nll, tokens, windows, window
    case standardError = "nll_standard_error"
    case divergence
  }
  /// The protocol's name.
  public var protocolName: String
  /// The exponential of `nll`.
  public var perplexity: Double
  /// The mean negative log-likelihood of the scored tokens, in nats.
  public var nll: Double
  /// The standard error of `nll`, from the windows' means.
  public var standardError: Double
  /// The number of tokens scored.
  public var tokens: Int
  /// The number of windows read.
  public var windows: Int
  /// The tokens in a window.
  public var window: Int
  /// The distance to the reference, where there was one.
  public var divergence: DivergenceResult?
}

/// What one window of a text measured: sums over its scored positions.
public struct PerplexityBlock: Codable, Hashable, Sendable {
  /// The window's number, from 0.
  public var window: Int
  /// The number of positions scored.
  public var tokens: Int
  /// The negative log-likelihood, in nats.
  public var nll: Double
  /// The reference's own, where there is one.
  public var referenceNLL: Double?
  /// The divergence from the reference.
  public var divergence: Double?
}

/// The Kullback-Leibler divergence of a model's next-token distributions from a reference's, in nats.
public struct DivergenceResult: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case mean = "kl_mean"
    case standardError = "kl_standard_error"
    case median = "kl_median"
    case percentile90 = "kl_p90"
    case percentile95 = "kl_p95"
    case percentile99 = "kl_p99"
    case percentile999 = "kl_p99_9"
    case maximum = "kl_max"
    case topAgreement = "top1_agreement"
    case referencePerplexity = "reference_perplexity"
    case probabilityChange = "delta_p_mean"
    case probabilityChangeRMS = "delta_p_rms"
    case probabilityChangeRMSError = "delta_p_rms_standard_error"
  }
  /// The mean over scored positions, and its standard error.
  public var mean, standardError: Double
  /// Percentiles over scored positions.
  public var median, percentile90, percentile95, percentile99, percentile999, maximum: Double
  /// The share of positions where both models' likeliest tokens are the same.
  public var topAgreement: Double
  /// The reference's own perplexity on the same tokens.
  public var referencePerplexity: Double
  /// The mean change of the probability of the text's own token, from the reference to the model.
  public var probabilityChange: Double
  /// The root of the mean square of that change, and its standard error.
  public var probabilityChangeRMS, probabilityChangeRMSError: Double
}

/// Measures perplexity, and divergence from a reference, in float arithmetic on the packed weights.
public struct Perplexity {
  private let model: Model
  private let reference: Model?
  private let team: ThreadTeam
  private let cacheType: CacheType

  /// A measurement of `model`, beside `reference` where there is one.
  ///
  /// - Parameter cacheType: how the model's keys and values are held; the reference's are in single precision.
  /// - Throws: `Problem` of kind `usage` where the two do not share a vocabulary.
  public init(_ model: Model, reference: Model? = nil, team: ThreadTeam, cacheType: CacheType = .f32)
    throws(Problem)
  {
    if let reference, reference.configuration.vocabularySize != model.configuration.vocabularySize {
      throw Problem(
        .usage,
        "the reference knows \(reference.configuration.vocabularySize) tokens, the model \(model.configuration.vocabularySize)",
        cure: "divergence needs models with one vocabulary")
    }
    (self.model, self.reference, self.team, self.cacheType) = (model, reference, team, cacheType)
  }

  /// Scores `windows`.
  ///
  /// - Parameters:
  ///   - firstScored: the first position of a window whose token counts; at least 1.
  ///   - progress: receives the number of windows read and the perplexity so far.
  ///   - block: receives the sums of each window.
  /// - Throws: `Problem` of kind `badData` where a token is foreign or the model's outputs are not finite.
  public func measure(
    _ windows: [[Int32]], protocolName: String, firstScored: Int = 1,
    progress: (Int, Double) -> Void = { _, _ in }, block: (PerplexityBlock) -> Void = { _ in }
  ) throws(Problem) -> PerplexityResult {
    var sum = 0.0
    var means: [Double] = []
    var distance = Distance()
    let context = windows.map(\.count).max() ?? 0
    let model = Inference(model, team: team, context: context)
    let reference = reference.map { Inference($0, team: team, context: context) }
    // What is read in one go is behind a layer when the next begins.
    let shares = context <= Inference.batch
    let cache = KeyValueCache(model.configuration, type: cacheType, sharesLayers: shares)
    let referenceCache = reference.map { KeyValueCache($0.configuration, sharesLayers: shares) }
    for (index, window) in windows.enumerated() {
      try model.checkTokens(window)
      let scores = Slots(window.count)
      let rows = model.readLogits(of: window, cache: cache)
      let exact = reference.flatMap { r in referenceCache.map { r.readLogits(of: window, cache: $0) } }
      while let run = rows.next() {
        score(window, firstScored, scores, run.first, run.count, run.logits, exact?.next()?.logits)
      }
      let scored = scores.all[min(firstScored, window.count)...]
      let windowSum = scored.reduce(0.0) { $0 + Double($1.nll) }
      guard windowSum.isFinite else {
        throw Problem(
          .badData, "the model's outputs are not finite in window \(index + 1)",
          cure: "its weights are damaged")
      }
      sum += windowSum
      means.append(windowSum / Double(scored.count))
      var found = PerplexityBlock(window: index, tokens: scored.count, nll: windowSum)
      if reference != nil { distance.add(scored, to: &found) }
      block(found)
      progress(index + 1, exp(means.reduce(0, +) / Double(means.count)))
    }
    let tokens = windows.reduce(0) { $0 + $1.count - firstScored }
    let nll = sum / Double(tokens)
    return PerplexityResult(
      protocolName: protocolName, perplexity: exp(nll), nll: nll, standardError: Self.standardError(means),
      tokens: tokens,
      windows: windows.count, window: windows.first?.count ?? 0,
      divergence: reference == nil ? nil : distance.summary(tokens: tokens))
  }

  // MARK: Scoring

  private struct Score {
    var nll: Float = 0
    var referenceNLL: Float = 0
    var divergence: Float = 0
    var agrees = false
  }

  /// A place for the score of each position.
  private final class Slots: @unchecked Sendable {
    // Threads write different positions, and nobody reads before all are done.
    private let places: UnsafeMutableBufferPointer<Score>
    init(_ count: Int) {
      places = .allocate(capacity: count)
      places.initialize(repeating: Score())
    }
    deinit { places.deallocate() }
    var all: UnsafeMutableBufferPointer<Score> { places }
    subscript(position: Int) -> Score {
      get { places[position] }
      set { places[position] = newValue }
    }
  }

  /// Scores the tokens that follow `count` positions from `first` on, given their logits.
  private func score(
    _ window: [Int32], _ firstScored: Int, _ scores: Slots, _ first: Int, _ count: Int,
    _ logits: UnsafePointer<Float>,
    _ reference: UnsafePointer<Float>?
  ) {
    let n = model.configuration.vocabularySize
    team.split(count, grain: 8) { range in
      for i in range where first + i + 1 < window.count && first + i + 1 >= firstScored {
        let target = Int(window[first + i + 1])
        let row = logits + i * n
        let logSum = Kernels.best.logSumExp(row, n)
        var score = Score()
        score.nll = logSum - row[target]
        if let exact = reference.map({ $0 + i * n }) {
          let exactSum = Kernels.best.logSumExp(exact, n)
          score.referenceNLL = exactSum - exact[target]
          // Rounding may leave a divergence of equal rows a hair below zero.
          score.divergence = max(
            0, Kernels.best.divergence(exact, logSum: exactSum, from: row, logSum: logSum, n))
          score.agrees = Kernels.best.argmax(row, n) == Kernels.best.argmax(exact, n)
        }
        scores[first + i + 1] = score
      }
    }
  }

  // MARK: Statistics

  static func standardError(_ values: [Double]) -> Double {
    guard values.count > 1 else { return 0 }
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)
    return (variance / Double(values.count)).squareRoot()
  }

  /// What is gathered of the distance to the reference: two numbers a position, never logits.
  private struct Distance {
    private var divergences: [Float] = []
    private var changes: [Float] = []
    private var referenceSum = 0.0
    private var agreements = 0

    mutating func add(_ scored: Slice<UnsafeMutableBufferPointer<Score>>, to block: inout PerplexityBlock) {
      divergences.append(contentsOf: scored.map(\.divergence))
      changes.append(contentsOf: scored.map { exp(-$0.nll) - exp(-$0.referenceNLL) })
      let nll = scored.reduce(0.0) { $0 + Double($1.referenceNLL) }
      referenceSum += nll
      agreements += scored.count { $0.agrees }
      (block.referenceNLL, block.divergence) = (nll, scored.reduce(0.0) { $0 + Double($1.divergence) })
    }

    func summary(tokens: Int) -> DivergenceResult {
      let sorted = divergences.sorted(), n = Double(divergences.count)
      func percentile(_ p: Double) -> Double {
        // Linear between neighbours, as numpy does.
        let place = p * Double(sorted.count - 1), low = Int(place)
        let high = min(low + 1, sorted.count - 1)
        return Double(sorted[low]) + (place - Double(low)) * Double(sorted[high] - sorted[low])
      }
      let squares = changes.map { Double($0) * Double($0) }
      let rms = (squares.reduce(0, +) / n).squareRoot()
      return DivergenceResult(
        mean: divergences.reduce(0.0) { $0 + Double($1) } / n,
        standardError: standardError(divergences.map(Double.init)),
        median: percentile(0.5), percentile90: percentile(0.9), percentile95: percentile(0.95),
        percentile99: percentile(0.99), percentile999: percentile(0.999), maximum: Double(sorted.last ?? 0),
        topAgreement: Double(agreements) / n, referencePerplexity: exp(referenceSum / Double(tokens)),
        probabilityChange: changes.reduce(0.0) { $0 + Double($1) } / n, probabilityChangeRMS: rms,
        // Of a root: half the relative error of what it is the root of.
        probabilityChangeRMSError: rms > 0 ? standardError(squares) / (2 * rms) : 0)
    }
  }
}
