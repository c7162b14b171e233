import Foundation
import LatheModel
import LatheTensor
import Testing

/// Bases that a seed describes.
@Suite struct RotationTests {
  static func numbers(_ count: Int) -> [Float] {
    var random = SeededGenerator(seed: 5)
    return (0..<count).map { _ in Float(Int64(bitPattern: random.next() >> 40)) / Float(1 << 24) - 0.5 }
  }

  @Test(
    "lengths are kept, and turning back gives what there was",
    arguments: [Rotation.Kind.hadamard, .kronecker],
    [1, 2, 3, 12, 64, 96, 256, 688, 768])
  func orthogonal(kind: Rotation.Kind, size: Int) {
    let rotation = Rotation(kind, size: size, seed: 3)
    let x = Self.numbers(3 * size)
    var y = x
    rotation.apply(to: &y, count: 3)
    for v in 0..<3 {
      let before = x[v * size..<(v + 1) * size].reduce(0) { $0 + $1 * $1 }
      let after = y[v * size..<(v + 1) * size].reduce(0) { $0 + $1 * $1 }
      #expect(abs(before - after) < 1e-4 * (before + 1))
    }
    if size > 2 { #expect(zip(x, y).contains { abs($0 - $1) > 1e-3 }) }
    rotation.invert(&y, count: 3)
    #expect(zip(x, y).allSatisfy { abs($0 - $1) < 1e-5 })
  }

  @Test("inner products survive: a turned weight meets a turned input")
  func products() {
    for kind in [Rotation.Kind.hadamard, .kronecker] {
      let rotation = Rotation(kind, size: 48, seed: 9)
      let w = Matrix(rows: 4, columns: 48, values: Self.numbers(4 * 48))
      var x = Array(Self.numbers(96).suffix(48))
      let expected = (0..<4).map { r in (0..<48).reduce(Float(0)) { $0 + w[r, $1] * x[$1] } }
      rotation.apply(to: &x, count: 1)
      let turned = w.rotatingRows(by: rotation)
      for r in 0..<4 {
        #expect(abs((0..<48).reduce(Float(0)) { $0 + turned[r, $1] * x[$1] } - expected[r]) < 1e-4)
      }
      let columns = w.transposed().rotatingColumns(by: rotation).transposed()
      #expect(columns == turned)
    }
  }

  @Test("a seed means one basis, in every file that names it")
  func golden() throws {
    var x = [Float](repeating: 0, count: 12)
    x[0] = 1
    var y = x
    Rotation(.hadamard, size: 12, seed: 1).apply(to: &x, count: 1)
    Rotation(.kronecker, size: 12, seed: 1).apply(to: &y, count: 1)
    #expect(x.map { ($0 * 1e4).rounded() } == Self.goldenHadamard)
    #expect(y.map { ($0 * 1e4).rounded() } == Self.goldenKronecker)
    let rotation = Rotation(.kronecker, size: 12, seed: UInt64.max)
    let copy = try JSONDecoder().decode(Rotation.self, from: JSONEncoder().encode(rotation))
    #expect(copy == rotation)
  }

  static let goldenHadamard: [Float] = [
    1854, -3850, -2596, 1854, -3850, -2596, 1854, -3850, -2596, 1854, -3850, -2596,
  ]
  static let goldenKronecker: [Float] = [
    -6870, 3673, 3484, 1847, 3821, -2043, -1938, -1027, -328, 175, 166, 88,
  ]

  @Test(
    "a size whose factors are too large is refused before anything is made",
    arguments: [-1, 0, 1_048_573, 1 << 30])
  func hostileSizes(size: Int) {
    let text = "{\"kind\":\"kronecker\",\"size\":\(size),\"seed\":1}"
    #expect(throws: (any Error).self) { try JSONDecoder().decode(Rotation.self, from: Data(text.utf8)) }
  }
}
