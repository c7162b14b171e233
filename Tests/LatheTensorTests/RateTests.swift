import LatheTensor
import Testing

@Suite struct RateTests {
  @Test("every set reads every byte", arguments: [0, 1, 63, 511, 512, 513, 4096 + 77], [false, true])
  func stream(count: Int, isFetched: Bool) {
    var bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 131 + $0 / 256 * 7 + 5) }
    func expected() -> UInt64 {
      let whole = count / 512 * 512
      var sum: UInt64 = 0
      for i in 0..<whole { sum ^= UInt64(bytes[i]) << (8 * (i % 8)) }
      for i in whole..<count { sum ^= UInt64(bytes[i]) }
      return sum
    }
    for kernels in Kernels.available {
      #expect(
        bytes.withUnsafeBytes {
          kernels.stream($0.baseAddress ?? UnsafeRawPointer(bitPattern: 64)!, count, isFetched: isFetched)
        } == expected())
    }
    if count > 0 {
      bytes[count - 1] ^= 1
      for kernels in Kernels.available {
        #expect(
          bytes.withUnsafeBytes { kernels.stream($0.baseAddress!, count, isFetched: isFetched) } == expected()
        )
      }
    }
  }

  @Test("rates are rates")
  func rates() {
    for kernels in Kernels.available {
      for bits in [4, 8] {
        #expect(kernels.integerPeak(rounds: 3, bits: bits) == 3 * kernels.integerPeak(rounds: 1, bits: bits))
      }
    }
    let team = ThreadTeam(count: 2)
    let stream = StreamMeter(count: 32 << 20, team: team).measure(team: team)
    let rates = ArithmeticRates.measure(team: team)
    for rate in [stream, rates.integer, rates.byte, rates.float] { #expect(rate > 1e8 && rate < 1e15) }
  }
}
