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

/// The lowest bit of each value, eight a byte, each row starting on a byte.
func packPlane(_ values: [UInt8], rows: Int, columns: Int) -> Bytes {
  let width = (columns + 7) / 8
  return Bytes(count: rows * width) { target in
    for r in 0..<rows {
      for j in 0..<columns { target[r * width + j / 8] |= (values[r * columns + j] & 1) << UInt8(j % 8) }
    }
  }
}

/// Values of `bits` bits one after another, least significant bit first.
func packRun(_ values: [UInt8], bits: Int) -> Bytes {
  Bytes(count: (values.count * bits + 7) / 8) { target in
    for (i, value) in values.enumerated() {
      let at = i * bits, word = UInt16(value) << UInt16(at % 8)
      target[at / 8] |= UInt8(truncatingIfNeeded: word)
      if at % 8 + bits > 8 { target[at / 8 + 1] |= UInt8(word >> 8) }
    }
  }
}
