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
    case prompt, generated, repetitions, threads, kernel
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
  public var kernel: String
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
    model.layOut(team: team)
    let inference = Inference(model, team: team)
    var prefills: [Double] = [], decodes: [Double] = []
    for repetition in 0...repetitions {
      let reading = SpeedTest.prompt(prompt)
        .seconds(inference, [inference.makeCache(capacity: prompt, type: cacheType)])
      let writing = SpeedTest.generate(generate)
        .seconds(
          inference, (0..<parallel).map { _ in inference.makeCache(capacity: generate, type: cacheType) })
      guard repetition > 0 else { continue }
      prefills.append(Double(prompt) / reading)
      decodes.append(Double(parallel * generate) / writing)
      progress(repetition)
    }
    return SpeedResult(
      prefill: prefills.median, prefillDeviation: prefills.deviation, decode: decodes.median,
      decodeDeviation: decodes.deviation, prompt: prompt, generated: generate, repetitions: repetitions,
      threads: team.count, kernel: Kernels.best.name, peakMemory: peakMemory)
  }

  /// Begins anew to watch for `peakMemory`, where the system allows it.
  package static func resetPeakMemory() {
    guard let file = fopen("/proc/self/clear_refs", "w") else { return }
    fputs("5", file)
    fclose(file)
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
}

/// One thing whose speed is measured.
package enum SpeedTest: Hashable, Sendable {
  /// Reading so many tokens at once.
  case prompt(Int)
  /// Writing so many tokens one by one.
  case generate(Int)

  /// The tokens read or written.
  package var tokens: Int {
    switch self {
    case .prompt(let count), .generate(let count): count
    }
  }

  /// The seconds it takes on top of what the caches hold, for as many texts together; a prompt is read into each.
  ///
  /// Tokens are arbitrary: speed does not depend on them.
  package func seconds(_ inference: Inference, _ caches: [KeyValueCache]) -> Double {
    let vocabulary = Int32(clamping: inference.configuration.vocabularySize), clock = ContinuousClock()
    switch self {
    case .prompt(let count):
      let tokens = (0..<count).map { Int32($0) % vocabulary }
      return clock.measure {
        for cache in caches { _ = inference.logits(after: tokens, cache: cache) }
      } / .seconds(1)
    case .generate(let count):
      return clock.measure {
        for i in 0..<count {
          let token = Int32(i) % vocabulary
          _ = inference.logits(afterEach: caches.map { _ in token }, caches: caches)
        }
      } / .seconds(1)
    }
  }
}

extension [Double] {
  /// The mean; 0 of nothing.
  package var mean: Double { isEmpty ? 0 : reduce(0, +) / Double(count) }

  /// The middle value, or the mean of the middle two; 0 of nothing.
  package var median: Double {
    guard !isEmpty else { return 0 }
    let sorted = sorted(), middle = count / 2
    return count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  /// The standard deviation of a sample; 0 of fewer than two.
  package var deviation: Double {
    guard count > 1 else { return 0 }
    let mean = mean
    return (reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count - 1)).squareRoot()
  }
}
