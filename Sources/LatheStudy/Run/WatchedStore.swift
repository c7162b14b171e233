internal import LatheModel
internal import LatheQuantize
internal import LatheTensor

/// Keeps blocks in a working folder, and tells after each; what the listener throws ends the work there.
struct WatchedStore: BlockStore {
  private let store: FolderStore
  private let tell: (Int) throws(Problem) -> Void

  init(_ store: FolderStore, telling tell: @escaping (Int) throws(Problem) -> Void) {
    (self.store, self.tell) = (store, tell)
  }

  var finishedBlocks: Int { store.finishedBlocks }

  func resumedStream(for calibration: Calibration, inference: Inference) throws(Problem) -> CalibrationStream?
  {
    try store.resumedStream(for: calibration, inference: inference)
  }

  func append(_ block: Block, outcome: BlockOutcome, stream: CalibrationStream?) throws(Problem) {
    try store.append(block, outcome: outcome, stream: stream)
    try tell(store.finishedBlocks)
  }
}
