internal import Foundation

/// How figures are written.
enum Figures {
  /// `value` with about `digits` significant digits, without an exponent where it can be helped.
  static func significant(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite else { return value > 0 ? "inf" : "nan" }
    if value == 0 { return "0" }
    let exponent = Int(floor(log10(abs(value))))
    if exponent >= 6 || exponent < -4 {
      return String(format: "%.\(max(0, digits - 1))f", value / pow(10, Double(exponent))) + "×10"
        + superscript(exponent)
    }
    return String(format: "%.\(max(0, digits - 1 - exponent))f", value)
  }

  static func fixed(_ value: Double, _ places: Int) -> String {
    let text = String(format: "%.\(places)f", value)
    return text.hasPrefix("-") && text.allSatisfy({ "-0.".contains($0) }) ? String(text.dropFirst()) : text
  }

  /// `value ± error`, both to the same place: that of the error's second significant digit.
  static func withError(_ value: Double, _ error: Double?) -> String {
    guard let error, error > 0, error.isFinite else { return significant(value, 4) }
    if value != 0, abs(value) < 1e-3 {
      let exponent = Int(floor(log10(abs(value)))), power = pow(10, Double(exponent))
      return "(" + withError(value / power, error / power) + ")×10" + superscript(exponent)
    }
    let places = min(max(0, 1 - Int(floor(log10(error)))), 8)
    return "\(fixed(value, places)) ± \(fixed(error, places))"
  }

  static func mebibytes(_ bytes: Double) -> String { fixed(bytes / 1_048_576, bytes < 10_485_760 ? 2 : 1) }

  /// The axis form: the shortest text of a round number.
  static func tick(_ value: Double) -> String {
    if value == 0 { return "0" }
    let magnitude = abs(value)
    if magnitude >= 1e6 || magnitude < 9e-4 {
      let exponent = Int(floor(log10(magnitude) + 1e-9))
      let mantissa = value / pow(10, Double(exponent))
      return (abs(mantissa - 1) < 1e-6 ? "" : String(format: "%g×", mantissa)) + "10" + superscript(exponent)
    }
    if magnitude >= 10_000 { return String(format: "%gk", value / 1000) }
    return String(format: "%g", (value * 1e9).rounded() / 1e9)
  }

  private static func superscript(_ value: Int) -> String {
    let digits: [Character: Character] = [
      "-": "⁻", "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷", "8": "⁸",
      "9": "⁹",
    ]
    return String(String(value).map { digits[$0] ?? $0 })
  }

  /// When something began and ended, given as ISO 8601 in UTC.
  static func period(_ first: String, _ last: String) -> String {
    func parts(_ date: String) -> (day: Substring, time: Substring) {
      let halves = date.split(separator: "T")
      return (halves.first ?? "", halves.last?.prefix(5) ?? "")
    }
    let (begin, end) = (parts(first), parts(last))
    let until = begin == end ? "" : begin.day == end.day ? " to \(end.time)" : " to \(end.day), \(end.time)"
    return "\(begin.day), \(begin.time)\(until) UTC"
  }

  static func duration(_ seconds: Double) -> String {
    if seconds < 10 { return String(format: "%.1f s", seconds) }
    if seconds < 120 { return String(format: "%.0f s", seconds) }
    if seconds < 7200 { return String(format: "%.0f min", seconds / 60) }
    return String(format: "%.1f h", seconds / 3600)
  }
}
