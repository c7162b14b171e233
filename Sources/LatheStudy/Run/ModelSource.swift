internal import Foundation
internal import LatheEvaluate
internal import LatheModel
internal import LatheQuantize
internal import LatheTensor
internal import LatheText

/// A model of the plan with its tokenizer and its digest, and the texts that are made for it.
final class ModelSource {
  let entry: StudyModel
  let digest: String
  let tokenizer: Tokenizer
  let tokenizerDigest: String
  private let folder: RunFolder
  private let options: RunOptions
  private var loaded: Model?
  private var calibrations: [CalibrationText: Calibration] = [:]

  init(_ entry: StudyModel, folder: RunFolder, options: RunOptions) throws(Problem) {
    (self.entry, self.folder, self.options) = (entry, folder, options)
    digest = try Digest.ofModel(at: entry.path)
    tokenizer = try Tokenizer.forModel(at: entry.path, override: entry.tokenizer)
    // Equal pieces under equal ids: that is what makes token counts comparable.
    var pieces = tokenizer.summary
    for id in 0..<Int32(clamping: tokenizer.vocabularySize) {
      pieces += "\u{0}" + (tokenizer.piece(of: id) ?? "")
    }
    tokenizerDigest = Digest.of(pieces)
  }

  /// The model as it came.
  func model() throws(Problem) -> Model {
    if let loaded { return loaded }
    let model = try Model(reading: entry.path)
    loaded = model
    return model
  }

  /// "sentencepiece, 4096 ids, digest …".
  var tokenizerSummary: String { "\(tokenizer.summary), digest \(tokenizerDigest)" }

  // MARK: Calibration

  /// What the calibration text is, without reading or writing it.
  func identity(of text: CalibrationText?) throws(Problem) -> String {
    guard let text else { return "none" }
    let extent = "\(text.samples) × \(text.length)" + (text.seed.map { ", seed \($0)" } ?? "")
    if text.text == "self" { return "self \(digest) \(tokenizerDigest) \(extent)" }
    return "\(Digest.of(try bytes(of: text.text))) \(tokenizerDigest) \(extent)"
  }

  /// The bytes of a file, or of a protocol's corpus.
  private func bytes(of name: String) throws(Problem) -> Bytes {
    if FileManager.default.fileExists(atPath: name) { return try Bytes(mapping: name) }
    return try DataFolder(options.data).text(for: try ProtocolCatalog.named(name))
  }

  func calibration(_ text: CalibrationText?, report: Report) throws(Problem) -> Calibration? {
    guard let text else { return nil }
    if let known = calibrations[text] { return known }
    let calibration: Calibration
    if text.text == "self" {
      let seed = text.seed ?? 0
      let runs = try selfWritten(text.samples, text.length, seed, report)
      calibration = try Calibration(
        samples: runs, source: "text the model wrote, \(text.samples) × \(text.length) tokens, seed \(seed)")
    } else {
      let options = options
      calibration = try text.load(for: try model(), tokenizer: tokenizer, threads: options.threads) {
        (name) throws(Problem) in try DataFolder(options.data).text(for: try ProtocolCatalog.named(name))
      }
    }
    calibrations[text] = calibration
    return calibration
  }

  typealias Report = (StudyEvent) throws(Problem) -> Void

  private func selfWritten(_ count: Int, _ length: Int, _ seed: UInt64, _ report: Report) throws(Problem)
    -> [[Int32]]
  {
    let model = try model()
    guard let first = tokenizer.beginningOfSequence else {
      throw Problem(
        .usage, "the model has no token to begin a text with", at: entry.path,
        cure: "use a file in place of self")
    }
    let title = "\(entry.label) writes \(count) × \(length) tokens, seed \(seed)"
    return try folder.tokens(
      Digest.of("self \(digest) \(first) \(count) \(length) \(seed) \(options.version)"), count: count,
      length: length
    ) { () throws(Problem) in
      try report(.writing(title, done: 0, of: count))
      let runs = try SelfWrittenText.write(
        model, first: first, count: count, length: length, seed: seed, threads: options.threads)
      try report(.writing(title, done: count, of: count))
      return runs
    }
  }

  // MARK: Evaluation

  private func perplexityProtocol(_ measure: PerplexityMeasure) throws(Problem) -> PerplexityProtocol {
    var found: PerplexityProtocol
    if case .named(let name) = measure.text {
      found = try ProtocolCatalog.named(name)
    } else {
      found = .text(window: measure.window, beginning: measure.beginning)
    }
    if let windows = measure.windows { found.limit = min(windows, found.limit ?? .max) }
    return found
  }

  /// What the text of a measure is, without making its windows.
  func identity(of measure: PerplexityMeasure) throws(Problem) -> String {
    let extent =
      "\(measure.protocolName) \(measure.windows ?? 0) \(measure.measuresDivergence) \(tokenizerDigest)"
    switch measure.text {
    case .selfWritten: return "self \(digest) \(measure.selfWrittenWindows) \(extent)"
    case .file(let path): return "\(Digest.of(try bytes(of: path))) \(extent)"
    case .named(let name): return "\(Digest.of(try bytes(of: name))) \(extent)"
    }
  }

  /// The windows of a measure, and the first position of each that is scored.
  func windows(
    of measure: PerplexityMeasure, report: Report
  ) throws(Problem) -> (windows: [[Int32]], firstScored: Int) {
    switch measure.text {
    case .selfWritten(let seed):
      return (try selfWritten(measure.selfWrittenWindows, measure.window, seed, report), 1)
    case .file(let name), .named(let name):
      let found = try perplexityProtocol(measure)
      do throws(Problem) {
        return (try found.windows(of: try bytes(of: name), tokenizer), found.firstScored)
      } catch {
        throw error.located(at: name)
      }
    }
  }
}
