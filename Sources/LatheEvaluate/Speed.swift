public import LatheModel
public import LatheTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// How fast a model reads and writes.
public struct SpeedResult: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case prefill = "prefill_tokens_per_second"
    case prefillDeviation = "prefill_deviation"
    case decode = "decode_tokens_per_second"
    case decodeDeviation = "decode_deviation"
    case prompt, generated, repetitions, threads, kernels
    case peakMemory = "peak_memory_bytes"
  }
  /// Tokens a second while reading a prompt: the median of the repetitions.
  public var prefill: Double
  /// The standard deviation over the repetitions.
  public var prefillDeviation: Double
  /// Tokens a second while writing, those of all texts written together: the median of the repetitions.
  public var decode: Double
  /// The standard deviation over the repetitions.
  public var decodeDeviation: Double
  /// The tokens of the prompt.
  public var prompt: Int
  /// The tokens written, of each text.
  public var generated: Int
  /// The number of repetitions.
  public var repetitions: Int
  /// The number of threads.
  public var threads: Int
  /// The instruction set of the kernels.
  public var kernels: String
  /// The most memory the process has held so far, in bytes.
  public var peakMemory: Int
}

/// Measures speed.
public enum Speed {
  /// Reads `prompt` tokens and, apart from that, writes `generate` tokens, each after a warm-up.
  ///
  /// The tokens are arbitrary: speed does not depend on them.
  ///
  /// - Parameters:
  ///   - cacheType: how keys and values are held.
  ///   - parallel: the texts that are written together; the tokens of all count.
  /// - Throws: `Problem` of kind `usage` where nothing is to be measured.
  public static func measure(
    _ model: Model, prompt: Int, generate: Int, repetitions: Int, team: ThreadTeam,
    cacheType: CacheType = .f32, parallel: Int = 1, progress: (Int) -> Void = { _ in }
  ) throws(Problem) -> SpeedResult {
    guard prompt > 0, generate > 0, repetitions > 0 else {
      throw Problem(.usage, "a measurement needs at least one token and one repetition")
    }
    guard (1...1024).contains(parallel) else {
      throw Problem(.usage, "1 to 1,024 texts are written together")
    }
    guard prompt <= 1 << 20, generate <= 1 << 20 else { throw Problem(.usage, "more than 1,048,576 tokens") }
    let inference = Inference(model, team: team)
    let vocabulary = Int32(clamping: model.configuration.vocabularySize)
    let tokens = (0..<prompt).map { Int32($0) % vocabulary }
    var prefills: [Double] = [], decodes: [Double] = []
    let clock = ContinuousClock()
    for repetition in 0...repetitions {
      let cache = inference.makeCache(capacity: prompt, type: cacheType)
      let reading = clock.measure { _ = inference.logits(after: tokens, cache: cache) }
      let caches = (0..<parallel).map { _ in inference.makeCache(capacity: generate, type: cacheType) }
      let writing = clock.measure {
        for i in 0..<generate {
          let token = Int32(i) % vocabulary
          _ = inference.logits(
            afterEach: [Int32](repeating: token, count: parallel), caches: caches)
        }
      }
      guard repetition > 0 else { continue }
      prefills.append(Double(prompt) / (reading / .seconds(1)))
      decodes.append(Double(parallel * generate) / (writing / .seconds(1)))
      progress(repetition)
    }
    return SpeedResult(
      prefill: median(prefills), prefillDeviation: deviation(prefills), decode: median(decodes),
      decodeDeviation: deviation(decodes), prompt: prompt, generated: generate, repetitions: repetitions,
      threads: team.count, kernels: Kernels.best.name, peakMemory: peakMemory)
  }

  /// The most memory the process has held so far, in bytes.
  public static var peakMemory: Int {
    var usage = rusage()
    #if canImport(Darwin)
    getrusage(RUSAGE_SELF, &usage)
    return usage.ru_maxrss
    #else
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss * 1024
    #endif
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  private static func deviation(_ values: [Double]) -> Double {
    guard values.count > 1 else { return 0 }
    let mean = values.reduce(0, +) / Double(values.count)
    return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
  }
}
