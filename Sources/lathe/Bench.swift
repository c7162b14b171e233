import ArgumentParser
import LatheEvaluate
import LatheModel

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure how fast a model reads and writes.", usage: "lathe bench <model> [<options>]")

  @Argument(help: "The model.") var model: String
  @Option(help: "The tokens of the prompt.") var prompt = 512
  @Option(help: "The tokens to write.") var generate = 128
  @Option(help: "How often to measure, after one run to warm up.") var repetitions = 5
  @Option(help: "How weights meet their inputs: float or int8.") var activations = Activations.int8
  @OptionGroup var common: CommonOptions

  func run() throws {
    let team = common.makeTeam()
    let model = try Model(reading: self.model).prepared(for: activations, team: team)
    let progress = ProgressLine("repetition", total: repetitions)
    let result = try Speed.measure(
      model, prompt: prompt, generate: generate, repetitions: repetitions, team: team
    ) { progress.update($0) }
    progress.finish()
    if common.json {
      try Output.json(result)
      return
    }
    Output.line(
      "\(self.model): \(result.threads) threads, \(result.kernels), \(activations.rawValue) activations, medians of \(repetitions)"
    )
    Output.line(
      "prefill \(prompt)    \(Format.number(result.prefill, 1)) ± \(Format.number(result.prefillDeviation, 1)) tokens/s"
    )
    Output.line(
      "decode \(generate)     \(Format.number(result.decode, 1)) ± \(Format.number(result.decodeDeviation, 1)) tokens/s"
    )
    Output.line("peak memory    \(Format.bytes(result.peakMemory))")
  }
}
