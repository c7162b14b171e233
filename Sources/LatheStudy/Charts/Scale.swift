internal import Foundation

/// Maps the values of an axis to places on the page, evenly or by their logarithms.
struct Scale {
  let isLogarithmic: Bool
  let low, high: Double
  /// The places of `low` and `high`.
  let from, to: Double

  /// A scale around `values`, with room at both ends.
  ///
  /// - Parameter logarithmic: nil takes logarithms where the values span more than a factor of four.
  init(
    around values: [Double], from: Double, to: Double, logarithmic: Bool? = nil, fromZero: Bool = false,
    room: Double = 0.06
  ) {
    let finite = values.filter(\.isFinite)
    let positive = finite.filter { $0 > 0 }
    let spans = (positive.max() ?? 1) / (positive.min() ?? 1) > 4
    isLogarithmic = (logarithmic ?? spans) && !positive.isEmpty
    (self.from, self.to) = (from, to)
    if isLogarithmic {
      let least = log10(positive.min() ?? 1), most = log10(positive.max() ?? 1)
      let margin = max((most - least) * room, 0.04)
      (low, high) = (pow(10, least - margin), pow(10, most + margin))
    } else {
      let least = fromZero ? 0 : finite.min() ?? 0,
        most = max(finite.max() ?? 1, fromZero ? 1e-9 : -.infinity)
      let span = most > least ? most - least : max(abs(most) * 0.2, 1e-6)
      (low, high) = (fromZero ? 0 : least - span * room, most + span * room)
    }
  }

  /// The place of `value`; values off the scale stop at its ends.
  func place(_ value: Double) -> Double {
    let share =
      isLogarithmic
      ? (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low)) : (value - low) / (high - low)
    return from + min(max(share, 0), 1) * (to - from)
  }

  /// Round values along the scale, about `wanted` of them.
  func ticks(_ wanted: Int = 6) -> [Double] {
    if isLogarithmic {
      for mantissas in [[1.0], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]] {
        let ticks = powers(mantissas)
        if ticks.count >= 3 { return thinned(ticks, wanted + 2) }
      }
    }
    let raw = (high - low) / Double(max(wanted, 2))
    let power = pow(10, floor(log10(raw)))
    let step = ([1, 2, 5, 10].first { $0 * power >= raw } ?? 10) * power
    let first = (low / step).rounded(.up), last = (high / step).rounded(.down)
    guard first <= last else { return [] }
    return stride(from: first, through: last, by: 1).map { $0 * step }
  }

  private func powers(_ mantissas: [Double]) -> [Double] {
    let first = Int(floor(log10(low))), last = Int(ceil(log10(high)))
    return (first...max(first, last)).flatMap { exponent in mantissas.map { $0 * pow(10, Double(exponent)) } }
      .filter { $0 >= low && $0 <= high }
  }

  private func thinned(_ ticks: [Double], _ most: Int) -> [Double] {
    let step = (ticks.count + most - 1) / most
    return ticks.enumerated().filter { $0.offset % step == 0 }.map(\.element)
  }
}
