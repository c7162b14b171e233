/// GPT-2's alphabet: a printable character for each byte, in which byte-level vocabularies spell their pieces.
enum ByteAlphabet {
  private static let scalars: [UInt16] = {
    var next: UInt16 = 256
    return (0..<256).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return UInt16(byte)
      default:
        next += 1
        return next - 1
      }
    }
  }()

  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 512)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
    return table
  }()

  /// Appends the bytes that `piece` spells to `target`.
  ///
  /// - Returns: false where the piece has a character outside the alphabet; `target` is then unchanged.
  static func appendBytes(_ piece: some Collection<UInt8>, to target: inout [UInt8]) -> Bool {
    let start = target.count
    return bytes.withUnsafeBufferPointer { bytes in
      var lead: UInt8 = 0
      for unit in piece {
        // All characters of the alphabet are below U+0200: one or two bytes.
        var code = -1
        if lead != 0 {
          if unit & 0xC0 == 0x80 { code = Int(lead & 0x1F) << 6 | Int(unit & 0x3F) }
          lead = 0
        } else if unit < 0x80 {
          code = Int(unit)
        } else if unit >= 0xC2, unit < 0xC8 {
          lead = unit
          continue
        }
        guard code >= 0, bytes[code] >= 0 else {
          target.removeLast(target.count - start)
          return false
        }
        target.append(UInt8(bytes[code]))
      }
      return lead == 0
    }
  }

  /// The bytes that `piece` spells, or nil where it has a character outside the alphabet.
  static func bytes(of piece: some Collection<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    return appendBytes(piece, to: &result) ? result : nil
  }

  /// The spelling of `bytes`.
  static func spelling(of bytes: some Collection<UInt8>) -> [UInt8] {
    var text: [UInt8] = []
    for byte in bytes {
      let scalar = scalars[Int(byte)]
      if scalar < 0x80 {
        text.append(UInt8(scalar))
      } else {
        text.append(0xC0 | UInt8(scalar >> 6))
        text.append(0x80 | UInt8(scalar & 0x3F))
      }
    }
    return text
  }
}
