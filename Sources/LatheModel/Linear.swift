public import LatheEncoding
package import LatheTensor

/// A weight matrix as stored, and perhaps a bias.
public struct Linear: Sendable {
  /// The weight, one row for each output.
  public var weight: EncodedMatrix
  /// Added to the outputs.
  public var bias: [Float]?

  /// A weight and perhaps a bias.
  public init(weight: EncodedMatrix, bias: [Float]? = nil) { (self.weight, self.bias) = (weight, bias) }

  /// `out[t] = W · x[t] + b` for `tokens` contiguous vectors.
  package func callAsFunction(
    _ x: UnsafePointer<Float>, tokens: Int, into out: UnsafeMutablePointer<Float>, team: ThreadTeam
  ) {
    weight.multiply(x, tokens: tokens, into: out, team: team)
    guard let bias else { return }
    for t in 0..<tokens { Kernels.best.add(bias, to: out + t * bias.count, bias.count) }
  }
}
