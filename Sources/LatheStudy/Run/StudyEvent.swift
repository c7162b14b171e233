/// What a study tells while it runs.
public enum StudyEvent: Sendable {
  /// The plan is laid out: the number of cells, and how many an earlier run finished.
  case planned(cells: Int, finished: Int)
  /// A text is being written by a model: runs done, of how many.
  case writing(String, done: Int, of: Int)
  /// A cell begins: its kind and what it is about.
  case began(kind: String, title: String)
  /// A cell is under way: blocks quantized or windows read, of how many.
  case advanced(Int, of: Int)
  /// A cell is stored; the time it took.
  case finished(kind: String, title: String, seconds: Double)
}

/// What a run needs to know beside its plan.
public struct RunOptions: Sendable {
  /// The number of threads.
  public var threads: Int
  /// The program's version; results of another version are measured again.
  public var version: String
  /// The command that runs the study, for provenance.
  public var command: String
  /// Where `corpora/` lies; nil for what `LATHE_DATA` names.
  public var data: String?

  /// Options of the given values.
  public init(threads: Int, version: String, command: String, data: String? = nil) {
    (self.threads, self.version, self.command, self.data) = (threads, version, command, data)
  }
}
