public import LatheEncoding
public import LatheTensor

/// How the codes of one weight matrix are chosen. One conforming type per file in `Methods/`.
///
/// A method is a pure function of a matrix, a grid and what calibration gathered: it knows no model, no file and no
/// particular grid. Its options are its stored properties; `--set name=value` and recipes reach them by name.
public protocol QuantizationMethod: Codable, Hashable, Sendable {
  /// How the method is named, cited and explained.
  static var card: MethodCard { get }
  /// The method under its published defaults.
  init()
  /// What `quantize` needs from calibration; empty for a data-free method.
  var evidence: EvidenceKinds { get }

  /// Chooses codes for `weight`.
  ///
  /// Rows are independent: a driver may hand over a run of a weight's rows at a time, on any thread.
  /// - Parameters:
  ///   - weight: outputs × inputs.
  ///   - grid: the points to choose among.
  ///   - evidence: what was gathered of the kinds in `evidence`.
  /// - Throws: `Problem` where the grid cannot hold the matrix or the evidence does not suffice.
  func quantize(_ weight: Matrix, onto grid: some Grid, given evidence: Evidence) throws(Problem)
    -> EncodedMatrix

  /// The encoding that codes chosen among the points of `grid` are stored in. The default is the grid's own.
  func storage(of grid: some Grid) -> any Encoding

  /// Makes what every run of rows will ask of `evidence`, with all threads. The default makes nothing.
  func prepare(_ evidence: Evidence, threads: Int) throws(Problem)
}

extension QuantizationMethod {
  public func storage(of grid: some Grid) -> any Encoding { grid }
  public func prepare(_ evidence: Evidence, threads: Int) throws(Problem) {}
}

/// How a method is named, cited and explained: in `--help`, in the documentation and in reports.
public struct MethodCard: Hashable, Sendable {
  /// The name on the command line.
  public let name: String
  /// The name in prose.
  public let title: String
  /// Where it was published.
  public let paper: String
  /// One sentence.
  public let summary: String
  /// What each option does, by name.
  public let options: [String: String]

  /// A card of the given texts.
  public init(name: String, title: String, paper: String, summary: String, options: [String: String] = [:]) {
    (self.name, self.title, self.paper, self.summary, self.options) = (name, title, paper, summary, options)
  }
}

/// Every method. A new one is one file and one line here.
public enum MethodCatalog {
  /// The methods' types.
  public static let all: [any QuantizationMethod.Type] = [
    RoundToNearest.self, HQQ.self, GPTQ.self,
  ]

  /// The methods' names.
  public static var names: [String] { all.map { $0.card.name } }

  /// The method called `name`.
  public static subscript(name: String) -> (any QuantizationMethod.Type)? {
    all.first { $0.card.name == name }
  }
}
