public import LatheModel

/// A model under a recipe: a row of every table.
public struct Variant: Codable, Hashable, Sendable {
  /// The digest of all that the quantized model depends on.
  public var key: String
  /// The model's name.
  public var model: String
  /// The model's digest.
  public var modelDigest: String
  /// The recipe's name; "original" for the model as it came.
  public var label: String
  /// The line of a chart it belongs to.
  public var family: String
  /// Whether it is the model as it came.
  public var isOriginal: Bool
  /// The bits of a code where all weights have the same.
  public var nominalBits: Double?
  /// The recipe as JSON.
  public var recipe: String
}

/// One piece of a study's work, done once.
public struct CellRecord: Codable, Hashable, Sendable {
  /// The digest of all that its results depend on.
  public var key: String
  /// The variant's key.
  public var variant: String
  /// What is done: quantize, perplexity or speed.
  public var kind: String
  /// The name of the protocol of its figures.
  public var protocolName: String
  /// The time it took.
  public var seconds: Double
  /// Where its figures come from.
  public var provenance: Provenance
}

/// A figure.
public struct Score: Codable, Hashable, Sendable {
  /// The cell's key.
  public var cell: String
  /// What was measured.
  public var metric: String
  /// The figure.
  public var value: Double
  /// Its standard error, where there is one.
  public var standardError: Double?
  /// The number of tokens, positions or repetitions it is taken over.
  public var count: Int?
  /// The protocol: only figures of one protocol are comparable.
  public var protocolName: String
}

/// A task's figure question by question: what two models' paired comparison needs.
public struct AnswerRecord: Codable, Hashable, Sendable {
  /// The cell's key.
  public var cell: String
  /// The task.
  public var task: String
  /// What was measured.
  public var metric: String
  /// The figure of each question, in the order of the file.
  public var values: [Float]
}

/// What became of one weight.
public struct WeightRecord: Codable, Hashable, Sendable {
  /// The variant's key.
  public var variant: String
  /// The block, from 0.
  public var layer: Int
  /// What the weight does in it.
  public var role: Role
  /// The method's name.
  public var method: String
  /// The encoding's label.
  public var encoding: String
  /// The bits a weight costs.
  public var bitsPerWeight: Double
  /// ‖W - Ŵ‖² / ‖W‖².
  public var weightError: Double
  /// ‖(W - Ŵ)·X‖² / ‖W·X‖² on the calibration text.
  public var outputError: Double?
  /// The time it took.
  public var seconds: Double
}

/// What is measured, by name. The strings are the members of `--json` and the columns of files.
public enum Metric {
  /// Bits a weight of the blocks.
  public static let blockBits = "bits_per_block_weight"
  /// Bits a weight over the whole model.
  public static let modelBits = "bits_per_weight"
  /// The bytes of the weights' files.
  public static let fileBytes = "file_bytes"
  /// The exponential of the mean negative log-likelihood.
  public static let perplexity = "perplexity"
  /// The mean negative log-likelihood.
  public static let nll = "nll"
  /// The mean divergence from the original.
  public static let divergence = "kl_mean"
  /// The share of positions where original and model agree on the likeliest token.
  public static let agreement = "top1_agreement"
  /// The original's perplexity on the same tokens.
  public static let referencePerplexity = "reference_perplexity"
  /// Tokens read a second.
  public static let prefill = "prefill_tokens_per_second"
  /// Tokens written a second.
  public static let decode = "decode_tokens_per_second"
}
