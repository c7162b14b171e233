/// Where a figure comes from: enough to get it again.
public struct Provenance: Codable, Hashable, Sendable {
  /// The model's path and digest.
  public var model, modelDigest: String
  /// The kind and size of the tokenizer.
  public var tokenizer: String
  /// The calibration text, or "none".
  public var calibration: String
  /// The seeds of all texts involved.
  public var seeds: String
  /// The number of threads.
  public var threads: Int
  /// The instruction set of the kernels.
  public var kernels: String
  /// The processor.
  public var processor: String
  /// The operating system.
  public var system: String
  /// When it was measured, in UTC.
  public var date: String
  /// The program's version.
  public var version: String
  /// A command that gives the figure again.
  public var command: String
}
