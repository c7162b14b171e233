/// Writes scalable vector graphics, an element at a time.
struct SVG {
  private(set) var body = ""

  /// `text` with the characters that markup reserves written as entities.
  static func escape(_ text: String) -> String {
    var out = ""
    for character in text {
      switch character {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      default: out.append(character)
      }
    }
    return out
  }

  /// A coordinate, to a tenth of a unit.
  static func number(_ value: Double) -> String {
    let tenths = (value * 10).rounded() / 10
    return tenths == tenths.rounded() ? "\(Int(tenths))" : "\(tenths)"
  }

  mutating func element(_ name: String, _ attributes: KeyValuePairs<String, String>, tooltip: String? = nil) {
    body += "<\(name)" + Self.list(attributes)
    if let tooltip {
      body += "><title>\(Self.escape(tooltip))</title></\(name)>\n"
    } else {
      body += "/>\n"
    }
  }

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, style: String) {
    element(
      "line",
      [
        "class": style, "x1": Self.number(x1), "y1": Self.number(y1), "x2": Self.number(x2),
        "y2": Self.number(y2),
      ])
  }

  /// - Parameter anchor: start, middle or end.
  mutating func text(
    _ text: String, _ x: Double, _ y: Double, anchor: String = "start", style: String, rotated: Bool = false
  ) {
    let place = rotated ? " transform=\"rotate(-90 \(Self.number(x)) \(Self.number(y)))\"" : ""
    body +=
      "<text class=\"\(style)\" x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" text-anchor=\"\(anchor)\"\(place)>"
      + Self.escape(text) + "</text>\n"
  }

  mutating func path(_ points: [(Double, Double)], style: String) {
    let steps = points.enumerated().map { i, p in
      "\(i == 0 ? "M" : "L")\(Self.number(p.0)) \(Self.number(p.1))"
    }
    element("path", ["class": style, "d": steps.joined()])
  }

  /// A point's mark: series differ in shape as well as in colour.
  mutating func mark(_ shape: Int, _ x: Double, _ y: Double, style: String, tooltip: String? = nil) {
    let r = 5.0
    switch shape % 4 {
    case 0:
      element(
        "circle", ["class": style, "cx": Self.number(x), "cy": Self.number(y), "r": "5"], tooltip: tooltip)
    case 1:
      element(
        "rect",
        ["class": style, "x": Self.number(x - 4.5), "y": Self.number(y - 4.5), "width": "9", "height": "9"],
        tooltip: tooltip)
    case 2: polygon([(x, y - r - 1), (x + r + 0.5, y + r - 1), (x - r - 0.5, y + r - 1)], style, tooltip)
    default:
      polygon([(x, y - r - 1.5), (x + r + 1.5, y), (x, y + r + 1.5), (x - r - 1.5, y)], style, tooltip)
    }
  }

  private mutating func polygon(_ points: [(Double, Double)], _ style: String, _ tooltip: String?) {
    let list = points.map { "\(Self.number($0.0)),\(Self.number($0.1))" }.joined(separator: " ")
    element("polygon", ["class": style, "points": list], tooltip: tooltip)
  }

  private static func list(_ attributes: KeyValuePairs<String, String>) -> String {
    attributes.map { " \($0.key)=\"\(escape($0.value))\"" }.joined()
  }

  /// The finished graphic.
  func document(id: String, width: Double, height: Double, title: String, description: String) -> String {
    """
    <svg id="\(id)" viewBox="0 0 \(Self.number(width)) \(Self.number(height))" role="img" \
    aria-labelledby="\(id)-title \(id)-desc">
    <title id="\(id)-title">\(Self.escape(title))</title>
    <desc id="\(id)-desc">\(Self.escape(description))</desc>
    \(body)</svg>
    """
  }
}
