internal import Foundation
public import LatheModel
public import LatheTensor
public import LatheText

/// Which text to calibrate on, by name: what a command line or a plan says.
public struct CalibrationText: Codable, Hashable, Sendable {
  /// A file, "self" for text that the model writes, or the name of a corpus.
  public var text: String
  /// The number of samples.
  public var samples: Int
  /// The tokens in a sample.
  public var length: Int
  /// Random crops by this seed; nil for samples from the text's start.
  public var seed: UInt64?

  /// Text of the given name and extent.
  public init(_ text: String, samples: Int, length: Int, seed: UInt64? = nil) {
    (self.text, self.samples, self.length, self.seed) = (text, samples, length, seed)
  }

  /// Reads or writes the text.
  ///
  /// - Parameter corpus: gives the text of a named corpus.
  /// - Throws: `Problem` where the text is missing or too short.
  public func load(
    for model: Model, tokenizer: Tokenizer, threads: Int, corpus: (String) throws(Problem) -> Bytes
  ) throws(Problem) -> Calibration {
    if text == "self" {
      guard let first = tokenizer.beginningOfSequence else {
        throw Problem(.usage, "the model has no token to begin a text with", cure: "calibrate on a file")
      }
      let runs = try SelfWrittenText.write(
        model, first: first, count: samples, length: length, seed: seed ?? 0, threads: threads)
      return try Calibration(
        samples: runs, source: "text the model wrote, \(samples) × \(length) tokens, seed \(seed ?? 0)")
    }
    let isFile = FileManager.default.fileExists(atPath: text)
    let bytes = isFile ? try Bytes(mapping: text) : try corpus(text)
    var tokens = try tokenizer.encode(bytes, addingSpecialTokens: false, parsingSpecialTokens: false)
    // One beginning of sequence before the stream, as a model that expects one has it in evaluation.
    if tokenizer.addsBeginningOfSequence, let first = tokenizer.beginningOfSequence {
      tokens.insert(first, at: 0)
    }
    return try Calibration(tokens: tokens, count: samples, length: length, seed: seed, source: text)
  }
}
