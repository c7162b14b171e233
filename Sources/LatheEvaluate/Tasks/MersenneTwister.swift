internal import LatheTensor

/// The generator of Python's `random.Random(seed)` (Matsumoto and Nishimura's MT19937), number for number.
///
/// lm-evaluation-harness draws examples and bootstrap samples with it: equal seeds must draw equal ones.
struct MersenneTwister {
  private var state = [UInt32](repeating: 0, count: 624)
  private var at = 624

  /// Seeded as Python seeds with a whole number: by the array of its 32-bit digits.
  init(seed: UInt64) {
    var key = [UInt32(truncatingIfNeeded: seed)]
    if seed >> 32 != 0 { key.append(UInt32(truncatingIfNeeded: seed >> 32)) }
    fill(19_650_218)
    var i = 1, j = 0
    for _ in 0..<max(624, key.count) {
      state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) &* 1_664_525)) &+ key[j] &+ UInt32(j)
      (i, j) = (i + 1, (j + 1) % key.count)
      if i == 624 { (state[0], i) = (state[623], 1) }
    }
    for _ in 0..<623 {
      state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) &* 1_566_083_941)) &- UInt32(i)
      i += 1
      if i == 624 { (state[0], i) = (state[623], 1) }
    }
    state[0] = 0x8000_0000
  }

  private mutating func fill(_ seed: UInt32) {
    state[0] = seed
    for i in 1..<624 { state[i] = 1_812_433_253 &* (state[i - 1] ^ (state[i - 1] >> 30)) &+ UInt32(i) }
  }

  /// The next 32 bits.
  mutating func next() -> UInt32 {
    if at == 624 { twist() }
    var y = state[at]
    at += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C_5680
    y ^= (y << 15) & 0xEFC6_0000
    return y ^ (y >> 18)
  }

  private mutating func twist() {
    state.withUnsafeMutableBufferPointer { state in
      for i in 0..<624 {
        let y = (state[i] & 0x8000_0000) | (state[(i + 1) % 624] & 0x7FFF_FFFF)
        state[i] = state[(i + 397) % 624] ^ (y >> 1) ^ (y & 1 == 0 ? 0 : 0x9908_B0DF)
      }
    }
    at = 0
  }

  /// `random()`: a number from 0 to below 1 with 53 bits.
  mutating func unit() -> Double {
    let a = next() >> 5, b = next() >> 6
    return (Double(a) * 67_108_864 + Double(b)) / 9_007_199_254_740_992
  }

  /// `_randbelow(n)`: bits enough for n, drawn again until they are below it.
  private mutating func below(_ n: Int) -> Int {
    let bits = Int.bitWidth - n.leadingZeroBitCount
    while true {
      let value = Int(next() >> UInt32(32 - bits))
      if value < n { return value }
    }
  }

  /// `sample(range(n), k)`.
  ///
  /// - Precondition: 0 ≤ k ≤ n < 2³¹.
  mutating func sample(_ k: Int, of n: Int) -> [Int] {
    var limit = 21
    if k > 5 {
      // The size of a set of k objects in CPython, against that of a list of n.
      var power = 1
      while power < k * 3 { power *= 4 }
      limit += power
    }
    var result: [Int] = []
    if n <= limit {
      var pool = Array(0..<n)
      for i in 0..<k {
        let j = below(n - i)
        result.append(pool[j])
        pool[j] = pool[n - i - 1]
      }
    } else {
      var chosen: Set<Int> = []
      for _ in 0..<k {
        var j = below(n)
        while !chosen.insert(j).inserted { j = below(n) }
        result.append(j)
      }
    }
    return result
  }
}
