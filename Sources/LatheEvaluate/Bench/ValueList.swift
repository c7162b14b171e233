public import LatheTensor

/// A list of whole numbers as a sweep's options give it: numbers and ranges, separated by commas.
///
/// A range is `first-last`, `first-last+step` or `first-last*factor`, as llama-bench has it; its last value is the
/// largest that does not pass `last`.
public enum ValueList {
  /// The most values one list may give.
  public static let limit = 1000

  /// The values of `text`, in order.
  ///
  /// - Parameters:
  ///   - name: the option, for problems.
  ///   - allowed: what a value may be.
  /// - Throws: `Problem` of kind `usage` naming what is wrong.
  public static func values(of text: String, for name: String, in allowed: ClosedRange<Int>) throws(Problem)
    -> [Int]
  {
    var values: [Int] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let part = String(part)
      values += try range(part, name)
      guard values.count <= limit else { throw wrong(name, text, "gives more than \(limit) values") }
    }
    if let value = values.first(where: { !allowed.contains($0) }) {
      throw Problem(
        .usage, "--\(name) takes \(allowed.lowerBound) to \(allowed.upperBound), not \(value)")
    }
    return values
  }

  private static func range(_ part: String, _ name: String) throws(Problem) -> [Int] {
    if let value = number(part[...]) { return [value] }
    guard let match = part.wholeMatch(of: /([0-9]+)-([0-9]+)(?:([+*])([0-9]+))?/) else {
      throw wrong(name, part, "is no number and no range")
    }
    guard let first = number(match.1), let last = number(match.2),
      let step = match.4.map({ number($0) }) ?? 1
    else { throw wrong(name, part, "holds a number that is too large") }
    guard first <= last else { throw wrong(name, part, "falls from \(first) to \(last)") }
    let multiplies = match.3 == "*"
    guard step > 0 else { throw wrong(name, part, "has a step of 0") }
    guard !multiplies || step > 1 && first > 0 else {
      throw wrong(name, part, "never gets from \(first) to \(last)")
    }
    var values: [Int] = [], next = first
    while next <= last {
      values.append(next)
      guard values.count <= limit else { throw wrong(name, part, "gives more than \(limit) values") }
      next = multiplies ? next * step : next + step
    }
    return values
  }

  /// Numbers of at most nine digits: no sum or product of two of them overflows.
  private static func number(_ text: Substring) -> Int? {
    text.count <= 9 && text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
  }

  private static func wrong(_ name: String, _ text: String, _ what: String) -> Problem {
    Problem(
      .usage, "--\(name) \(text.prefix(40)) \(what)",
      cure: "say 512, a list 128,512, or a range first-last, first-last+step, first-last*factor")
  }
}
