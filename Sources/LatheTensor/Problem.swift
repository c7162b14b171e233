/// Something that went wrong and can be told in a sentence: what, where, and what to do.
///
/// Every layer throws this one type, so that a command can print any failure and choose an exit code
/// without knowing where it came from.
public struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
  /// The class of a problem; each has one exit code.
  public enum Kind: Int32, Sendable {
    /// The request itself is wrong: an unknown name, a value out of range.
    case usage = 64
    /// A file's content is not what its format demands.
    case badData = 65
    /// A file or folder is missing.
    case noInput = 66
    /// An invariant of the program does not hold.
    case `internal` = 70
    /// An output cannot be created, or exists already.
    case cannotCreate = 73
    /// Reading or writing failed.
    case inputOutput = 74
    /// The same request may succeed later.
    case tryAgain = 75
  }

  /// The class of the problem.
  public let kind: Kind
  /// What is wrong, with the offending value.
  public let what: String
  /// The file, key or argument it was found in.
  public let place: String?
  /// What the reader can do about it.
  public let cure: String?

  /// Describes a problem.
  public init(_ kind: Kind, _ what: String, at place: String? = nil, cure: String? = nil) {
    (self.kind, self.what, self.place, self.cure) = (kind, what, place, cure)
  }

  /// The sentence: `place: what; cure`.
  public var description: String {
    (place.map { "\($0): " } ?? "") + what + (cure.map { "; \($0)" } ?? "")
  }

  /// The same problem, found at `place` unless it already names one.
  public func located(at place: String) -> Problem {
    Problem(kind, what, at: self.place ?? place, cure: cure)
  }
}
