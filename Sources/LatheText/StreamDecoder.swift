/// Turns ids into text as they come, never in the middle of a character.
///
/// All texts it returns, joined, are what `Tokenizer.decode` makes of the same ids.
public struct StreamDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecial: Bool
  // Bytes that may be the start of a character.
  private var pending: [UInt8] = []
  private var leadingSpaces: Int

  /// Starts a text.
  ///
  /// - Parameter skippingSpecialTokens: whether tokens that steer the model are left out.
  public init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool = true) {
    self.tokenizer = tokenizer
    skipsSpecial = skippingSpecialTokens
    leadingSpaces = tokenizer.parts.leadingSpaces
  }

  /// The text that `id` completes; empty while a character is incomplete.
  public mutating func append(_ id: Int32) -> String {
    let vocabulary = tokenizer.parts.vocabulary
    guard vocabulary.contains(id), !(skipsSpecial && vocabulary.isSpecial(id)) else { return "" }
    for byte in vocabulary.surfaces[Int(id)] {
      if leadingSpaces > 0 {
        leadingSpaces -= 1
        if byte == 0x20 { continue }
        leadingSpaces = 0
      }
      pending.append(byte)
    }
    let complete = pending.count - incompleteTail()
    guard complete > 0 else { return "" }
    let text = String(decoding: pending[..<complete], as: UTF8.self)
    pending.removeFirst(complete)
    return text
  }

  /// The text of the bytes that are left; an incomplete character becomes U+FFFD. A new text may follow.
  public mutating func finish() -> String {
    let text = String(decoding: pending, as: UTF8.self)
    pending.removeAll()
    leadingSpaces = tokenizer.parts.leadingSpaces
    return text
  }

  /// How many bytes at the end are the valid beginning of a character that may yet be completed.
  private func incompleteTail() -> Int {
    for length in 1...3 where length <= pending.count {
      let lead = pending[pending.count - length]
      if lead & 0xC0 == 0x80 { continue }
      guard lead >= 0xC2, lead <= 0xF4, characterLength(lead) > length else { return 0 }
      guard length >= 2 else { return length }
      switch (lead, pending[pending.count - length + 1]) {
      case (0xE0, ..<0xA0), (0xED, 0xA0...), (0xF0, ..<0x90), (0xF4, 0x90...): return 0
      default: return length
      }
    }
    return 0
  }
}
