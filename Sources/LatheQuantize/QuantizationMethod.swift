public import LatheEncoding
public import LatheTensor

/// How the codes of one weight matrix are chosen. One conforming type per file in `Methods/`.
///
/// A method is a pure function of a matrix, a grid and what calibration gathered: it knows no model, no file and no
/// particular grid. Its options are its stored properties; `--set name=value` and recipes reach them by name.
public protocol QuantizationMethod: Configurable {
  /// What `quantize` needs from calibration; empty for a data-free method.
  var evidence: EvidenceKinds { get }

  /// Chooses codes for `weight`.
  ///
  /// Where `splitsRows` holds, a driver may hand over a run of a weight's rows at a time, on any thread.
  /// - Parameters:
  ///   - weight: outputs × inputs.
  ///   - grid: the points to choose among.
  ///   - evidence: what was gathered of the kinds in `evidence`.
  /// - Throws: `Problem` where the grid cannot hold the matrix or the evidence does not suffice.
  func quantize(_ weight: Matrix, onto grid: some Grid, given evidence: Evidence) throws(Problem)
    -> EncodedMatrix

  /// Whether each row's codes are chosen without looking at other rows. The default says so.
  var splitsRows: Bool { get }

  /// Whether codes are stored in an encoding of the method's own, whatever grid is asked for. The default says no.
  static var bringsEncoding: Bool { get }

  /// What the weight should have been for the inputs and the hidden state that it will really meet.
  ///
  /// Codes are then chosen for this matrix in the weight's place. The default is the weight itself.
  func target(for weight: Matrix, given evidence: Evidence, team: ThreadTeam) throws(Problem) -> Matrix

  /// The encoding that codes chosen among the points of `grid` are stored in. The default is the grid's own.
  func storage(of grid: some Grid) -> any Encoding

  /// Makes what every run of rows will ask of `evidence`, with all threads. The default makes nothing.
  func prepare(_ evidence: Evidence, threads: Int) throws(Problem)
}

extension QuantizationMethod {
  public var splitsRows: Bool { true }
  public static var bringsEncoding: Bool { false }
  public func target(for weight: Matrix, given evidence: Evidence, team: ThreadTeam) throws(Problem) -> Matrix
  {
    weight
  }
  public func storage(of grid: some Grid) -> any Encoding { grid }
  public func prepare(_ evidence: Evidence, threads: Int) throws(Problem) {}
}

/// Every method. A new one is one file and one line here.
public enum MethodCatalog {
  /// The methods' types.
  public static let all: [any QuantizationMethod.Type] = [
    RoundToNearest.self, HQQ.self, GPTQ.self, PBLLM.self, BiLLM.self,
  ]

  /// The methods' names.
  public static var names: [String] { all.map { $0.card.name } }

  /// The method called `name`.
  public static subscript(name: String) -> (any QuantizationMethod.Type)? {
    all.first { $0.card.name == name }
  }
}
