import ArgumentParser
import LatheTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The command: one file for each verb.
struct Lathe: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lathe",
    abstract: "Makes LLaMA-family language models small, and shows what that costs.",
    discussion: """
      MODEL is a folder in Hugging Face form, a .gguf file, a llama2.c checkpoint (.bin, its tokenizer beside it), or
      a folder that `lathe quantize` wrote.

      Exit codes: 0 done, 64 wrong usage, 65 bad data, 66 missing input, 70 internal error, 73 output cannot be
      created, 74 reading or writing failed, 75 try again; 130 and 143 after an interruption: `quantize` and `study`
      continue when the same command is given again.

      The environment variable LATHE_KERNELS chooses the instruction set, for comparisons: scalar (plain C), avx2,
      avx512vnni, neon, i8mm; by default the fastest there is. A name this machine does not know is wrong usage.
      """,
    version: "0.1.0",
    subcommands: [
      Inspect.self, Tokenize.self, Run.self, Quantize.self, Recipes.self, Eval.self, Tasks.self, Compare.self,
      DataCommand.self, Bench.self, Plan.self, Synthesize.self,
      StudyCommand.self,
      Report.self,
    ])
}

@main enum Main {
  static func main() {
    do {
      var command = try Lathe.parseAsRoot()
      try Kernels.checkEnvironment()
      try command.run()
    } catch let problem as Problem {
      Output.error(problem.description)
      exit(problem.kind.rawValue)
    } catch {
      Lathe.exit(withError: error)
    }
  }
}
