internal import LatheEncoding
public import LatheModel

/// The memory that quantizing a model will take beyond the mapped model, told beforehand.
public struct MemoryEstimate: Hashable, Sendable {
  /// The hidden states of the calibration text, in the original and the quantized model.
  public let stream: Int
  /// The second moments of one place and their factorization.
  public let moments: Int
  /// The block at work: its weights as stored, in single precision where transforms rewrite them, and one
  /// weight, or a run of its rows, being rounded.
  public let block: Int
  /// The intermediate values of one calibration sequence.
  public let scratch: Int

  /// All together, in bytes.
  public var total: Int { stream + moments + block + scratch }

  /// What `recipe` will take on `model`, calibrated on `samples` sequences of `length` tokens.
  public init(_ model: Model, recipe: Recipe, samples: Int, length: Int) {
    // The widest block needs most.
    let layer = model.configuration.largestLayer, c = model.configuration[layer: layer], float = 4
    stream = 2 * samples * length * c.hiddenSize * float
    var held = 0, passing = 0, largest = 0, whole = 0, packed = 0, joined = 0
    var byRuns = recipe.transforms.isEmpty
    let factors = recipe.evidence.contains(.secondMoment)
    for input in BlockInput.allCases {
      let n = c.width(of: input, in: 0)
      var kinds: EvidenceKinds = []
      for role in input.consumers {
        let (rows, columns) = c.shape(of: Site(0, role))
        largest = max(largest, rows * columns)
        whole += rows * columns
        guard let rule = recipe.rule(for: Site(layer, role)) else { continue }
        let stored = (try? recipe.storedBytes(at: Site(layer, role), rows: rows, columns: columns)) ?? 0
        packed += stored
        joined = max(joined, stored)
        let asked = rule.method.method.evidence
        kinds.formUnion(asked)
        byRuns = byRuns && rule.method.method.splitsRows && !asked.contains(.secondMoment)
      }
      // Energies alone are summed without the rest of the second moment.
      let sums = samples > 0 && !(kinds == .channelEnergy && recipe.transforms.isEmpty)
      byRuns = byRuns && !sums
      guard sums else { continue }
      // The mean and its factor stay while weights are rounded, and two for each cross moment. Before that
      // there is the sum, or an ordered copy of the mean and the work in double precision.
      held = max(held, ((factors ? 2 : 1) + (kinds.contains(.mismatch) ? 2 : 0)) * n * n * float)
      passing = max(passing, (factors ? 3 : 1) * n * n * float)
    }
    moments = held + passing
    // The weight, its columns twice, what is rounded, codes, and the result decoded for its error: where the
    // factorization was, beside which the weight and its target lie. A weight's runs are joined in a copy.
    let rounding = (byRuns ? min(largest, 1 << 18) : largest) * (5 * float + 1)
    // The rewritten block; a transform's own copy of it is gone before moments are summed.
    let rewritten = recipe.transforms.isEmpty ? 0 : whole * float + max(0, whole * float - moments)
    block = packed + joined + rewritten + max(rounding - passing, factors ? 2 * largest * float : 0)
    scratch =
      samples == 0 ? 0 : length * (3 * c.hiddenSize + 2 * c.queryWidth + 2 * c.feedForwardSize) * 2 * float
  }
}
