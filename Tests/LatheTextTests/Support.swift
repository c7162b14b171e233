import Foundation
import LatheTensor
import LatheTestSupport
import LatheText

/// The content of a committed fixture in JSON.
func fixture<T: Decodable>(_ name: String, as type: T.Type = T.self) throws -> T {
  try JSONDecoder().decode(
    T.self, from: Data(contentsOf: URL(fileURLWithPath: TestData.fixture("text/" + name))))
}

/// The FNV-1a digest of ids as little-endian 32-bit numbers.
func digest(_ ids: [Int32]) -> String {
  var value: UInt64 = 0xCBF2_9CE4_8422_2325
  for id in ids {
    for shift in [0, 8, 16, 24] {
      value = (value ^ UInt64(UInt8(truncatingIfNeeded: id >> shift))) &* 0x100_0000_01B3
    }
  }
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

/// A generator that gives the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}

/// The path of the small model that the project carries.
let novella = TestData.packageFolder + "/Models/novella-6m"
