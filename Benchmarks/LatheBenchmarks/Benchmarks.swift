import Benchmark
import Foundation

/// Every subject registers its benchmarks; one file for each.
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .peakMemoryResident], warmupIterations: 1, maxDuration: .seconds(2),
    maxIterations: 50)
  tokenizerBenchmarks()
  kernelBenchmarks()
  perplexityBenchmarks()
  openingBenchmarks()
}

/// Where measured data lies.
enum Place {
  /// The project's folder.
  static let project = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
  /// The model in the repository.
  static let model = project + "/Models/novella-6m"

  /// A file of the data folder that `LATHE_DATA` names, where it is there.
  static func data(_ name: String) -> String? {
    guard let folder = ProcessInfo.processInfo.environment["LATHE_DATA"] else { return nil }
    let path = folder + "/" + name
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }
}

/// What is counted in a second.
enum Rate {
  static let megabytes = BenchmarkMetric.custom("MB/s", polarity: .prefersLarger, useScalingFactor: false)
  static let windows = BenchmarkMetric.custom(
    "windows/s × 100", polarity: .prefersLarger, useScalingFactor: false)
}

extension Benchmark {
  /// Measures `body` and reports `amount` of it a second.
  func measure(_ rate: BenchmarkMetric, amount: Double, _ body: () throws -> Void) rethrows {
    let clock = ContinuousClock()
    let start = clock.now
    startMeasurement()
    try body()
    stopMeasurement()
    measurement(rate, Int(amount / (start.duration(to: clock.now) / .seconds(1))))
  }
}
