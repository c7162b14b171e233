internal import CLatheKernels

extension Kernels {
  /// Reads `n` bytes as fast as the widest loads go; returns a sum of them.
  ///
  /// - Parameter isFetched: whether lines are called for ahead, as products do, or left to the processor.
  package func stream(_ bytes: UnsafeRawPointer, _ n: Int, isFetched: Bool = false) -> UInt64 {
    table.pointee.stream(bytes.assumingMemoryBound(to: UInt8.self), n, isFetched ? 1 : 0)
  }

  /// Multiplies bytes by codes of `bits` bits and adds them up as fast as can be; returns the number of products.
  package func integerPeak(rounds: Int, bits: Int) -> Int {
    var sink: Int32 = 0
    return table.pointee.integer_peak(rounds, UInt32(bits), &sink)
  }
}

/// How fast memory is read: a buffer larger than the caches on large pages, all threads, the widest loads.
///
/// Rates of shared machines drift within minutes; a meter is asked again beside every figure.
public final class StreamMeter {
  private static let piece = 4 << 20
  private let memory: LargeMemory
  private let count: Int

  /// A meter over `count` bytes, touched first by the threads that will read them.
  public init(count: Int = 512 << 20, team: ThreadTeam) {
    self.count = max(Self.piece, count / Self.piece * Self.piece)
    guard let memory = LargeMemory(self.count) else {
      preconditionFailure("no memory for \(self.count) bytes")
    }
    self.memory = memory
    nonisolated(unsafe) let base = memory.base
    team.run(self.count / Self.piece) { piece in
      (base + piece * Self.piece).initializeMemory(
        as: UInt8.self, repeating: UInt8(truncatingIfNeeded: piece), count: Self.piece)
    }
  }

  /// Reads the buffer twice, with lines called for ahead and without; the better rate in bytes a second.
  ///
  /// Where memory answers slowly the first reads up to a tenth faster, where it is quick the second: neither alone tells what could be reached.
  public func measure(team: ThreadTeam) -> Double {
    nonisolated(unsafe) let base = memory.base
    let times = [true, false].map { isFetched in
      ContinuousClock().measure {
        team.run(count / Self.piece) { piece in
          _ = Kernels.best.stream(base + piece * Self.piece, Self.piece, isFetched: isFetched)
        }
      }
    }
    return Double(count) / (times.min()! / .seconds(1))
  }
}

/// What arithmetic a machine gives, in operations a second; a product and a sum count as two.
public struct ArithmeticRates: Hashable, Sendable {
  /// Products of bytes by codes of few bits, summed in 32 bits.
  public var integer: Double
  /// Products of bytes by whole bytes: slower where processors add neighbouring products to 16 bits.
  public var byte: Double
  /// Products of single-precision matrices that lie in the caches.
  public var float: Double

  /// Measures all for some tenths of a second, with all threads of `team`.
  public static func measure(team: ThreadTeam) -> ArithmeticRates {
    // The best of several: what other programs take is none of the machine's.
    var rates = ArithmeticRates(integer: 0, byte: 0, float: 0)
    for _ in 0..<5 {
      rates.integer = max(rates.integer, integerRate(bits: 4, team: team))
      rates.byte = max(rates.byte, integerRate(bits: 8, team: team))
      rates.float = max(rates.float, floatRate(team: team))
    }
    return rates
  }

  private static func integerRate(bits: Int, team: ThreadTeam) -> Double {
    // As many products whatever a round holds.
    let rounds = (24 << 20) / Kernels.best.integerPeak(rounds: 1, bits: bits)
    let products = Kernels.best.integerPeak(rounds: 1, bits: bits) * rounds
    let time = ContinuousClock().measure {
      team.run(8 * team.count) { _ in _ = Kernels.best.integerPeak(rounds: rounds, bits: bits) }
    }
    return Double(2 * products * 8 * team.count) / (time / .seconds(1))
  }

  private static func floatRate(team: ThreadTeam) -> Double {
    let n = 192, repeats = 8
    let a = FloatBuffer(copying: [Float](repeating: 0.5, count: n * n))
    let out = (0..<team.count).map { _ in FloatBuffer(n * n) }
    let time = ContinuousClock().measure {
      team.run(team.count) { thread in
        for _ in 0..<repeats {
          BLAS.multiplyTransposed(
            a.pointer, stride: n, a.pointer, stride: n, into: out[thread].pointer, stride: n, m: n, n: n, k: n
          )
        }
      }
    }
    return Double(2 * n * n * n * repeats * team.count) / (time / .seconds(1))
  }
}
