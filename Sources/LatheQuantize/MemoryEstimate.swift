internal import LatheEncoding
public import LatheModel

/// The memory that quantizing a model will take beyond the mapped model, told beforehand.
public struct MemoryEstimate: Hashable, Sendable {
  /// The hidden states of the calibration text, in the original and the quantized model.
  public let stream: Int
  /// The second moments of one place and their factorization.
  public let moments: Int
  /// The block at work: its weights in single precision where transforms rewrite them, and one weight being rounded.
  public let block: Int
  /// The intermediate values of one calibration sequence.
  public let scratch: Int

  /// All together, in bytes.
  public var total: Int { stream + moments + block + scratch }

  /// What `recipe` will take on `model`, calibrated on `samples` sequences of `length` tokens.
  public init(_ model: Model, recipe: Recipe, samples: Int, length: Int) {
    let c = model.configuration, float = 4
    stream = 2 * samples * length * c.hiddenSize * float
    var moments = 0, largest = 0, whole = 0
    for input in BlockInput.allCases {
      let n = c.width(of: input)
      var kinds: EvidenceKinds = samples > 0 ? .secondMoment : []
      for role in input.consumers {
        let (rows, columns) = c.shape(of: role)
        largest = max(largest, rows * columns)
        whole += rows * columns
        if let rule = recipe.rule(for: Site(0, role)) { kinds.formUnion(rule.method.method.evidence) }
      }
      guard samples > 0, kinds != .channelEnergy else { continue }
      // The sum, the mean, its ordered copy, the factor and the work in double precision; one more for each cross moment.
      var copies = recipe.evidence.contains(.secondMoment) ? 6 : 2
      if kinds.contains(.mismatch) { copies += 2 }
      moments = max(moments, copies * n * n * float)
    }
    self.moments = moments
    // The weight, its columns twice, what is rounded, codes, and the result decoded for its error.
    let rounding = largest * (5 * float + 1)
    block = rounding + (recipe.transforms.isEmpty ? 0 : 2 * whole * float)
    scratch =
      samples == 0 ? 0 : length * (3 * c.hiddenSize + 2 * c.queryWidth + 2 * c.feedForwardSize) * 2 * float
  }
}
