public import LatheEncoding
public import LatheModel

/// What became of one weight.
public struct WeightOutcome: Codable, Hashable, Sendable {
  /// Which weight.
  public let site: Site
  /// The method's name.
  public let method: String
  /// The encoding.
  public let encoding: EncodingDescription
  /// The bits a weight costs, everything counted.
  public let bitsPerWeight: Double
  /// ‖W - Ŵ‖² / ‖W‖².
  public let weightError: Double
  /// ‖(W - Ŵ)·X‖² / ‖W·X‖² on the calibration inputs; nil without calibration.
  public let outputError: Double?
  /// The time it took.
  public let seconds: Double
}

/// What became of one block.
public struct BlockOutcome: Codable, Hashable, Sendable {
  /// The block, from 0.
  public let layer: Int
  /// Its weights.
  public let weights: [WeightOutcome]
  /// ‖x - x̂‖² / ‖x‖² of the hidden states after the block; nil without calibration.
  public let streamError: Double?
}

/// What a quantizer tells while it works.
public enum QuantizationEvent: Sendable {
  /// A weight was quantized.
  case weight(WeightOutcome)
  /// A block is finished and stored; the number of blocks in all.
  case block(BlockOutcome, of: Int)
}
