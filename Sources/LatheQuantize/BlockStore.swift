public import LatheModel
public import LatheTensor

/// Where finished blocks go: memory, or a folder that survives the process.
public protocol BlockStore {
  /// The number of blocks it holds already; they are the first ones.
  var finishedBlocks: Int { get }

  /// The stream as it was after the last finished block, or nil where there is none.
  func resumedStream(for calibration: Calibration, inference: Inference) throws(Problem) -> CalibrationStream?

  /// Takes a finished block, and the stream that has passed it.
  func append(_ block: Block, outcome: BlockOutcome, stream: CalibrationStream?) throws(Problem)
}

/// Keeps blocks in memory.
public final class MemoryStore: BlockStore {
  /// The blocks so far.
  public private(set) var blocks: [Block] = []
  /// What became of each.
  public private(set) var outcomes: [BlockOutcome] = []

  /// An empty store.
  public init() {}

  public var finishedBlocks: Int { blocks.count }

  public func resumedStream(for calibration: Calibration, inference: Inference) throws(Problem)
    -> CalibrationStream?
  { nil }

  public func append(_ block: Block, outcome: BlockOutcome, stream: CalibrationStream?) throws(Problem) {
    blocks.append(block)
    outcomes.append(outcome)
  }
}

extension Model {
  /// The model with its blocks quantized, in memory.
  ///
  /// - Throws: `Problem` where the recipe needs calibration and there is none, or a weight cannot be quantized.
  public func quantized(
    with recipe: Recipe, calibratingOn calibration: Calibration? = nil, team: ThreadTeam
  ) throws(Problem) -> Model {
    let store = MemoryStore()
    let quantizer = try Quantizer(self, recipe: recipe, calibration: calibration, team: team)
    try quantizer.run(into: store)
    var copy = try recipe.quantizingEnds(of: quantizer.model, team: team)
    copy.blocks = store.blocks
    return copy
  }
}
