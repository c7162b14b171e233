import Benchmark
import LatheEvaluate
import LatheModel
import LatheTensor
import LatheText

/// Perplexity in float arithmetic: windows of 512 tokens of the model in the repository, on all processors.
func perplexityBenchmarks() {
  Benchmark(
    "perplexity novella-6m",
    configuration: .init(metrics: [.wallClock, Rate.windows], warmupIterations: 1, maxDuration: .seconds(10))
  ) { benchmark in
    let count = 12
    let model = try Model(reading: Place.model)
    let team = ThreadTeam()
    // Speed does not depend on what is read.
    let windows = (0..<count).map { window in
      (0..<512).map { (place: Int) -> Int32 in Int32((place * 31 + window * 7) % 4000 + 3) }
    }
    let perplexity = try Perplexity(model, team: team)
    try benchmark.measure(Rate.windows, amount: 100 * Double(count)) {
      blackHole(try perplexity.measure(windows, protocolName: "speed"))
    }
  }
}
