import Benchmark
import LatheModel
import LatheTensor
import LatheText

/// Loading a tokenizer, and encoding English prose: LLaMA-3's where the data folder has it, else the small model's.
func tokenizerBenchmarks() {
  let path = Place.data("tokenizers/llama3/tokenizer.model") ?? Place.model + "/tokenizer.model"
  let name = path.contains("llama3") ? "LLaMA-3" : "novella"
  Benchmark("tokenizer load \(name)") { _ in
    blackHole(try Tokenizer.load(path: path))
  }
  Benchmark(
    "tokenizer encode \(name)",
    configuration: .init(
      metrics: [.wallClock, Rate.megabytes], warmupIterations: 1, maxDuration: .seconds(5))
  ) { benchmark in
    let tokenizer = try Tokenizer.load(path: path)
    let file = Place.data("corpora/novels/heldout-treasure-island.txt") ?? Place.project + "/README.md"
    let text = try Bytes(mapping: file)
    try benchmark.measure(Rate.megabytes, amount: Double(text.count) / 1e6) {
      blackHole(try tokenizer.encode(text, parsingSpecialTokens: false))
    }
  }
}
