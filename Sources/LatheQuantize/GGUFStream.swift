internal import LatheEncoding
public import LatheFormats
internal import LatheModel
public import LatheTensor

extension Quantizer {
  /// Whether weights can be quantized one by one in any order: nothing is observed in the model.
  public var isDataFree: Bool { calibration == nil && recipe.transforms.isEmpty }

  /// Quantizes straight into a GGUF file, each weight when its turn comes to be written: nothing is kept, nothing is
  /// written twice, and a run that dies is begun anew.
  ///
  /// - Parameters:
  ///   - path: the file to write.
  ///   - vocabulary: the `tokenizer.` part of the metadata.
  ///   - name: the model's name in the file.
  ///   - report: receives each weight's outcome, and each block's.
  /// - Throws: `Problem` where the recipe observes the model, a weight cannot be quantized or its encoding is not one of
  ///   GGUF's.
  public func writeGGUF(
    to path: String, vocabulary: [(key: String, value: MetadataValue)], name: String,
    report: @escaping (QuantizationEvent) -> Void = { _ in }
  ) throws(Problem) {
    guard isDataFree else { throw Problem(.internal, "weights that are fitted to one another have an order") }
    let outcomes = Outcomes()
    let ended = try recipe.quantizingEnds(of: model, team: team)
    try GGUFDialect.write(
      ended, vocabulary: vocabulary, name: name,
      replacing: { site in
        guard let rule = recipe.rule(for: site) else { return nil }
        return LateWeight(rule.storage) { () throws(Problem) in
          var block = model.blocks[site.layer]
          let evidence = try importance?.evidence(for: site, of: model) ?? Evidence()
          let outcome = try quantize(site.role, of: &block, layer: site.layer, given: evidence)
          report(.weight(outcome))
          outcomes.weights[site.layer, default: []].append(outcome)
          let due = Role.allCases.filter { recipe.rule(for: Site(site.layer, $0)) != nil }
          if let weights = outcomes.weights[site.layer], weights.count == due.count {
            report(
              .block(
                BlockOutcome(layer: site.layer, weights: weights, streamError: nil), of: model.blocks.count))
          }
          guard let weight = block.weights[site.role]?.weight else {
            throw Problem(.internal, "weight \(site) is missing")
          }
          return weight
        }
      }, to: path)
  }

  private final class Outcomes { var weights: [Int: [WeightOutcome]] = [:] }
}
