internal import LatheTensor

/// How the next token is chosen from logits.
public struct SamplingOptions: Codable, Hashable, Sendable {
  /// Divides the logits; 0 always takes the likeliest token.
  public var temperature: Float = 0.8
  /// Only this many likeliest tokens are kept; 0 keeps all.
  public var topK = 40
  /// The likeliest tokens whose probabilities first reach this sum are kept.
  public var topP: Float = 0.95
  /// Tokens less likely than this share of the likeliest are dropped.
  public var minP: Float = 0.05
  /// Divides the positive logits of recent tokens, multiplies the negative ones; 1 changes nothing.
  public var repetitionPenalty: Float = 1
  /// The number of recent tokens the penalty looks at.
  public var repetitionWindow = 64
  /// Equal seeds give equal texts.
  public var seed: UInt64 = 0

  /// llama.cpp's defaults, and seed 0.
  public init() {}

  /// Pure sampling from the model's own distribution.
  public static func pure(seed: UInt64) -> SamplingOptions {
    var options = SamplingOptions()
    (options.temperature, options.topK, options.topP, options.minP, options.seed) = (1, 0, 1, 0, seed)
    return options
  }
}

/// Chooses tokens.
public struct Sampler {
  private let options: SamplingOptions
  private var random: SeededGenerator

  /// A sampler with its own random numbers.
  public init(_ options: SamplingOptions) {
    (self.options, random) = (options, SeededGenerator(seed: options.seed))
  }

  /// The next token.
  ///
  /// - Parameters:
  ///   - logits: one for each token of the vocabulary; changed by the repetition penalty.
  ///   - recent: the tokens so far.
  public mutating func next(_ logits: inout [Float], after recent: [Int32] = []) -> Int32 {
    penalize(&logits, after: recent)
    guard options.temperature > 0 else { return Int32(Kernels.best.argmax(logits, logits.count)) }
    if takesAll { return whole(logits) }
    return draw(candidates(logits))
  }

  /// What `next` would draw from.
  package func distribution(_ logits: inout [Float], after recent: [Int32] = []) -> Distribution {
    penalize(&logits, after: recent)
    guard options.temperature > 0 else {
      return Distribution(candidates: [(Int32(Kernels.best.argmax(logits, logits.count)), 1)])
    }
    return candidates(logits)
  }

  /// A token of a distribution.
  package mutating func draw(_ distribution: Distribution) -> Int32 {
    distribution.token(at: Float.random(in: 0..<1, using: &random))
  }

  /// A token of `p`, by way of one that was drawn from `q`: it is kept with probability min(1, p / q), else one is drawn
  /// from max(0, p - q), normed. Whatever `q`, the outcome follows `p` (Leviathan et al., arXiv:2211.17192).
  package mutating func settle(_ token: Int32, from q: Distribution, by p: Distribution) -> Int32 {
    let wanted = p.probability(of: token), given = q.probability(of: token)
    if wanted >= given { return token }
    if wanted > 0, Float.random(in: 0..<1, using: &random) * given < wanted { return token }
    return draw(p.exceeding(q))
  }

  private func penalize(_ logits: inout [Float], after recent: [Int32]) {
    guard options.repetitionPenalty != 1 else { return }
    for token in Set(recent.suffix(options.repetitionWindow)) where Int(token) < logits.count {
      let value = logits[Int(token)]
      logits[Int(token)] = value > 0 ? value / options.repetitionPenalty : value * options.repetitionPenalty
    }
  }

  /// Whether nothing is cut off.
  private var takesAll: Bool { options.topK <= 0 && options.topP >= 1 && options.minP <= 0 }

  /// Draws from the whole vocabulary, without sorting it.
  private mutating func whole(_ logits: [Float]) -> Int32 {
    let scaled = options.temperature == 1 ? logits : logits.map { $0 / options.temperature }
    let logSum = Kernels.best.logSumExp(scaled, scaled.count)
    var left = Double.random(in: 0..<1, using: &random)
    for (i, x) in scaled.enumerated() {
      left -= Double(Kernels.exponential(x - logSum))
      if left < 0 { return Int32(i) }
    }
    return Int32(Kernels.best.argmax(logits, logits.count))
  }

  /// The candidates that the truncations leave.
  private func candidates(_ logits: [Float]) -> Distribution {
    let peak = logits[Kernels.best.argmax(logits, logits.count)]
    // min-p as a bound on logits keeps the sort short; without it all tokens are candidates.
    let bound = options.minP > 0 ? peak + options.temperature * Kernels.logarithm(options.minP) : -.infinity
    var candidates: [(token: Int32, weight: Float)] = []
    for (i, x) in logits.enumerated() where x >= bound {
      candidates.append((Int32(i), Kernels.exponential((x - peak) / options.temperature)))
    }
    if takesAll { return Distribution(candidates: candidates) }
    candidates.sort { $0.weight != $1.weight ? $0.weight > $1.weight : $0.token < $1.token }
    if options.topK > 0, candidates.count > options.topK { candidates.removeSubrange(options.topK...) }
    let total = candidates.reduce(Float(0)) { $0 + $1.weight }
    if options.topP < 1 {
      var sum: Float = 0
      let kept =
        candidates.firstIndex {
          sum += $0.weight; return sum >= options.topP * total
        } ?? candidates.count - 1
      candidates.removeSubrange((kept + 1)...)
    }
    return Distribution(candidates: candidates)
  }
}

/// Some tokens, each once, and their weights; all others have none.
package struct Distribution {
  let candidates: [(token: Int32, weight: Float)]
  let total: Float

  package init(candidates: [(token: Int32, weight: Float)]) {
    self.candidates = candidates
    total = candidates.reduce(Float(0)) { $0 + $1.weight }
  }

  package func probability(of token: Int32) -> Float {
    (candidates.first { $0.token == token }?.weight ?? 0) / total
  }

  /// The token where the sum of probabilities passes `share`.
  func token(at share: Float) -> Int32 {
    var left = share * total
    for candidate in candidates {
      left -= candidate.weight
      if left < 0 { return candidate.token }
    }
    return candidates.last?.token ?? 0
  }

  /// What it has more of than `other`; itself where rounding leaves nothing.
  func exceeding(_ other: Distribution) -> Distribution {
    let given = Dictionary(other.candidates.map { ($0.token, $0.weight / other.total) }) { first, _ in first }
    let rest = candidates.compactMap { token, weight -> (token: Int32, weight: Float)? in
      let more = weight / total - (given[token] ?? 0)
      return more > 0 ? (token, more) : nil
    }
    return rest.isEmpty ? self : Distribution(candidates: rest)
  }
}
