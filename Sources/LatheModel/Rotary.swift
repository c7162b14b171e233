internal import LatheTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// How positions turn queries and keys (RoPE, arXiv:2104.09864).
public struct RotaryConfiguration: Sendable, Hashable {
  /// Which elements of a head form a pair.
  public enum Pairing: Sendable, Hashable {
    /// i and i + d/2: Hugging Face's models.
    case halves
    /// 2i and 2i + 1: llama2.c, and GGUF's llama.
    case interleaved
  }

  /// How the frequencies are stretched for contexts longer than those of pre-training.
  public enum Scaling: Sendable, Hashable {
    /// As trained.
    case none
    /// All frequencies divided by a factor.
    case linear(factor: Float)
    /// LLaMA 3.1: low frequencies divided, high ones kept, a smooth blend between.
    case llama3(factor: Float, lowFactor: Float, highFactor: Float, originalContext: Int)
    /// Each frequency divided by its own factor, as GGUF stores them.
    case factors([Float])
    /// LongRoPE: factors for short contexts, and others for long ones.
    case long(LongRotary)
  }

  /// The base of the frequencies.
  public var base: Float
  /// The pairs.
  public var pairing: Pairing
  /// The stretching.
  public var scaling: Scaling

  /// A configuration of the given settings.
  public init(base: Float, pairing: Pairing, scaling: Scaling = .none) {
    (self.base, self.pairing, self.scaling) = (base, pairing, scaling)
  }

  func validate() throws(Problem) {
    guard base > 0, base.isFinite else { throw Problem(.badData, "a rotary base of \(base) is out of range") }
    var values: [Float] = []
    switch scaling {
    case .none: break
    case .linear(let factor): values = [factor]
    case .llama3(let factor, let low, let high, let context):
      values = [factor, low, high, Float(context), high - low]
    case .factors(let factors): values = factors
    case .long(let long):
      values = long.short + long.long + [Float(long.originalContext), long.attentionFactor]
    }
    guard values.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw Problem(.badData, "the rotary scaling has a factor that is not positive")
    }
  }

  /// The divisor of each frequency under the scaling; nil where all are 1.
  ///
  /// - Parameter context: the positions that texts may have; nil for no more than the model was first trained for.
  func frequencyFactors(dimension: Int, context: Int? = nil) -> [Float]? {
    switch scaling {
    case .none: return nil
    case .linear(let factor): return [Float](repeating: factor, count: dimension / 2)
    case .factors(let factors): return factors
    case .long(let long): return (context ?? 0) > long.originalContext ? long.long : long.short
    case .llama3(let factor, let low, let high, let context):
      return plainFrequencies(dimension: dimension).map { frequency in
        let wavelength = 2 * Float.pi / frequency
        if wavelength < Float(context) / high { return 1 }
        if wavelength > Float(context) / low { return factor }
        let smooth = (Float(context) / wavelength - low) / (high - low)
        return 1 / ((1 - smooth) / factor + smooth)
      }
    }
  }

  private func plainFrequencies(dimension: Int) -> [Float] {
    (0..<dimension / 2).map { 1 / powf(base, Float(2 * $0) / Float(dimension)) }
  }

  /// The angle per position of each pair, in radians.
  func frequencies(dimension: Int, context: Int? = nil) -> [Float] {
    let plain = plainFrequencies(dimension: dimension)
    guard let factors = frequencyFactors(dimension: dimension, context: context) else { return plain }
    return zip(plain, factors).map { $0 / $1 }
  }

  /// What cosines and sines are multiplied by.
  var amplitude: Float { if case .long(let long) = scaling { long.attentionFactor } else { 1 } }
}

/// LongRoPE (arXiv:2402.13753): each frequency has a divisor for contexts no longer than those of pre-training, and another
/// for longer ones.
public struct LongRotary: Sendable, Hashable {
  /// The divisors, one for each pair of a head's elements.
  public var short, long: [Float]
  /// The positions up to which the short ones serve.
  public var originalContext: Int
  /// What queries and keys are multiplied by.
  public var attentionFactor: Float

  /// The factor for contexts stretched from `originalContext` by `stretch`, section 3.2 of Phi-3's technical report.
  static func attentionFactor(stretch: Double, originalContext: Int) -> Float {
    stretch > 1 && originalContext > 1
      ? Float((1 + log(stretch) / log(Double(originalContext))).squareRoot()) : 1
  }
}

/// The cosines and sines of all positions up to a limit that grows as needed.
final class RotaryTable {
  private let frequencies: [Float]
  private let amplitude: Float
  private(set) var cosines: [Float] = []
  private(set) var sines: [Float] = []
  /// Values a position.
  let width: Int
  private var positions = 0

  init(_ configuration: RotaryConfiguration, dimension: Int, context: Int?) {
    frequencies = configuration.frequencies(dimension: dimension, context: context)
    amplitude = configuration.amplitude
    width = dimension / 2
  }

  func grow(to count: Int) {
    guard count > positions else { return }
    let end = max(count, min(2 * positions, positions + 4096), 64)
    cosines.reserveCapacity(end * width)
    sines.reserveCapacity(end * width)
    for position in positions..<end {
      for frequency in frequencies {
        // The angle is rounded to single precision first, as the reference implementation does.
        let angle = Double(Float(position) * frequency)
        cosines.append(Float(cos(angle)) * amplitude)
        sines.append(Float(sin(angle)) * amplitude)
      }
    }
    positions = end
  }
}
