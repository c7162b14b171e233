internal import LatheEncoding
public import LatheModel
public import LatheTensor

/// A rewrite of a model that keeps its function and makes its weights easier to quantize. One conforming type per file
/// in `Transforms/`.
///
/// A transform works through fold points and input steps: it knows no architecture, no method and no encoding.
public protocol Transform: Configurable {
  /// What `apply` asks its context for; empty for a transform without data.
  var evidence: EvidenceKinds { get }
  /// The method its paper pairs it with, by name and with its options, taken where a user names the transform alone.
  static var companion: (method: String, options: [(key: String, value: String)]) { get }

  /// Whether something is left to do as the model runs, which formats of other programs cannot say. The default says so.
  var leavesSteps: Bool { get }

  /// The bytes stored for a weight of this shape beside its codes: factors of its inputs. The default is none.
  func storedBytes(rows: Int, columns: Int) -> Int

  /// Rewrites what lies between and around the blocks. The default rewrites nothing.
  ///
  /// - Throws: `Problem` of kind `usage` where the model's sizes do not allow it.
  func apply(to model: inout Model) throws(Problem)

  /// Rewrites one block. The default rewrites nothing.
  ///
  /// - Throws: `Problem` where the block's sizes do not allow it or the evidence does not suffice.
  func apply(to block: inout Block, in context: BlockContext) throws(Problem)
}

extension Transform {
  public var evidence: EvidenceKinds { [] }
  public var leavesSteps: Bool { true }
  public func storedBytes(rows: Int, columns: Int) -> Int { 0 }
  public static var companion: (method: String, options: [(key: String, value: String)]) { ("rtn", []) }
  public func apply(to model: inout Model) throws(Problem) {}
  public func apply(to block: inout Block, in context: BlockContext) throws(Problem) {}
}

/// Every transform. A new one is one file and one line here.
public enum TransformCatalog {
  /// The transforms' types.
  public static let all: [any Transform.Type] = [
    AWQ.self, SmoothQuant.self, Hadamard.self, QuIP.self, QuantizedActivations.self,
  ]

  /// The transforms' names.
  public static var names: [String] { all.map { $0.card.name } }

  /// The transform called `name`.
  public static subscript(name: String) -> (any Transform.Type)? { all.first { $0.card.name == name } }
}

/// What a transform may ask about the block before it.
public struct BlockContext {
  /// The block, from 0.
  public let layer: Int
  /// The sizes of the model, as the block has them.
  public let configuration: Configuration
  /// Where scales can move from a weight to the one that feeds it.
  public let foldPoints: [FoldPoint]
  /// The threads to work with.
  public let team: ThreadTeam
  let recipe: Recipe
  let stream: CalibrationStream?

  /// The rule for a weight of the block, if it is to be quantized.
  public func rule(for role: Role) -> Rule? { recipe.rule(for: Site(layer, role)) }

  /// What the weights at `input` of `block` see as the original model runs.
  ///
  /// - Throws: `Problem` of kind `usage` where there is no calibration text.
  public func evidence(_ kinds: EvidenceKinds, at input: BlockInput, of block: Block) throws(Problem)
    -> Evidence
  {
    guard let stream else {
      throw Problem(.usage, "the transform needs calibration text", cure: "give --calibration FILE")
    }
    return stream.observe(input, of: block, reference: block, gathering: kinds, inOriginal: true)
  }

  /// The hidden states after `block` for the first `sequences` of the calibration text.
  func outputs(of block: Block, sequences: Int) -> FloatBuffer? {
    stream?.outputs(of: block, sequences: sequences)
  }
}

extension Block {
  /// A weight in single precision.
  func dense(_ role: Role) -> Matrix { weights[role]?.weight.decoded() ?? Matrix(zeros: 0, 0) }

  /// Puts numbers in a weight's place.
  mutating func replace(_ role: Role, by matrix: Matrix) throws(Problem) {
    weights[role]?.weight = try EncodedMatrix(matrix)
  }

  /// The block on unrounded inputs.
  package var withoutActivationGrids: Block {
    var copy = self
    for (role, linear) in weights { copy.weights[role] = linear.withoutActivationGrid }
    return copy
  }

  /// The roles of a norm's or a weight's consumers share one factor a channel: divides what writes the channel by it,
  /// and multiplies what reads it.
  mutating func fold(_ factors: [Float], at point: FoldPoint, _ configuration: Configuration) throws(Problem)
  {
    switch point.producer {
    case .attentionNorm: for j in factors.indices { attentionNorm[j] /= factors[j] }
    case .feedForwardNorm: for j in factors.indices { feedForwardNorm[j] /= factors[j] }
    case .weight(let role):
      var weight = dense(role)
      // Heads that share a value head see one channel of it each: factors repeat, the first of each group counts.
      let rows = point.rows(of: configuration, weight.rows)
      for i in 0..<weight.rows {
        let factor = factors[rows[i]]
        for j in 0..<weight.columns { weight[i, j] /= factor }
        weights[role]?.bias?[i] /= factor
      }
      try replace(role, by: weight)
    }
    for role in point.consumers {
      var weight = dense(role)
      for i in 0..<weight.rows { for j in 0..<weight.columns { weight[i, j] *= factors[j] } }
      try replace(role, by: weight)
    }
  }
}

extension FoldPoint {
  /// Whether heads of the input share rows of what writes it.
  func isShared(_ configuration: Configuration) -> Bool {
    producer == .weight(.value) && configuration.heads != configuration.keyValueHeads
  }

  /// The first channel of the input that each row of the producer writes.
  func rows(of configuration: Configuration, _ count: Int) -> [Int] {
    guard isShared(configuration) else { return Array(0..<count) }
    let d = configuration.headDimension, group = configuration.heads / configuration.keyValueHeads
    return (0..<count).map { $0 / d * group * d + $0 % d }
  }

  /// One value for each channel, made equal by `combine` where channels share a row of the producer.
  func sharing(
    _ values: [Float], _ configuration: Configuration, by combine: ([Float]) -> Float
  ) -> [Float] {
    guard isShared(configuration) else { return values }
    let d = configuration.headDimension, group = configuration.heads / configuration.keyValueHeads
    var out = values
    for head in 0..<configuration.keyValueHeads {
      for k in 0..<d {
        let channels = (0..<group).map { (head * group + $0) * d + k }
        let shared = combine(channels.map { values[$0] })
        for channel in channels { out[channel] = shared }
      }
    }
    return out
  }
}
