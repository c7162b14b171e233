import Foundation
import LatheTensor
import Testing

/// Every kernel of every instruction set against the plain C one, on lengths that leave remainders.
@Suite struct KernelTests {
  static let sets = Kernels.available.map(\.name)

  static func set(_ name: String) throws -> Kernels {
    try #require(Kernels.available.first { $0.name == name })
  }

  /// Numbers that look random and are the same every time.
  static func numbers(_ count: Int, _ seed: UInt64 = 1, scale: Float = 1) -> [Float] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (Float(state >> 40) / Float(1 << 24) - 0.5) * 2 * scale
    }
  }

  static func bytes(_ count: Int, _ seed: UInt64 = 1) -> [UInt8] {
    numbers(count, seed).map { UInt8(($0 + 1) * 127) }
  }

  @Test("the environment chooses the set; what it cannot name leaves the fastest")
  func environment() {
    let wanted = ProcessInfo.processInfo.environment["LATHE_KERNELS"]
    #expect(Kernels.best.name == wanted.flatMap { Kernels.named($0) }?.name ?? Self.sets.last)
    #expect(Kernels.named("foo") == nil && Kernels.named("scalar") != nil)
    #expect(Kernels.named("avx512")?.name == Kernels.named("avx512vnni")?.name)
  }

  @Test("inner products agree with the plain kernel", arguments: sets, [1, 7, 64, 133, 1000])
  func dot(name: String, n: Int) throws {
    let a = Self.numbers(n, 1), b = Self.numbers(n, 2)
    let fast = try Self.set(name).dot(a, b, n), slow = Kernels.scalar.dot(a, b, n)
    #expect(abs(fast - slow) < 1e-4)
  }

  @Test(
    "stored rows decode to the same bits, and multiply alike", arguments: sets, StoredLayout.all.map(\.name))
  func stored(name: String, layoutName: String) throws {
    let layout = try #require(StoredLayout.named(layoutName)), kernels = try Self.set(name)
    let n = layout.elementsPerBlock == 1 ? 517 : 3 * layout.elementsPerBlock
    var row = Self.bytes(n / layout.elementsPerBlock * layout.bytesPerBlock, 3)
    // Random exponents make infinities of floats: keep them small.
    for i in row.indices where i % 2 == 1 { row[i] &= 0x3F }
    var fast = [Float](repeating: 0, count: n), slow = fast
    kernels.decode(layout, row, into: &fast, n)
    Kernels.scalar.decode(layout, row, into: &slow, n)
    for (a, b) in zip(fast, slow) where a.isFinite && b.isFinite {
      #expect(abs(a - b) <= 1e-6 * max(abs(a), abs(b)))
    }
    let x = Self.numbers(n, 4)
    let finite = slow.allSatisfy { $0.isFinite && abs($0) < 1e6 }
    if finite {
      let scale = zip(slow, x).reduce(Float(1)) { $0 + abs($1.0 * $1.1) }
      var product: Float = 0
      kernels.multiply(layout, row, stride: row.count, rows: 1, by: x, into: &product, n)
      #expect(abs(product - Kernels.scalar.dot(slow, x, n)) < 1e-5 * scale)
    }
  }

  @Test("codes of every width unpack, and nothing beyond the last is read", arguments: sets, 1...8)
  func unpack(name: String, width: Int) throws {
    for n in [1, 5, 8, 63, 64, 65, 200, 256] {
      // A page's end behind the last byte would be best; an exact copy lets the address sanitizer see as much.
      let packed = Self.bytes((n * width + 7) / 8, UInt64(n))
      var codes = [UInt8](repeating: 255, count: n + 1)
      try Self.set(name).unpack(packed, width: width, into: &codes, n)
      for i in 0..<n {
        var expected = 0
        for bit in 0..<width {
          let at = i * width + bit
          expected |= Int(packed[at / 8] >> UInt8(at % 8) & 1) << bit
        }
        #expect(Int(codes[i]) == expected)
      }
      #expect(codes[n] == 255)
    }
  }

  @Test(
    "integer rows decode and multiply alike, with zero points, odd groups and scattered groups",
    arguments: sets, 1...8)
  func integerRows(name: String, bits: Int) throws {
    let kernels = try Self.set(name)
    for (n, group) in [(96, 32), (300, 100), (513, 513), (768, 128)] {
      let groups = (n + group - 1) / group
      let codes = Self.bytes((n * bits + 7) / 8), zeros = Self.bytes((groups * bits + 7) / 8, 9)
      let scales = Self.numbers(groups, 5).map { HalfPrecision.bits($0) }
      let scattered = (0..<n).map { UInt16(($0 * 7) % groups) }
      for index in [nil, scattered] {
        codes.withUnsafeBufferPointer { codes in
          scales.withUnsafeBufferPointer { scales in
            zeros.withUnsafeBufferPointer { zeros in
              (index ?? []).withUnsafeBufferPointer { places in
                let row = IntegerRows(
                  codes: codes.baseAddress!, codeStride: 0, scales: scales.baseAddress!, scaleStride: 0,
                  zeros: zeros.baseAddress, zeroStride: 0,
                  groupOfColumn: index == nil ? nil : places.baseAddress,
                  zero: 0, bits: bits, group: group, columns: n)
                var fast = [Float](repeating: 0, count: n), slow = fast
                kernels.decode(row, count: 1, into: &fast)
                Kernels.scalar.decode(row, count: 1, into: &slow)
                #expect(fast == slow)
                let x = Self.numbers(n, 6)
                var product: Float = 0
                kernels.multiply(row, count: 1, by: x, into: &product)
                let size = zip(slow, x).reduce(Float(1)) { $0 + abs($1.0 * $1.1) }
                #expect(abs(product - Kernels.scalar.dot(slow, x, n)) < 1e-5 * size)
              }
            }
          }
        }
      }
    }
  }

  @Test("vectors round to the same codes", arguments: sets)
  func codes(name: String) throws {
    let kernels = try Self.set(name)
    for n in [96, 300, 513] {
      let x = Self.numbers(n, 6)
      for (top, scale) in [(Float(127), Float(0)), (7, 0), (31, 0.01)] {
        var fast = [Int8](repeating: 0, count: n), plain = fast
        let step = kernels.quantizeVector(x, top: top, scale: scale, into: &fast, n)
        #expect(Kernels.scalar.quantizeVector(x, top: top, scale: scale, into: &plain, n) == step)
        #expect(fast == plain && fast.allSatisfy { abs(Float($0)) <= top })
      }
    }
  }

  @Test("norm, rotation and activation agree with the plain kernels", arguments: sets)
  func decoderParts(name: String) throws {
    let kernels = try Self.set(name), n = 259
    let x = Self.numbers(n, 1, scale: 4), w = Self.numbers(n, 2)
    var fast = [Float](repeating: 0, count: n), slow = fast
    kernels.rmsNorm(x, weight: w, epsilon: 1e-5, into: &fast, n)
    Kernels.scalar.rmsNorm(x, weight: w, epsilon: 1e-5, into: &slow, n)
    #expect(close(fast, slow))
    (fast, slow) = (x, x)
    kernels.siluMultiply(&fast, by: w, n)
    Kernels.scalar.siluMultiply(&slow, by: w, n)
    #expect(close(fast, slow))
    for interleaved in [false, true] {
      var a = Self.numbers(3 * 34, 7), b = a
      let cosine = Self.numbers(17, 8), sine = Self.numbers(17, 9)
      kernels.rotate(&a, cosine: cosine, sine: sine, heads: 3, dimension: 34, interleaved: interleaved)
      Kernels.scalar.rotate(&b, cosine: cosine, sine: sine, heads: 3, dimension: 34, interleaved: interleaved)
      #expect(close(a, b))
    }
  }

  @Test("softmax and divergence agree with the plain kernels", arguments: sets)
  func probabilities(name: String) throws {
    let kernels = try Self.set(name), n = 1003
    let p = Self.numbers(n, 1, scale: 20), q = Self.numbers(n, 2, scale: 20)
    let exact = p.reduce(0.0) { $0 + exponential(Double($1) - 20) }
    let sum = kernels.logSumExp(p, n)
    #expect(abs(Double(sum) - (20 + logarithm(exact))) < 1e-4)
    let other = kernels.logSumExp(q, n)
    #expect(
      abs(
        kernels.divergence(p, logSum: sum, from: q, logSum: other, n)
          - Kernels.scalar.divergence(p, logSum: sum, from: q, logSum: other, n)) < 1e-3)
    #expect(abs(kernels.divergence(p, logSum: sum, from: p, logSum: sum, n)) < 1e-6)
    #expect(kernels.argmax(p, n) == Kernels.scalar.argmax(p, n))
  }

  @Test("a column rounds to the same codes", arguments: sets)
  func rounding(name: String) throws {
    let n = 301, w = Self.numbers(n, 1), zero = Self.numbers(n, 2).map { (abs($0) * 7).rounded() }
    let scale = Self.numbers(n, 3).map { abs($0) / 7 + 0.01 }
    var fast = [UInt8](repeating: 0, count: n), slow = fast
    var points = [Float](repeating: 0, count: n), exact = points
    try Self.set(name).roundColumn(w, scale: scale, zero: zero, top: 7, codes: &fast, points: &points, n)
    Kernels.scalar.roundColumn(w, scale: scale, zero: zero, top: 7, codes: &slow, points: &exact, n)
    #expect(fast == slow)
    #expect(points == exact)
  }

  private func close(_ a: [Float], _ b: [Float]) -> Bool {
    zip(a, b).allSatisfy { abs($0 - $1) <= 2e-5 * max(1, abs($1)) }
  }
}
