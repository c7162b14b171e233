internal import LatheEncoding
public import LatheModel
public import LatheTensor

/// Quantizes a model block by block: observe, quantize, propagate, write out, forget.
///
/// Beyond the mapped model it holds one block, its second moments, and the calibration stream twice: as the original
/// model and as the quantized one would carry it. Inputs of a block are observed in the quantized stream, place after
/// place, so that each weight is fitted to what the weights before it, already quantized, will really feed it.
public struct Quantizer {
  /// The model to quantize, rewritten around its blocks by the recipe's transforms.
  public let model: Model
  /// What to do to each weight.
  public let recipe: Recipe
  /// The text to calibrate on; nil for recipes that need none.
  public let calibration: Calibration?
  /// What errors count for, where that is not gathered from the text.
  public let importance: ImportanceMatrix?
  /// The threads to work with.
  public let team: ThreadTeam

  /// A quantizer of `model`.
  ///
  /// - Throws: `Problem` of kind `usage` where the recipe needs calibration and there is none, or an encoding
  ///   cannot hold a weight.
  public init(
    _ model: Model, recipe: Recipe, calibration: Calibration? = nil, importance: ImportanceMatrix? = nil,
    team: ThreadTeam
  ) throws(Problem) {
    let given: EvidenceKinds = importance == nil ? [] : [.channelEnergy]
    if calibration == nil, !given.isSuperset(of: recipe.evidence) {
      throw Problem(
        .usage, "the recipe \"\(recipe.name)\" needs calibration text", cure: "give --calibration FILE")
    }
    try recipe.validate(for: model)
    var model = model
    for description in recipe.transforms { try description.transform.apply(to: &model) }
    (self.model, self.recipe, self.calibration, self.team) = (model, recipe, calibration, team)
    self.importance = importance
  }

  /// Quantizes every block that `store` does not hold yet, and hands each to it.
  ///
  /// - Parameter report: receives each weight's outcome, and each block's.
  /// - Throws: `Problem` where a weight cannot be quantized or a block cannot be stored.
  public func run(into store: some BlockStore, report: (QuantizationEvent) -> Void = { _ in }) throws(Problem)
  {
    let inference = Inference(model, team: team)
    var stream: CalibrationStream?
    if let calibration {
      stream = try store.resumedStream(for: calibration, inference: inference)
      if stream == nil { stream = try CalibrationStream(calibration, inference: inference) }
    }
    for layer in store.finishedBlocks..<model.blocks.count {
      var block = try transformed(layer, stream)
      // The same function in other numbers: what the original stream passes.
      let reference = block.withoutActivationGrids
      var outcomes: [WeightOutcome] = []
      for input in BlockInput.allCases {
        let roles = input.consumers.filter { recipe.rule(for: Site(layer, $0)) != nil }
        if roles.isEmpty { continue }
        let evidence = stream?.observe(input, of: block, reference: reference, gathering: kinds(roles, layer))
        for role in roles {
          let site = Site(layer, role)
          let known = stream == nil ? try importance?.evidence(for: site, of: model) : nil
          let outcome = try quantize(role, of: &block, layer: layer, given: known ?? evidence ?? Evidence())
          outcomes.append(outcome)
          report(.weight(outcome))
        }
      }
      let error = stream?.propagate(original: reference, quantized: block)
      let result = BlockOutcome(layer: layer, weights: outcomes, streamError: error)
      try store.append(block, outcome: result, stream: stream)
      report(.block(result, of: model.blocks.count))
    }
  }

  /// The block after the recipe's transforms.
  package func transformed(_ layer: Int, _ stream: CalibrationStream?) throws(Problem) -> Block {
    var block = model.blocks[layer]
    if recipe.transforms.isEmpty { return block }
    let context = BlockContext(
      layer: layer, configuration: model.configuration[layer: layer],
      foldPoints: model.architecture.foldPoints, team: team,
      recipe: recipe, stream: stream)
    for description in recipe.transforms {
      do throws(Problem) {
        try description.transform.apply(to: &block, in: context)
      } catch {
        throw error.located(at: "block \(layer), \(type(of: description.transform).card.name)")
      }
    }
    // What no rule quantizes keeps its width.
    for role in Role.allCases where recipe.rule(for: Site(layer, role)) == nil {
      guard let before = model.blocks[layer].weights[role]?.weight, let after = block.weights[role]?.weight,
        before.parts != after.parts, let layout = before.encoding.storedLayout, layout.elementsPerBlock == 1
      else { continue }
      block.weights[role]?.weight = try after.stored(as: layout)
    }
    return block
  }

  /// What the methods of some weights, and the figures reported of them, need.
  private func kinds(_ roles: [Role], _ layer: Int) -> EvidenceKinds {
    let asked = roles.reduce(EvidenceKinds()) { kinds, role in
      kinds.union(recipe.rule(for: Site(layer, role))?.method.method.evidence ?? [])
    }
    // Energies alone are cheap: the output error's figure is not worth a sum of squares of the width.
    return asked == .channelEnergy && recipe.transforms.isEmpty ? asked : asked.union(.secondMoment)
  }

  func quantize(
    _ role: Role, of block: inout Block, layer: Int, given evidence: Evidence
  ) throws(Problem) -> WeightOutcome {
    let site = Site(layer, role)
    guard let rule = recipe.rule(for: site), let linear = block.weights[role],
      let grid = rule.encoding.encoding as? any Grid
    else {
      throw Problem(
        .usage, "no method can choose codes of \(recipe.rule(for: site)?.encoding.encoding.label ?? "?")")
    }
    let clock = ContinuousClock()
    let start = clock.now
    let evidence = evidence.seen(by: linear), method = rule.method.method
    do throws(Problem) {
      if evidence.secondMoment == nil, method.splitsRows, !method.evidence.contains(.secondMoment) {
        let (encoded, error) = try linear.weight.quantized(
          byRunsWith: method, onto: grid, given: evidence, team: team)
        block.weights[role]?.weight = encoded
        return WeightOutcome(
          site: site, method: type(of: method).card.name, encoding: encoded.encoding.description,
          bitsPerWeight: encoded.bitsPerWeight, weightError: error, outputError: nil,
          seconds: start.duration(to: clock.now) / .seconds(1))
      }
      let weight = linear.weight.decoded(team: team)
      guard weight.values.allSatisfy(\.isFinite) else {
        throw Problem(
          .badData, "the weight holds numbers that are not finite", cure: "check the model's file")
      }
      let target = try method.target(for: weight, given: evidence, team: team)
      let encoded = try target.quantized(by: method, onto: grid, given: evidence, team: team)
      let error = weight.error(of: encoded.decoded(team: team), given: evidence, team: team)
      block.weights[role]?.weight = encoded
      return WeightOutcome(
        site: site, method: type(of: rule.method.method).card.name, encoding: encoded.encoding.description,
        bitsPerWeight: encoded.bitsPerWeight, weightError: error.weight, outputError: error.output,
        seconds: start.duration(to: clock.now) / .seconds(1))
    } catch {
      throw error.located(at: "weight \(site)")
    }
  }
}

extension Matrix {
  /// The matrix quantized, its rows split over the threads of `team`.
  func quantized(
    by method: any QuantizationMethod, onto grid: some Grid, given evidence: Evidence, team: ThreadTeam
  ) throws(Problem) -> EncodedMatrix {
    let grid = grid.prepared(for: self)
    // What all slices share is made once, with all threads, before they ask for it.
    try method.prepare(evidence, threads: team.count)
    if !method.splitsRows { return try method.quantize(self, onto: grid, given: evidence) }
    let slice = grid.slice(rows: rows, columns: columns, threads: team.count)
    let starts = Array(stride(from: 0, to: rows, by: slice))
    let results = Slots<Result<EncodedMatrix, Problem>>(starts.count)
    team.run(starts.count) { piece in
      let range = starts[piece]..<min(starts[piece] + slice, rows)
      results[piece] = Result { () throws(Problem) in
        try method.quantize(self.rows(range), onto: grid, given: evidence)
      }
    }
    var parts: [EncodedMatrix] = []
    for result in results.values { parts.append(try result.get()) }
    return try EncodedMatrix(stacking: parts)
  }

  /// The squared error of `other`, relative to this matrix, of the weights and of the outputs for the inputs seen.
  func error(of other: Matrix, given evidence: Evidence, team: ThreadTeam) -> (
    weight: Double, output: Double?
  ) {
    var difference = self
    for i in values.indices { difference.values[i] -= other.values[i] }
    let weight = difference.squaredNorm() / max(squaredNorm(), .leastNormalMagnitude)
    guard let moment = evidence.secondMoment else { return (weight, nil) }
    let output =
      difference.energy(under: moment, team: team)
      / max(energy(under: moment, team: team), .leastNormalMagnitude)
    return (weight, output)
  }

  private func squaredNorm() -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }

  /// The trace of `A · H · Aᵀ`.
  private func energy(under moment: Matrix, team: ThreadTeam) -> Double {
    let sums = Slots<Double>((rows + 63) / 64)
    team.run(sums.count) { piece in
      let first = piece * 64, count = min(64, rows - first)
      var product = [Float](repeating: 0, count: count * columns)
      var sum = 0.0
      values.withUnsafeBufferPointer { a in
        moment.values.withUnsafeBufferPointer { h in
          product.withUnsafeMutableBufferPointer { p in
            guard let a = a.baseAddress.map({ $0 + first * columns }), let h = h.baseAddress,
              let p = p.baseAddress
            else { return }
            BLAS.multiply(
              a, stride: columns, h, stride: columns, into: p, stride: columns, m: count, n: columns,
              k: columns)
            for i in 0..<count { sum += Double(Kernels.best.dot(p + i * columns, a + i * columns, columns)) }
          }
        }
      }
      sums[piece] = sum
    }
    return sums.values.reduce(0, +)
  }
}

/// A place for the result of each piece of parallel work.
final class Slots<Value>: @unchecked Sendable {
  // Each thread writes places of its own, and nobody reads before all are done.
  private let places: UnsafeMutableBufferPointer<Value?>

  init(_ count: Int) {
    places = .allocate(capacity: count)
    places.initialize(repeating: nil)
  }

  deinit {
    places.deinitialize()
    places.deallocate()
  }

  var count: Int { places.count }
  var values: [Value] { places.compactMap { $0 } }
  subscript(index: Int) -> Value? {
    get { places[index] }
    set { places[index] = newValue }
  }
}
