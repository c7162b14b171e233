internal import LatheEncoding
internal import LatheTensor

/// Vectors rounded to whole numbers of at most eight bits, one step for each vector.
struct ActivationCodes {
  private let tokens: Int
  private let width: Int
  private let codes: [Int8]
  private let scales: [Float]

  /// Rounds `tokens` vectors of `width` numbers.
  init(_ x: UnsafePointer<Float>, tokens: Int, width: Int, grid: ActivationGrid) {
    (self.tokens, self.width) = (tokens, width)
    var scales = [Float](repeating: 0, count: tokens)
    codes = [Int8](unsafeUninitializedCapacity: tokens * width) { buffer, count in
      if let base = buffer.baseAddress {
        for t in 0..<tokens {
          scales[t] = Kernels.best.quantizeVector(
            x + t * width, top: grid.outermostCode, scale: grid.scale ?? 0, into: base + t * width, width)
        }
      }
      count = tokens * width
    }
    self.scales = scales
  }

  /// `out[t] = W · x[t]`: on whole numbers where the weight's encoding has them, else on the numbers codes stand for.
  func multiply(_ weight: EncodedMatrix, into out: UnsafeMutablePointer<Float>, team: ThreadTeam) {
    if weight.multiply(codes: codes, scales: scales, tokens: tokens, into: out, team: team) { return }
    let rounded = FloatBuffer(tokens * width)
    for t in 0..<tokens {
      for j in 0..<width { rounded.pointer[t * width + j] = Float(codes[t * width + j]) * scales[t] }
    }
    weight.multiply(rounded.pointer, tokens: tokens, into: out, team: team)
  }
}
