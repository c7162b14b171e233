public import LatheEncoding
public import LatheTensor

/// Rounds every weight to the nearest point of its group's grid: the baseline, without data.
///
/// `code = clamp(round(w / scale) + zero)`, scale and zero from each group's smallest and largest weight. With `clip`,
/// the range of each group is shrunk to where its squared error is least; with `importance` each input channel's error
/// counts for the mean of its squares on calibration text, where the grid or the search can make use of it.
public struct RoundToNearest: QuantizationMethod {
  public static let card = MethodCard(
    name: "rtn", title: "Round to nearest", paper: "arXiv:2206.01861, section 3.1",
    summary: "Each weight to the nearest point; no data.",
    options: [
      "clip": "search the range of each group for the least squared error (default false)",
      "importance": "weigh errors by the energy of their inputs; needs calibration (default false)",
    ])

  /// Whether each group's range is searched.
  public var clip = false
  /// Whether errors count by the energy of their input channels.
  public var importance = false

  /// Plain rounding over the full range.
  public init() {}

  public var evidence: EvidenceKinds { importance ? [.channelEnergy] : [] }

  public func quantize<G: Grid>(
    _ weight: Matrix, onto grid: G, given evidence: Evidence
  ) throws(Problem) -> EncodedMatrix {
    let weights = try importance ? evidence.importance(of: weight.columns) : nil
    if !clip, let encoded = try grid.nearest(to: weight, importance: weights) { return encoded }
    var columns = weight.transposed()
    let parameters = grid.fitGroups(of: columns, searching: clip, importance: weights)
    let codes = grid.roundToNearest(&columns, under: parameters)
    return try grid.pack(
      codes, parameters: parameters, groupOfColumn: nil, rows: weight.rows, columns: weight.columns)
  }
}
