internal import CLatheKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The kernels of one instruction set.
///
/// All methods work on memory the caller owns, and trust the caller for its extent.
public struct Kernels: @unchecked Sendable {
  // A table of function pointers that is never written.
  let table: UnsafePointer<LatheKernels>

  private init(_ table: UnsafePointer<LatheKernels>) { self.table = table }

  /// The plain C kernels: what every other set is tested against.
  public static let scalar = Kernels(lathe_kernels_scalar())

  /// Every set this machine can run, slowest first.
  public static let available: [Kernels] =
    [.scalar]
    + [lathe_kernels_neon(), lathe_kernels_i8mm(), lathe_kernels_avx2(), lathe_kernels_avx512()]
    .compactMap { $0.map(Kernels.init) }

  /// The set this machine can run that is called `name`; "avx512" means "avx512vnni".
  public static func named(_ name: String) -> Kernels? {
    available.first { $0.name == (name == "avx512" ? "avx512vnni" : name) }
  }

  /// The fastest set this machine can run, or the one the environment variable `LATHE_KERNELS` names.
  public static let best: Kernels = wanted.flatMap(named) ?? available[available.count - 1]

  private static var wanted: String? { getenv("LATHE_KERNELS").map { String(cString: $0) } }

  /// Throws where `LATHE_KERNELS` names no set that this machine can run; `best` is then the fastest.
  ///
  /// - Throws: `Problem` of kind `usage` with the names there are.
  public static func checkEnvironment() throws(Problem) {
    guard let wanted, named(wanted) == nil else { return }
    throw Problem(
      .usage, "LATHE_KERNELS is \"\(wanted)\"",
      cure: "known here are \(available.map(\.name).joined(separator: ", "))")
  }

  /// The name of the instruction set.
  public var name: String { String(cString: table.pointee.name) }
}

extension Kernels {
  /// The inner product of two vectors.
  package func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ n: Int) -> Float {
    table.pointee.dot(a, b, n)
  }

  /// Adds `b` to `a`.
  package func add(_ b: UnsafePointer<Float>, to a: UnsafeMutablePointer<Float>, _ n: Int) {
    table.pointee.add(a, b, n)
  }

  /// Unpacks `n` codes of `width` bits, least significant bit first, to bytes.
  package func unpack(
    _ packed: UnsafePointer<UInt8>, width: Int, into codes: UnsafeMutablePointer<UInt8>, _ n: Int
  ) {
    table.pointee.unpack(packed, UInt32(width), codes, n)
  }

  /// Normalizes `n` values by their root mean square and scales them by `weight`.
  package func rmsNorm(
    _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float,
    into out: UnsafeMutablePointer<Float>,
    _ n: Int
  ) {
    table.pointee.rms_norm(x, weight, epsilon, out, n)
  }

  /// Rotates `heads` vectors of `dimension` in place.
  package func rotate(
    _ x: UnsafeMutablePointer<Float>, cosine: UnsafePointer<Float>, sine: UnsafePointer<Float>, heads: Int,
    dimension: Int, interleaved: Bool
  ) {
    table.pointee.rope(x, cosine, sine, heads, dimension, interleaved ? 1 : 0)
  }

  /// Replaces `gate` by `silu(gate) · up`.
  package func siluMultiply(_ gate: UnsafeMutablePointer<Float>, by up: UnsafePointer<Float>, _ n: Int) {
    table.pointee.silu_multiply(gate, up, n)
  }

  /// The logarithm of the sum of exponentials.
  package func logSumExp(_ x: UnsafePointer<Float>, _ n: Int) -> Float { table.pointee.log_sum_exp(x, n) }

  /// The Kullback-Leibler divergence in nats of softmax(q) from softmax(p).
  package func divergence(
    _ p: UnsafePointer<Float>, logSum logSumP: Float, from q: UnsafePointer<Float>, logSum logSumQ: Float,
    _ n: Int
  ) -> Float {
    table.pointee.divergence(p, logSumP, q, logSumQ, n)
  }

  /// The index of the largest element.
  package func argmax(_ x: UnsafePointer<Float>, _ n: Int) -> Int { table.pointee.argmax(x, n) }

  /// Rounds a column of `n` weights to integer codes, each row under its own scale and zero point.
  package func roundColumn(
    _ w: UnsafePointer<Float>, scale: UnsafePointer<Float>, zero: UnsafePointer<Float>, top: Int,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>, _ n: Int
  ) {
    table.pointee.round_column(w, scale, zero, Float(top), codes, points, n)
  }
}

// MARK: - Stored rows

/// How the elements of a row lie in memory: plain floats, or blocks that share scales.
public struct StoredLayout: Hashable, Sendable {
  /// The name files use: "F32", "BF16", "Q4_0", …
  public let name: String
  /// The number of elements in a block.
  public let elementsPerBlock: Int
  /// The number of bytes in a block.
  public let bytesPerBlock: Int
  let index: Int

  /// Every layout there are kernels for.
  public static let all: [StoredLayout] = {
    var layouts: [StoredLayout] = []
    while let type = lathe_stored_type(layouts.count) {
      layouts.append(
        StoredLayout(
          name: String(cString: type.pointee.name), elementsPerBlock: type.pointee.elements,
          bytesPerBlock: type.pointee.bytes, index: layouts.count))
    }
    return layouts
  }()

  /// The layout called `name`, if there is one.
  public static func named(_ name: String) -> StoredLayout? { all.first { $0.name == name } }

  /// The bytes a row of `columns` elements takes, or nil where the blocks do not fill it.
  public func bytes(perRow columns: Int) -> Int? {
    columns % elementsPerBlock == 0 ? columns / elementsPerBlock * bytesPerBlock : nil
  }
}

extension Kernels {
  /// Decodes a stored row of `n` elements.
  package func decode(
    _ layout: StoredLayout, _ row: UnsafePointer<UInt8>, into out: UnsafeMutablePointer<Float>, _ n: Int
  ) {
    withUnsafeBytes(of: table.pointee.decode) {
      $0.assumingMemoryBound(to: type(of: table.pointee.decode.0).self)[layout.index](row, out, n)
    }
  }

  /// The inner products of `rows` stored rows of `n` elements, `stride` bytes apart, and a vector.
  package func multiply(
    _ layout: StoredLayout, _ first: UnsafePointer<UInt8>, stride: Int, rows: Int, by x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>, _ n: Int
  ) {
    lathe_multiply_stored(table, layout.index, first, stride, rows, x, out, n)
  }
}

// MARK: - Integer and ternary rows

/// Rows of integer codes, as kernels see them.
package struct IntegerRows {
  fileprivate var first: LatheIntegerRow

  /// Rows whose pointers are the first one's; `codeStride` and `zeroStride` are in bytes.
  package init(
    codes: UnsafePointer<UInt8>, codeStride: Int, scales: UnsafePointer<UInt16>, scaleStride: Int,
    zeros: UnsafePointer<UInt8>?, zeroStride: Int, halfZeros: UnsafePointer<UInt16>? = nil,
    groupOfColumn: UnsafePointer<UInt16>?, zero: Float,
    bits: Int,
    group: Int, columns: Int
  ) {
    first = LatheIntegerRow(
      codes: codes, scales: scales, zeros: zeros, half_zeros: halfZeros, group_of_column: groupOfColumn,
      zero: zero,
      bits: UInt32(bits),
      group: group, n: columns, code_stride: codeStride, scale_stride: scaleStride, zero_stride: zeroStride)
  }
}

extension Kernels {
  /// Decodes `count` rows, one after another.
  package func decode(_ rows: IntegerRows, count: Int, into out: UnsafeMutablePointer<Float>) {
    withUnsafePointer(to: rows.first) { lathe_decode_integer(table, $0, count, out) }
  }

  /// The inner products of `count` rows and a vector.
  package func multiply(
    _ rows: IntegerRows, count: Int, by x: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: rows.first) { lathe_multiply_integer(table, $0, count, x, out) }
  }

  /// Rounds a vector to whole numbers of at most `top`; a scale of 0 is found from the largest magnitude.
  ///
  /// - Returns: the scale.
  package func quantizeVector(
    _ x: UnsafePointer<Float>, top: Float, scale: Float, into codes: UnsafeMutablePointer<Int8>, _ n: Int
  ) -> Float {
    table.pointee.quantize_vector(x, top, scale, codes, n)
  }

  package func decodeTernary(
    _ codes: UnsafePointer<UInt8>, scales: UnsafePointer<UInt16>, group: Int,
    into out: UnsafeMutablePointer<Float>,
    _ n: Int
  ) {
    table.pointee.decode_ternary(codes, scales, group, out, n)
  }
}

extension Kernels {
  /// e to the power of `x`, by the system's mathematics library.
  package static func exponential(_ x: Float) -> Float { expf(x) }

  /// `x` to the power of `y`, by the system's mathematics library.
  package static func power(_ x: Float, _ y: Float) -> Float { powf(x, y) }

  /// The natural logarithm of `x`.
  package static func logarithm(_ x: Float) -> Float { logf(x) }
}
