/// Points and lines between two axes: what most charts are.
struct Plot {
  /// A point, where it lies, and what it says when pointed at.
  struct Point {
    var x, y: Double
    /// The standard error of `y`.
    var error: Double?
    /// A few characters beside the point.
    var label: String?
    var tooltip: String
  }

  /// Points of one kind, in one colour and shape.
  struct Series {
    var name: String
    /// The number of its colour and shape.
    var style: Int
    var points: [Point]
    var isJoined = true
  }

  var title, summary: String
  var xTitle, yTitle: String
  var series: [Series]
  /// The original's value, drawn across.
  var reference: (value: Double, label: String)?
  /// A further line through some of the points, in order.
  var front: [(x: Double, y: Double)] = []
  var frontName = ""
  var xLogarithmic: Bool? = false
  var yLogarithmic: Bool?
  var yFromZero = false

  private static let width = 560.0, height = 372.0
  private static let left = 66.0, right = 18.0, bottom = 50.0
  /// The width of a character of the chart's type, about.
  private static let character = 6.7, boldCharacter = 7.7

  /// The graphic.
  func svg(id: String) -> String {
    var svg = SVG()
    let top = legend(&svg)
    let points = series.flatMap(\.points)
    let x = Scale(
      around: points.map(\.x), from: Self.left, to: Self.width - Self.right, logarithmic: xLogarithmic)
    let y = Scale(
      around: Self.extents(points) + (reference.map { [$0.value] } ?? []), from: Self.height - Self.bottom,
      to: top,
      logarithmic: yLogarithmic, fromZero: yFromZero)
    axes(&svg, x, y, top)
    if let reference { drawReference(&svg, reference, y) }
    drawFront(&svg, x, y)
    for series in series { draw(series, &svg, x, y) }
    label(&svg, x, y, top)
    return svg.document(id: id, width: Self.width, height: Self.height, title: title, description: summary)
  }

  /// The values an axis must reach: those of the points, and the ends of their errors where these can be drawn.
  private static func extents(_ points: [Point]) -> [Double] {
    points.flatMap { point in
      [point.y] + (point.error.map { [point.y + $0, point.y - $0].filter { $0 > 0 } } ?? [])
    }
  }

  /// Draws the names of the series, and returns where the plot begins beneath them.
  private func legend(_ svg: inout SVG) -> Double {
    var x = Self.left, y = 16.0
    var entries = series.map { (name: $0.name, style: $0.style) }
    if !front.isEmpty { entries.append((frontName, -1)) }
    for entry in entries {
      let width = 24 + Double(entry.name.count) * Self.boldCharacter + 22
      if x > Self.left, x + width > Self.width - 8 { (x, y) = (Self.left, y + 20) }
      if entry.style < 0 {
        svg.line(x, y, x + 16, y, style: "front")
      } else {
        svg.mark(entry.style, x + 8, y, style: "point s\(entry.style % 8)")
      }
      svg.text(entry.name, x + 24, y + 4, style: "legend")
      x += width
    }
    return y + 22
  }

  private func axes(_ svg: inout SVG, _ x: Scale, _ y: Scale, _ top: Double) {
    let floor = Self.height - Self.bottom
    for tick in y.ticks() {
      let at = y.place(tick)
      svg.line(Self.left, at, Self.width - Self.right, at, style: "grid")
      svg.text(Figures.tick(tick), Self.left - 8, at + 4, anchor: "end", style: "tick")
    }
    for tick in x.ticks(8) {
      let at = x.place(tick)
      svg.line(at, floor, at, floor + 5, style: "axis")
      svg.text(Figures.tick(tick), at, floor + 19, anchor: "middle", style: "tick")
    }
    svg.line(Self.left, floor, Self.width - Self.right, floor, style: "axis")
    svg.text(
      xTitle + (x.isLogarithmic ? " (log scale)" : ""), (Self.left + Self.width - Self.right) / 2,
      Self.height - 10,
      anchor: "middle", style: "title")
    svg.text(
      yTitle + (y.isLogarithmic ? " (log scale)" : ""), 14, (top + floor) / 2, anchor: "middle",
      style: "title",
      rotated: true)
  }

  private func drawReference(_ svg: inout SVG, _ reference: (value: Double, label: String), _ y: Scale) {
    let at = y.place(reference.value)
    svg.line(Self.left, at, Self.width - Self.right, at, style: "reference")
  }

  private func drawFront(_ svg: inout SVG, _ x: Scale, _ y: Scale) {
    guard front.count > 1 else { return }
    svg.path(front.map { (x.place($0.x), y.place($0.y)) }, style: "front")
  }

  private func draw(_ series: Series, _ svg: inout SVG, _ x: Scale, _ y: Scale) {
    let points = series.points.sorted { $0.x < $1.x }
    let style = "s\(series.style % 8)"
    if series.isJoined, points.count > 1 {
      svg.path(points.map { (x.place($0.x), y.place($0.y)) }, style: "line \(style)")
    }
    for point in points {
      let (px, py) = (x.place(point.x), y.place(point.y))
      if let error = point.error, error > 0 {
        let (high, low) = (y.place(point.y + error), y.place(point.y - error))
        if low - high > 3 { svg.line(px, low, px, high, style: "error \(style)") }
      }
      svg.mark(series.style, px, py, style: "point \(style)", tooltip: point.tooltip)
    }
  }

  /// Writes labels where they cover neither a point nor each other.
  private func label(_ svg: inout SVG, _ x: Scale, _ y: Scale, _ top: Double) {
    var placer = LabelPlacer(
      left: Self.left, right: Self.width - Self.right, top: top - 6, bottom: Self.height - Self.bottom)
    for point in series.flatMap(\.points) {
      let (px, py) = (x.place(point.x), y.place(point.y))
      placer.occupy(px, py, radius: 6)
      if let error = point.error {
        placer.occupy(px - 1, y.place(point.y + error), px + 1, y.place(point.y - error))
      }
    }
    for series in series where series.isJoined {
      let places = series.points.sorted { $0.x < $1.x }.map { (x.place($0.x), y.place($0.y)) }
      for (begin, end) in zip(places, places.dropFirst()) { placer.occupyLine(begin, end) }
    }
    if let reference {
      let width = Double(reference.label.count) * Self.character
      let at = y.place(reference.value)
      let room = Self.width - Self.right - Self.left - width - 6
      let spots = [1, 0, 0.75, 0.6, 0.45, 0.3, 0.15].flatMap { share in
        [at - 6, at + 15].map { (Self.left + 6 + share * room, $0) }
      }
      if let spot = placer.place(width: width, spots) {
        svg.text(reference.label, spot.0, spot.1, style: "note")
      }
    }
    for point in series.flatMap(\.points) {
      guard let text = point.label else { continue }
      let width = Double(text.count) * Self.character
      let (px, py) = (x.place(point.x), y.place(point.y))
      let spots = [
        (px + 10, py + 4), (px + 8, py - 8), (px - width / 2, py - 11), (px - width - 10, py + 4),
        (px - width / 2, py + 20), (px + 8, py + 17), (px - width - 6, py - 8), (px - width - 6, py + 17),
      ]
      if let spot = placer.place(width: width, spots) { svg.text(text, spot.0, spot.1, style: "label") }
    }
  }
}

/// Finds room for labels.
struct LabelPlacer {
  let left, right, top, bottom: Double
  private var taken: [(x1: Double, y1: Double, x2: Double, y2: Double)] = []

  init(left: Double, right: Double, top: Double, bottom: Double) {
    (self.left, self.right, self.top, self.bottom) = (left, right, top, bottom)
  }

  mutating func occupy(_ x: Double, _ y: Double, radius: Double) {
    occupy(x - radius, y - radius, x + radius, y + radius)
  }

  mutating func occupy(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) {
    taken.append((x1, y1, x2, y2))
  }

  mutating func occupyLine(_ begin: (Double, Double), _ end: (Double, Double)) {
    for step in 0...24 {
      let share = Double(step) / 24
      occupy(begin.0 + share * (end.0 - begin.0), begin.1 + share * (end.1 - begin.1), radius: 1)
    }
  }

  /// The first of `spots` (where a text's baseline begins) with room for a text of `width`, which is then taken.
  mutating func place(width: Double, _ spots: [(Double, Double)]) -> (Double, Double)? {
    for spot in spots {
      let box = (x1: spot.0 - 1, y1: spot.1 - 11, x2: spot.0 + width + 1, y2: spot.1 + 3)
      guard box.x1 >= left, box.x2 <= right + 4, box.y1 >= top, box.y2 <= bottom else { continue }
      if taken.contains(where: { $0.x1 < box.x2 && box.x1 < $0.x2 && $0.y1 < box.y2 && box.y1 < $0.y2 }) {
        continue
      }
      taken.append(box)
      return spot
    }
    return nil
  }
}
