public import LatheTensor

/// What happens to a weight's inputs before they meet it.
public enum InputStep: Hashable, Sendable {
  /// Each channel is multiplied by a factor; factors are numbers that binary16 holds.
  case scale([Float])
  /// The vector is turned.
  case rotate(Rotation)
  /// The vector is rounded to whole numbers; weights laid out for rounded inputs meet these as they are.
  case quantize(ActivationGrid)
}

/// How inputs become whole numbers: symmetric, the largest magnitude at the outermost code.
public struct ActivationGrid: Codable, Hashable, Sendable {
  /// The width of a code, 2 to 8.
  public let bits: Int
  /// The step between neighbouring codes for all vectors; nil finds one for each vector (per token, dynamic).
  public let scale: Float?

  /// A grid of `bits` bits.
  ///
  /// - Throws: `Problem` of kind `usage` where the width is out of range or the scale no positive number.
  public init(bits: Int, scale: Float? = nil) throws(Problem) {
    guard (2...8).contains(bits) else {
      throw Problem(.usage, "activations of \(bits) bits are out of range", cure: "choose 2 to 8")
    }
    guard scale.map({ $0 > 0 && $0.isFinite }) ?? true else {
      throw Problem(.badData, "an activation scale of \(scale ?? 0) is out of range")
    }
    (self.bits, self.scale) = (bits, scale)
  }

  private enum CodingKeys: String, CodingKey { case bits, scale }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      bits: container.decode(Int.self, forKey: .bits),
      scale: container.decodeIfPresent(Float.self, forKey: .scale))
  }

  /// "int8 activations", "static int8 activations".
  public var label: String { (scale == nil ? "" : "static ") + "int\(bits) activations" }

  /// Rounds `tokens` vectors of `width` numbers in place, and returns each one's step.
  func round(_ x: UnsafeMutablePointer<Float>, tokens: Int, width: Int) -> [Float] {
    withUnsafeTemporaryAllocation(of: Int8.self, capacity: width) { codes in
      guard let codes = codes.baseAddress else { return [] }
      return (0..<tokens).map { t in
        let vector = x + t * width
        let step = Kernels.best.quantizeVector(
          vector, top: outermostCode, scale: scale ?? 0, into: codes, width)
        for j in 0..<width { vector[j] = Float(codes[j]) * step }
        return step
      }
    }
  }

  /// The outermost code.
  package var outermostCode: Float { Float((1 << (bits - 1)) - 1) }
}

/// A step as a file's description holds it; a scale's factors are a tensor beside the weight.
package enum StepDescription: Codable, Hashable, Sendable {
  case scale
  case rotate(Rotation)
  case quantize(ActivationGrid)

  package init(_ step: InputStep) {
    switch step {
    case .scale: self = .scale
    case .rotate(let rotation): self = .rotate(rotation)
    case .quantize(let grid): self = .quantize(grid)
    }
  }

  private enum Key: String, CodingKey { case step }

  package init(from decoder: any Decoder) throws {
    let step = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .step)
    switch step {
    case "scale": self = .scale
    case "rotate": self = .rotate(try Rotation(from: decoder))
    case "quantize": self = .quantize(try ActivationGrid(from: decoder))
    default: throw Problem(.badData, "unknown input step \"\(step)\"", cure: "use a later version")
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    switch self {
    case .scale: try container.encode("scale", forKey: .step)
    case .rotate(let rotation):
      try container.encode("rotate", forKey: .step)
      try rotation.encode(to: encoder)
    case .quantize(let grid):
      try container.encode("quantize", forKey: .step)
      try grid.encode(to: encoder)
    }
  }
}
