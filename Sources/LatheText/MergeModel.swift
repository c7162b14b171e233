internal import LatheTensor

/// Byte-pair merging, the model of every tokenizer here: words into symbols, symbols merged, ids looked up.
///
/// What differs between SentencePiece, tiktoken, GPT-2's files and Hugging Face's is data: what a word's first
/// symbols are, which rule merges them, and what becomes of what the vocabulary lacks.
struct MergeModel: Sendable {
  /// What a word is first cut into.
  enum Units: Sendable {
    /// Bytes; the ids of all 256, -1 where one has no piece.
    case bytes([Int32])
    /// Characters. An unknown one takes part in merges whole, and only what is left of it becomes bytes (SentencePiece).
    case characters
    /// Characters. An unknown one becomes bytes before anything merges (Hugging Face).
    case charactersOrBytes
  }

  enum Rule: Sendable {
    case pieces(PieceMerges)
    case pairs(PairMerges)
  }

  var units: Units
  var rule: Rule
  /// The pieces that may be made of text.
  var pieces: PieceTable
  /// Whether a word that is a piece is that piece, whatever the merges say.
  var takesWholeWords = false
  /// The ids of the pieces for single bytes; nil where the vocabulary does not have all of them.
  var byteIDs: [Int32]?
  /// What stands for the unknown.
  var unknown: Int32?
  /// Whether neighbouring unknowns become one.
  var fusesUnknown = true
  /// Pieces that merges may pass through but that are taken apart again (SentencePiece's unused ones).
  var unused: Set<Int32> = []
  /// Where a text without words of its own may be cut.
  var cuts: CutPoints?

  /// Memory that encoding one text reuses from word to word.
  struct Scratch {
    var merger = Merger()
    var cache = WordCache()
  }

  /// Appends the ids of `text`, one word of the pre-tokenizer or a whole text.
  func encode(_ text: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, into ids: inout [Int32])
    throws(Problem)
  {
    guard let base = text.baseAddress, text.count > 0 else { return }
    guard text.count <= Int32.max else {
      throw Problem(
        .usage, "a text of \(text.count) bytes is too long", cure: "encode it in parts below 2 GiB")
    }
    guard let cuts else { return try encodeWord(base, text.count, &scratch, into: &ids) }
    var start = 0
    let first = ids.count
    while start < text.count {
      let end = cuts.next(in: text, after: start)
      let before = ids.count
      try encodeWord(base + start, end - start, &scratch, into: &ids)
      if fusesUnknown, let unknown, before > first, ids.count > before, ids[before] == unknown,
        ids[before - 1] == unknown
      {
        ids.remove(at: before)
      }
      start = end
    }
  }

  private func encodeWord(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ scratch: inout Scratch, into ids: inout [Int32]
  ) throws(Problem) {
    if takesWholeWords {
      let id = pieces.find(word, count)
      if id >= 0 {
        ids.append(id)
        return
      }
    }
    guard count <= WordCache.longestWord else { return try merge(word, count, &scratch, into: &ids) }
    let code = hash(word, count)
    if scratch.cache.find(word, count, code, { ids.append(contentsOf: $0) }) { return }
    let before = ids.count
    try merge(word, count, &scratch, into: &ids)
    scratch.cache.insert(word, count, code, ids[before...])
  }

  private func merge(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ scratch: inout Scratch, into ids: inout [Int32]
  ) throws(Problem) {
    scratch.merger.symbols.removeAll(keepingCapacity: true)
    split(word, count, into: &scratch.merger.symbols)
    switch rule {
    case .pieces(let rule):
      scratch.merger.run(rule, word)
      if !unused.isEmpty { scratch.merger.symbols = takeApart(scratch.merger.symbols, rule, word) }
    case .pairs(let rule): scratch.merger.run(rule, word)
    }
    var wasUnknown = false
    for symbol in scratch.merger.symbols {
      if symbol.id >= 0 {
        ids.append(symbol.id)
        wasUnknown = false
      } else if let byteIDs {
        for i in Int(symbol.start)..<Int(symbol.end) { ids.append(byteIDs[Int(word[i])]) }
      } else if let unknown {
        if !(wasUnknown && fusesUnknown) { ids.append(unknown) }
        wasUnknown = true
      } else {
        let bytes = UnsafeBufferPointer(
          start: word + Int(symbol.start), count: Int(symbol.end - symbol.start))
        throw Problem(
          .badData, "the vocabulary has no piece for \"\(String(decoding: bytes, as: UTF8.self))\"",
          cure: "use a tokenizer with byte fallback or an unknown token")
      }
    }
  }

  /// Replaces every unused piece by the two it was merged from, and these likewise.
  private func takeApart(_ symbols: [Symbol], _ rule: PieceMerges, _ word: UnsafePointer<UInt8>) -> [Symbol] {
    guard symbols.contains(where: { unused.contains($0.id) }) else { return symbols }
    var result: [Symbol] = []
    for symbol in symbols {
      guard unused.contains(symbol.id) else {
        result.append(symbol)
        continue
      }
      let start = Int(symbol.start)
      var merger = Merger()
      split(word + start, Int(symbol.end) - start, into: &merger.symbols)
      merger.run(MergesExcept(base: rule, id: symbol.id), word + start)
      let isWhole = merger.symbols.count <= 1
      for i in merger.symbols.indices {
        merger.symbols[i].start += symbol.start
        merger.symbols[i].end += symbol.start
      }
      result += isWhole ? [symbol] : takeApart(merger.symbols, rule, word)
    }
    return result
  }

  private func split(_ word: UnsafePointer<UInt8>, _ count: Int, into symbols: inout [Symbol]) {
    switch units {
    case .bytes(let table):
      for i in 0..<count {
        symbols.append(Symbol(start: Int32(i), end: Int32(i) + 1, id: table[Int(word[i])]))
      }
    case .characters, .charactersOrBytes:
      var breaksUnknown = false
      if case .charactersOrBytes = units { breaksUnknown = byteIDs != nil }
      var i = 0
      while i < count {
        let end = min(count, i + characterLength(word[i]))
        let id = pieces.find(word + i, end - i)
        if id < 0, breaksUnknown, let byteIDs {
          for j in i..<end {
            symbols.append(Symbol(start: Int32(j), end: Int32(j) + 1, id: byteIDs[Int(word[j])]))
          }
        } else {
          symbols.append(Symbol(start: Int32(i), end: Int32(end), id: id))
        }
        i = end
      }
    }
  }
}

/// How many bytes the UTF-8 character takes that begins with `lead`.
@inline(__always)
func characterLength(_ lead: UInt8) -> Int {
  lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
}

/// Where a text may be cut into words without changing what it becomes: before a space symbol, if no piece
/// contains what precedes it and the symbol side by side.
///
/// Merges never cross such a place, so each part can be merged, and remembered, alone.
struct CutPoints: Sendable {
  private let space: [UInt8]
  /// For each byte, whether some piece has it right before a space symbol.
  private let joins: [Bool]

  /// Finds where texts may be cut, given every piece that merging can make.
  init(space: [UInt8], pieces: ByteStrings, made: (Int) -> Bool) {
    self.space = space
    var joins = [Bool](repeating: false, count: 256)
    pieces.storage.withUnsafeBufferPointer { bytes in
      for index in 0..<pieces.count where made(index) {
        let range = pieces.range(index)
        guard range.count > space.count else { continue }
        for i in (range.lowerBound + 1)...(range.upperBound - space.count) where bytes[i] == space[0] {
          if (1..<space.count).allSatisfy({ bytes[i + $0] == space[$0] }) { joins[Int(bytes[i - 1])] = true }
        }
      }
    }
    self.joins = joins
  }

  /// The end of the word that starts at `start`.
  @inline(__always)
  func next(in text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
    let count = space.count
    return space.withUnsafeBufferPointer { space in
      joins.withUnsafeBufferPointer { joins in
        var i = start + 1
        while i + count <= text.count {
          if text[i] == space[0], !joins[Int(text[i - 1])] {
            var k = 1
            while k < count, text[i + k] == space[k] { k += 1 }
            if k == count { return i }
          }
          i += 1
        }
        return text.count
      }
    }
  }
}
