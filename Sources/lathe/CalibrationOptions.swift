import ArgumentParser
import LatheEvaluate
import LatheModel
import LatheQuantize
import LatheTensor
import LatheText

/// Which text to calibrate on.
struct CalibrationOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A text file, \"self\" for text the model writes, or a protocol's name for its corpus.",
      valueName: "file|name"))
  var calibration: String?
  @Option(help: ArgumentHelp("The number of calibration samples (default: 128).", valueName: "n"))
  var samples: Int?
  @Option(
    help: ArgumentHelp("The tokens in a sample (default: the model's context, at most 2048).", valueName: "n")
  )
  var length: Int?
  @Option(
    help: "Take random crops by this seed; without one, samples follow one another from the text's start.")
  var seed: UInt64?
  @Option(help: ArgumentHelp("Where corpora/ lies (default: $LATHE_DATA).", valueName: "folder")) var data:
    String?

  func validate() throws {
    if calibration == nil, samples != nil || length != nil || seed != nil {
      throw ValidationError("--samples, --length and --seed go with --calibration")
    }
    if let samples, !(1...1 << 20).contains(samples) { throw ValidationError("--samples takes 1 to 1048576") }
    if let length, !(1...1 << 20).contains(length) { throw ValidationError("--length takes 1 to 1048576") }
  }

  /// The sequences that will be read; 0 without calibration.
  var plannedSamples: Int { calibration == nil ? 0 : samples ?? 128 }

  /// The tokens of each.
  func plannedLength(_ model: Model) -> Int { length ?? min(model.configuration.exactContext, 2048) }

  func load(model: Model, path: String, tokenizer: String?, team: ThreadTeam) throws(Problem) -> Calibration?
  {
    guard let calibration else { return nil }
    let length = length ?? min(model.configuration.exactContext, 2048)
    return try CalibrationText(calibration, samples: samples ?? 128, length: length, seed: seed).load(
      for: model, tokenizer: try Tokenizer.forModel(at: path, override: tokenizer), threads: team.count
    ) { (name) throws(Problem) in
      // The name first: a text that is neither a file nor a corpus is a slip, whatever the data folder holds.
      let measure = try ProtocolCatalog.named(name)
      return try DataFolder(data).text(for: measure)
    }
  }
}
