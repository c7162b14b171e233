public import LatheTensor

/// An encoding whose codes stand for points that a method can search among.
///
/// A method sees only this: it can be combined with every grid without knowing any. All calls are coarse:
/// a column of the weight, for all its rows at once.
public protocol Grid: Encoding {
  /// What the members of a group share, for every row: scales, zero points.
  associatedtype Parameters: GroupParameters
  /// How many neighbours in a row share parameters; nil for the whole row.
  var groupSize: Int? { get }
  /// Whether groups may be scattered over a row, as act-order without static groups leaves them.
  var allowsScatteredGroups: Bool { get }
  /// The grid with groups scattered over a row, each column naming its own.
  var scattered: Self { get }

  /// The names by which a request may ask for grids of this kind.
  static var families: [String] { get }

  /// The grid of this kind that a request means, or nil where it means another kind.
  ///
  /// - Throws: `Problem` of kind `usage` where it means this kind with a setting out of range.
  static func grid(for request: GridRequest) throws(Problem) -> Self?

  /// The largest `shrink` that can be worth trying: 1 where it means the full range.
  var widestShrink: Float { get }

  /// The grid as a weight needs it: with what all of the weight's rows share. To be asked for before rows are handed
  /// to a method a run at a time. Most grids need nothing, and do not look.
  func prepared(for weight: @autoclosure () -> Matrix) -> Self

  /// A run of rows whose parts can be stored apart from other rows' is a multiple of this many.
  func rowMultiple(columns: Int) -> Int

  /// The parameters of one group, for every row, when its range is shrunk to `shrink` of what it is.
  ///
  /// - Parameters:
  ///   - columns: the group's columns, one in each row of the matrix.
  ///   - shrink: 1 for the range the grid would choose without a search.
  ///   - importance: what each of the columns' errors counts for, as many as there are; nil if all alike.
  func fit(_ columns: Matrix, shrink: Float, importance: [Float]?) -> Parameters

  /// The codes nearest to one column, and the points they stand for.
  ///
  /// - Parameters:
  ///   - column: one value for each row of the weight.
  ///   - place: the column's place within its group: a group may hold runs of columns with scales of their own.
  ///   - codes: receives one code for each row.
  ///   - points: receives the values the codes stand for, exactly as decoding will give them.
  func round(
    _ column: UnsafePointer<Float>, at place: Int, count: Int, under parameters: Parameters,
    codes: UnsafeMutablePointer<UInt8>,
    points: UnsafeMutablePointer<Float>)

  /// The grid, or the nearest to it, that can hold rows of `columns`; nil where none can.
  func fitting(columns: Int) -> (any Grid)?

  /// A weight, every row rounded to nearest under parameters fitted with `shrink` 1, where the grid has a way that
  /// is faster than column by column; nil where it has none.
  ///
  /// - Parameters:
  ///   - weight: outputs × inputs.
  ///   - importance: what an error in each column counts for; nil if all alike.
  /// - Throws: `Problem` where the grid cannot hold such a shape.
  func nearest(to weight: Matrix, importance: [Float]?) throws(Problem) -> EncodedMatrix?

  /// Packs codes and parameters.
  ///
  /// - Parameters:
  ///   - codes: one byte each, column after column.
  ///   - parameters: one for each group.
  ///   - groupOfColumn: the group of each column, or nil where groups are runs of neighbours.
  func pack(_ codes: [UInt8], parameters: [Parameters], groupOfColumn: [Int]?, rows: Int, columns: Int)
    throws(Problem) -> EncodedMatrix
}

/// What a command line or a plan says of a grid.
public struct GridRequest: Hashable, Sendable {
  /// The bits of a code; 1.58 for ternary ones.
  public var bits: Double
  /// Neighbours that share a scale; nil for whole rows.
  public var groupSize: Int?
  /// Whether scales come without zero points.
  public var isSymmetric: Bool
  /// Whether the points lie evenly around zero, none of them zero itself.
  public var isCentred: Bool
  /// Whether the codes must be stored as GGUF's blocks.
  public var isForGGUF: Bool
  /// A kind of grid by name, which then says the rest: "q4_k", "nf4".
  public var family: String?

  /// A request of the given settings.
  public init(
    bits: Double, groupSize: Int?, isSymmetric: Bool, isCentred: Bool = false, isForGGUF: Bool = false,
    family: String? = nil
  ) {
    (self.bits, self.groupSize, self.isSymmetric) = (bits, groupSize, isSymmetric)
    (self.isCentred, self.isForGGUF, self.family) = (isCentred, isForGGUF, family)
  }
}

extension EncodingCatalog {
  private static var gridTypes: [any Grid.Type] { all.compactMap { $0 as? any Grid.Type } }

  /// The names a request may ask for grids by.
  public static var families: [String] { gridTypes.flatMap { $0.families } }

  /// The grid that `request` means.
  ///
  /// - Throws: `Problem` of kind `usage` where no grid is meant, or a setting is out of range.
  public static func grid(for request: GridRequest) throws(Problem) -> any Grid {
    if let family = request.family {
      guard let kind = gridTypes.first(where: { $0.families.contains(family) }),
        let grid = try kind.grid(for: request)
      else {
        throw Problem(
          .usage, "unknown encoding \"\(family)\"", cure: "known are \(families.joined(separator: ", "))")
      }
      return grid
    }
    for type in all {
      if let kind = type as? any Grid.Type, let grid = try kind.grid(for: request) { return grid }
    }
    let bits = Int(exactly: request.bits).map(String.init) ?? "\(request.bits)"
    if request.isForGGUF {
      throw Problem(
        .usage, "GGUF has no block type of \(bits) bits that is written",
        cure: "choose 2, 3, 4, 5, 6 or 8 bits, or the native format")
    }
    throw Problem(.usage, "\(bits) bits are out of range", cure: "choose 1 to 8, or 1.58 for ternary")
  }
}

/// The parameters of one group, for every row of a weight.
public protocol GroupParameters: Sendable {
  /// Takes over the parameters of `other` in the rows that `better` marks.
  mutating func adopt(_ other: Self, where better: [Bool])
}

extension Grid {
  public var allowsScatteredGroups: Bool { false }
  public var scattered: Self { self }
  public var widestShrink: Float { 1 }
  public static var families: [String] { [] }
  public func prepared(for weight: @autoclosure () -> Matrix) -> Self { self }
  public func rowMultiple(columns: Int) -> Int { 1 }
  public func nearest(to weight: Matrix, importance: [Float]?) throws(Problem) -> EncodedMatrix? { nil }
  public func fitting(columns: Int) -> (any Grid)? {
    (try? parts(rows: 1, columns: columns)) == nil ? nil : self
  }

  /// The number of groups in a row of `columns`.
  public func groupCount(_ columns: Int) -> Int {
    guard let groupSize else { return 1 }
    // A group wider than the row, however wide, is one group.
    return (columns - 1) / groupSize + 1
  }

  /// The group of column `index` where groups are runs of neighbours.
  public func group(of index: Int) -> Int { groupSize.map { index / $0 } ?? 0 }

  /// The place of column `index` within its group where groups are runs of neighbours.
  public func place(of index: Int) -> Int { groupSize.map { index % $0 } ?? index }
}

/// A grid whose points are evenly spaced: a method may move its scales and zero points.
public protocol AffineGrid: Grid where Parameters == AffineParameters {
  /// The largest code; the smallest is 0.
  var top: Int { get }
  /// The grid with zero points that are any numbers.
  var freeingZeros: Self { get }
}

/// A scale and a zero point for every row: point = (code - zero) · scale.
public struct AffineParameters: GroupParameters {
  /// The distance between neighbouring points, for each row.
  public var scale: [Float]
  /// The code that stands for zero, for each row; not always a whole number.
  public var zero: [Float]

  /// Parameters of the given values.
  public init(scale: [Float], zero: [Float]) { (self.scale, self.zero) = (scale, zero) }

  public mutating func adopt(_ other: AffineParameters, where better: [Bool]) {
    for i in better.indices where better[i] {
      scale[i] = other.scale[i]
      zero[i] = other.zero[i]
    }
  }
}

extension Matrix {
  /// The smallest and the largest value of each row's group, from a matrix with one column of the weight in each row.
  package func extremes() -> (lowest: [Float], highest: [Float]) {
    var lowest = [Float](repeating: .infinity, count: columns)
    var highest = [Float](repeating: -.infinity, count: columns)
    values.withUnsafeBufferPointer { v in
      for i in 0..<rows {
        for j in 0..<columns {
          let x = v[i * columns + j]
          lowest[j] = x < lowest[j] ? x : lowest[j]
          highest[j] = x > highest[j] ? x : highest[j]
        }
      }
    }
    return (lowest, highest)
  }
}

/// A scale as a file will hold it: binary16, never zero, never infinite.
package func storableScale(_ scale: Float) -> Float {
  let sign: Float = scale < 0 ? -1 : 1
  let magnitude = min(max(abs(scale), 0x1p-24), HalfPrecision.largest)
  return sign * HalfPrecision.value(HalfPrecision.bits(magnitude))
}

/// A zero point as a file will hold it: binary16.
package func storableZero(_ zero: Float) -> Float {
  HalfPrecision.value(HalfPrecision.bits(min(max(zero, -HalfPrecision.largest), HalfPrecision.largest)))
}

extension AffineParameters {
  /// The parameters as a file will hold them where zero points are any numbers: both in binary16.
  public var stored: AffineParameters {
    AffineParameters(scale: scale.map(storableScale), zero: zero.map(storableZero))
  }
}
