package import LatheTensor

/// Codes given column after column, packed row after row, least significant bit first; each row starts on a byte.
package func packCodes(_ codes: [UInt8], bits: Int, rows: Int, columns: Int) -> Bytes {
  let width = (columns * bits + 7) / 8
  return Bytes(count: rows * width) { target in
    codes.withUnsafeBufferPointer { codes in
      for r in 0..<rows {
        var word: UInt32 = 0
        var filled = 0
        var at = r * width
        for c in 0..<columns {
          word |= UInt32(codes[c * rows + r]) << filled
          filled += bits
          while filled >= 8 {
            target[at] = UInt8(truncatingIfNeeded: word)
            at += 1
            word >>= 8
            filled -= 8
          }
        }
        if filled > 0 { target[at] = UInt8(truncatingIfNeeded: word) }
      }
    }
  }
}

/// Scales given group after group, as binary16, row after row.
package func packScales(_ groups: [[Float]], rows: Int) -> Bytes {
  Bytes(count: rows * groups.count * 2) { target in
    let halves = target.assumingMemoryBound(to: UInt16.self)
    for (g, group) in groups.enumerated() {
      for r in 0..<rows { halves[r * groups.count + g] = HalfPrecision.bits(group[r]) }
    }
  }
}
