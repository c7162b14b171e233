public import LatheModel
public import LatheTensor

/// Rounds the inputs of the quantized weights to whole numbers, without anything that makes it easier.
///
/// After a rotation this is QuaRot's W4A4 (arXiv:2404.00456): `hadamard+activations+gptq`.
public struct QuantizedActivations: Transform {
  public static let card = MethodCard(
    name: "activations", title: "Quantized activations", paper: "arXiv:2206.01861, section 4.2",
    summary: "Inputs of weights are rounded to whole numbers, a step for each token.",
    options: [
      "activationBits": "the width of rounded inputs, 2 to 8 (default 8)",
      "static": "one step for all tokens, found on the calibration text (default false)",
    ])

  private enum CodingKeys: String, CodingKey {
    case activationBits
    case isStatic = "static"
  }

  /// The width of rounded inputs.
  public var activationBits = 8
  /// Whether one step serves all tokens.
  public var isStatic = false

  /// Eight bits, a step for each token.
  public init() {}

  public var evidence: EvidenceKinds { isStatic ? [.magnitudes] : [] }

  public func apply(to block: inout Block, in context: BlockContext) throws(Problem) {
    try context.roundInputs(of: &block, bits: activationBits, isStatic: isStatic)
  }
}
