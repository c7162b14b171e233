/// IEEE binary16 and bfloat16 as bit patterns: what files hold, on every platform.
public enum HalfPrecision {
  /// The largest finite binary16 number.
  public static let largest: Float = 65504

  /// The binary16 number nearest to `value`, ties to even; too large becomes infinite.
  public static func bits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern, sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
    if magnitude >= 0x4780_0000 { return sign | 0x7C00 }
    if magnitude < 0x3880_0000 {
      // Subnormal: adding 0.5 aligns the last kept bit with the float's own, so the hardware rounds.
      let shifted = Float(bitPattern: magnitude) + 0.5
      return sign | UInt16(truncatingIfNeeded: shifted.bitPattern &- Float(0.5).bitPattern)
    }
    let odd = (magnitude >> 13) & 1
    return sign | UInt16(truncatingIfNeeded: (magnitude &- 0x3800_0000 &+ 0xFFF &+ odd) >> 13)
  }

  /// The value of a binary16 number.
  public static func value(_ half: UInt16) -> Float {
    let exponent = UInt32(half >> 10) & 31, mantissa = UInt32(half) & 0x3FF
    let sign: Float = half & 0x8000 == 0 ? 1 : -1
    switch exponent {
    case 0: return sign * Float(mantissa) * 0x1p-24
    case 31: return mantissa == 0 ? sign * .infinity : .nan
    default: return Float(bitPattern: UInt32(half & 0x8000) << 16 | (exponent + 112) << 23 | mantissa << 13)
    }
  }

  /// The bfloat16 number nearest to `value`, ties to even.
  public static func brainBits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
  }
}
