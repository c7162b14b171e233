internal import Foundation
internal import LatheModel
internal import LatheTensor

/// Where the time of writing one token goes, beside the time that reading alone would take.
public struct Roofline: Sendable {
  /// One group of weights or steps.
  public struct Line: Sendable {
    /// Its name.
    public let name: String
    /// The bytes read for one token.
    public let bytes: Double
    /// The seconds they take at the streaming rate, and the seconds taken.
    public let bound, taken: Double

    /// The share of the streaming rate.
    public var share: Double { taken > 0 ? bound / taken : 0 }
  }

  /// The groups, and all together.
  public let lines: [Line]
  /// The bytes a second that all threads together read from memory, beside the test.
  public let streamRate: Double

  init(
    _ model: Model, _ inference: Inference, _ setting: Setting, tokens: Int, meter: StreamMeter
  ) throws(Problem) {
    let depth = setting[.depth]
    let cache = try setting.makeCache(inference, capacity: depth + 2 * tokens)
    if depth > 0 { _ = SpeedTest.prompt(depth).seconds(inference, [cache]) }
    _ = SpeedTest.generate(tokens).seconds(inference, [cache])
    cache.truncate(to: depth)
    let clock = ContinuousClock()
    var sums: [StepGroup: Duration] = [:], last = clock.now, streams: [Double] = []
    inference.stepTimer = { group in
      let now = clock.now
      sums[group, default: .zero] += now - last
      last = now
    }
    for i in 0..<tokens {
      if i % max(1, tokens / 4) == 0 { streams.append(meter.measure(team: inference.team)) }
      last = clock.now
      _ = SpeedTest.generate(1).seconds(inference, [cache])
    }
    inference.stepTimer = nil
    let rate = streams.median
    var bytes = model.weightBytesPerToken.mapValues(Double.init)
    // On average half of what is written is in the cache already.
    let context = Double(depth) + Double(tokens) / 2
    bytes[.attention] =
      context * Footprint.cacheBytes(model.configuration, context: 1, bits: setting.cacheBits)
    var lines = StepGroup.allCases.map { group in
      Line(
        name: group.rawValue, bytes: bytes[group] ?? 0, bound: (bytes[group] ?? 0) / rate,
        taken: (sums[group] ?? .zero) / .seconds(1) / Double(tokens))
    }
    lines.append(
      Line(
        name: "all", bytes: lines.reduce(0) { $0 + $1.bytes }, bound: lines.reduce(0) { $0 + $1.bound },
        taken: lines.reduce(0) { $0 + $1.taken }))
    (self.lines, streamRate) = (lines, rate)
  }

  /// The table, lines of at most 80 columns.
  public var text: String {
    let heading =
      "| decode, one token  |      MiB | ms at \(String(format: "%5.1f", streamRate / 1e9)) GB/s |"
    let lines = lines.map { line in
      let name = line.name + String(repeating: " ", count: max(0, 18 - line.name.count))
      return "| \(name) | "
        + String(
          format: "%8.2f | %16.3f | %8.3f | %4.0f%% |", line.bytes / 0x1p20, 1000 * line.bound,
          1000 * line.taken, 100 * line.share)
    }
    return
      ([
        heading + " ms taken | share |",
        "| ------------------ | -------: | ---------------: | -------: | ----: |",
      ] + lines).joined(separator: "\n")
  }

  /// The lines as JSON.
  public var value: BenchValue {
    .list(
      lines.map {
        [
          "group": .text($0.name), "bytes": .number($0.bytes), "stream_seconds": .number($0.bound),
          "seconds": .number($0.taken), "share": .number($0.share),
        ]
      })
  }
}
