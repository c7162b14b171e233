public import LatheTensor

/// Turns text into the token ids of a model, and ids into text.
///
/// A value is immutable, cheap to copy, and may be used from several threads at once.
///
/// ```swift
/// let tokenizer = try Tokenizer.load(path: "models/llama")
/// let ids = try tokenizer.encode("Once upon a time")
/// print(tokenizer.decode(ids))
/// ```
public struct Tokenizer: Sendable {
  let parts: TokenizerParts

  init(_ parts: TokenizerParts) { self.parts = parts }

  /// The ids of `text`.
  ///
  /// - Parameters:
  ///   - addingSpecialTokens: whether the tokens that the model expects around a text, the beginning of
  ///     sequence above all, are added.
  ///   - parsingSpecialTokens: whether the texts of special tokens, such as `<s>`, become these tokens, as
  ///     `transformers` does. Say `false` for text of unknown origin: it then cannot steer the model.
  /// - Throws: `Problem` where the vocabulary cannot express the text, or its pattern cannot be matched.
  public func encode(
    _ text: String, addingSpecialTokens: Bool = true, parsingSpecialTokens: Bool = true
  ) throws(Problem) -> [Int32] {
    var text = text
    var result: Result<[Int32], Problem> = .success([])
    text.withUTF8 { buffer in
      result = Result { () throws(Problem) in
        try encode(
          utf8: buffer, addingSpecialTokens: addingSpecialTokens, parsingSpecialTokens: parsingSpecialTokens)
      }
    }
    return try result.get()
  }

  /// The ids of a text given as UTF-8; a mapped corpus is encoded where it lies.
  ///
  /// Bytes that are not UTF-8 are read as replacement characters, U+FFFD.
  /// - Throws: as the other `encode`.
  public func encode(
    _ text: Bytes, addingSpecialTokens: Bool = true, parsingSpecialTokens: Bool = true
  ) throws(Problem) -> [Int32] {
    try text.withUnsafeBytes { raw throws(Problem) in
      try encode(
        utf8: raw.bindMemory(to: UInt8.self), addingSpecialTokens: addingSpecialTokens,
        parsingSpecialTokens: parsingSpecialTokens)
    }
  }

  /// The ids of a text given as UTF-8 in memory of the caller's.
  ///
  /// Bytes that are not UTF-8 are read as replacement characters, U+FFFD.
  /// - Throws: as the other `encode`.
  public func encode(
    utf8 text: UnsafeBufferPointer<UInt8>, addingSpecialTokens: Bool = true, parsingSpecialTokens: Bool = true
  ) throws(Problem) -> [Int32] {
    guard isValidUTF8(text) else {
      return try encode(
        String(decoding: text, as: UTF8.self), addingSpecialTokens: addingSpecialTokens,
        parsingSpecialTokens: parsingSpecialTokens)
    }
    var ids = addingSpecialTokens ? parts.prefix : []
    try parts.encode(text, parsesSpecial: parsingSpecialTokens, into: &ids)
    if addingSpecialTokens { ids += parts.suffix }
    return ids
  }

  /// The text of `ids`; bytes that do not make a character become U+FFFD, ids outside the vocabulary nothing.
  ///
  /// - Parameter skippingSpecialTokens: whether tokens that steer the model are left out.
  public func decode(_ ids: some Sequence<Int32>, skippingSpecialTokens: Bool = true) -> String {
    var decoder = StreamDecoder(self, skippingSpecialTokens: skippingSpecialTokens)
    var text = ""
    for id in ids { text += decoder.append(id) }
    return text + decoder.finish()
  }

  /// How many ids there are, holes included: one more than the greatest id.
  public var vocabularySize: Int { parts.vocabulary.count }

  /// The token that begins a sequence, if the vocabulary has one.
  public var beginningOfSequence: Int32? { parts.beginning }

  /// The tokens that end a sequence, or a turn of a conversation.
  public var endOfSequence: Set<Int32> { parts.end }

  /// Whether `encode` puts the beginning of sequence before a text.
  public var addsBeginningOfSequence: Bool { parts.beginning.map { parts.prefix.contains($0) } ?? false }

  /// The text of a token as the vocabulary spells it, or nil for an id outside it.
  public func piece(of id: Int32) -> String? {
    parts.vocabulary.contains(id) ? parts.vocabulary.pieces.text(Int(id)) : nil
  }

  /// Whether every id stands for the same token as in `other`.
  public func hasTokens(of other: Tokenizer) -> Bool {
    vocabularySize == other.vocabularySize
      && (0..<Int32(vocabularySize)).allSatisfy { piece(of: $0) == other.piece(of: $0) }
  }

  /// The id of the token that the vocabulary spells `piece`, or nil.
  public func id(of piece: String) -> Int32? { parts.vocabulary.id(of: Array(piece.utf8)) }

  /// Whether a token steers the model rather than being text.
  public func isSpecial(_ id: Int32) -> Bool { parts.vocabulary.isSpecial(id) }

  /// What kind of tokenizer this is and how many ids it has, in a form that stays the same from run to run.
  public var summary: String { "\(parts.kind), \(vocabularySize) ids" }
}

/// Whether `text` is well-formed UTF-8.
func isValidUTF8(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
  guard let base = text.baseAddress else { return true }
  let raw = UnsafeRawPointer(base)
  let count = text.count
  var i = 0
  while i < count {
    if i + 8 <= count, raw.loadUnaligned(fromByteOffset: i, as: UInt64.self) & 0x8080_8080_8080_8080 == 0 {
      i += 8
      continue
    }
    let lead = base[i]
    if lead < 0x80 {
      i += 1
      continue
    }
    guard lead >= 0xC2, lead <= 0xF4 else { return false }
    let length = characterLength(lead)
    guard i + length <= count else { return false }
    for k in 1..<length where base[i + k] & 0xC0 != 0x80 { return false }
    switch (lead, base[i + 1]) {
    case (0xE0, ..<0xA0), (0xED, 0xA0...), (0xF0, ..<0x90), (0xF4, 0x90...): return false
    default: i += length
    }
  }
  return true
}
