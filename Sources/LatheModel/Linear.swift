public import LatheEncoding
package import LatheTensor

/// A weight matrix as stored, what happens to its inputs, and perhaps a bias.
public struct Linear: Sendable {
  /// One reference to all: a copy is made for each product, and each part would be counted.
  private final class Parts: @unchecked Sendable {
    // Changed only where it is one value's own.
    var weight: EncodedMatrix
    var bias: [Float]?
    var input: [InputStep]
    var output: Rotation?
    var tiles: Tiles?

    init(
      _ weight: EncodedMatrix, _ bias: [Float]?, _ input: [InputStep], _ output: Rotation?, _ tiles: Tiles?
    ) {
      (self.weight, self.bias, self.input, self.output, self.tiles) = (weight, bias, input, output, tiles)
    }
  }
  private var parts: Parts

  /// The weight, one row for each output.
  public var weight: EncodedMatrix {
    get { parts.weight }
    set { change { $0.weight = newValue } }
  }
  /// Added to the outputs.
  public var bias: [Float]? {
    get { parts.bias }
    set { change { $0.bias = newValue } }
  }
  /// What happens to the inputs before the product, in order.
  public var input: [InputStep] {
    get { parts.input }
    set { change { $0.input = newValue } }
  }
  /// The basis the weight's outputs are in: they are turned back before the bias is added.
  public var output: Rotation? {
    get { parts.output }
    set { change { $0.output = newValue } }
  }
  /// The weight laid out for products with inputs rounded to bytes; nil multiplies inputs as they are.
  package var tiles: Tiles? {
    get { parts.tiles }
    set { change { $0.tiles = newValue } }
  }

  private mutating func change(_ body: (Parts) -> Void) {
    if !isKnownUniquelyReferenced(&parts) {
      parts = Parts(parts.weight, parts.bias, parts.input, parts.output, parts.tiles)
    }
    body(parts)
  }

  /// A weight and perhaps a bias.
  public init(weight: EncodedMatrix, bias: [Float]? = nil) { parts = Parts(weight, bias, [], nil, nil) }

  /// The bytes of the weight and of everything stored for it but the bias.
  public var byteCount: Int {
    input.reduce(weight.byteCount) { sum, step in
      if case .scale(let factors) = step { sum + 2 * factors.count } else { sum }
    }
  }

  /// How inputs become whole numbers, if they do.
  public var activations: ActivationGrid? {
    for case .quantize(let grid) in input { return grid }
    return nil
  }

  /// The same product on unrounded inputs.
  package var withoutActivationGrid: Linear {
    var copy = self
    copy.input.removeAll { if case .quantize = $0 { true } else { false } }
    return copy
  }

  /// `out[t] = W · x[t] + b` for `tokens` contiguous vectors.
  package func callAsFunction(
    _ x: UnsafePointer<Float>, tokens: Int, into out: UnsafeMutablePointer<Float>, team: ThreadTeam,
    inputs: TileInputs = TileInputs()
  ) {
    Linear.multiply([(self, out)], by: x, tokens: tokens, team: team, inputs: inputs)
  }

  /// Several weights times the same vectors: `out[t] = W · x[t] + b`, for `tokens` contiguous vectors.
  ///
  /// - Parameters:
  ///   - products: each weight, and where its outputs go.
  ///   - inputs: memory for rounded inputs, used again from call to call.
  package static func multiply(
    _ products: [(linear: Linear, out: UnsafeMutablePointer<Float>)], by x: UnsafePointer<Float>, tokens: Int,
    team: ThreadTeam, inputs: TileInputs
  ) {
    var x = x, scratch: FloatBuffer?, steps: [Float]?
    if let first = products.first, !first.linear.input.isEmpty {
      // What all go through is gone through once.
      guard products.allSatisfy({ $0.linear.input == first.linear.input }) else {
        for product in products {
          multiply([product], by: x, tokens: tokens, team: team, inputs: inputs)
        }
        return
      }
      let copy = FloatBuffer(tokens * first.linear.weight.columns)
      copy.pointer.update(from: x, count: copy.count)
      first.linear.prepare(copy.pointer, tokens: tokens, team: team)
      steps = first.linear.activations?.round(
        copy.pointer, tokens: tokens, width: first.linear.weight.columns)
      x = UnsafePointer(copy.pointer)
      scratch = copy
    }
    withExtendedLifetime(scratch) {
      let tiled = products.compactMap { product in product.linear.tiles.map { ($0, product.out) } }
      Tiles.multiply(tiled, by: x, tokens: tokens, steps: steps, inputs: inputs, team: team)
      for product in products where product.linear.tiles == nil {
        product.linear.weight.multiply(x, tokens: tokens, into: product.out, team: team)
      }
    }
    for product in products { product.linear.finish(product.out, tokens: tokens, team: team) }
  }

  /// Turns outputs back, and adds the bias.
  private func finish(_ out: UnsafeMutablePointer<Float>, tokens: Int, team: ThreadTeam) {
    if let output {
      split(tokens, team) { output.invert(out + $0.lowerBound * weight.rows, count: $0.count) }
    }
    guard let bias else { return }
    for t in 0..<tokens { Kernels.best.add(bias, to: out + t * bias.count, bias.count) }
  }

  /// Takes `tokens` vectors through every step but rounding, in place.
  package func prepare(_ x: UnsafeMutablePointer<Float>, tokens: Int, team: ThreadTeam) {
    let width = weight.columns
    for step in input {
      switch step {
      case .scale(let factors):
        for t in 0..<tokens { for j in 0..<width { x[t * width + j] *= factors[j] } }
      case .rotate(let rotation):
        split(tokens, team) { rotation.apply(to: x + $0.lowerBound * width, count: $0.count) }
      case .quantize: break
      }
    }
  }

  private func split(_ tokens: Int, _ team: ThreadTeam, _ body: (Range<Int>) -> Void) {
    if tokens < 8 { body(0..<tokens) } else { team.split(tokens, grain: 4, body) }
  }
}
