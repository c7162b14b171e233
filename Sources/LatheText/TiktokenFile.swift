internal import LatheTensor

/// Meta's `tokenizer.model` of LLaMA 3: a line for each token, its bytes in base64 and its rank, which is its id.
///
/// The 256 special tokens follow the ranks, named as Meta's code names them; files beside the model may rename
/// them (LLaMA 3.1). Source: github.com/meta-llama/llama3, `llama/tokenizer.py`; github.com/openai/tiktoken.
enum TiktokenFile {
  static let format = TokenizerFormat(
    name: "tiktoken", recognizes: { _, head in isRankLine(head) }, load: load)

  private static func isRankLine(_ head: Bytes) -> Bool {
    var at = 0
    while at < head.count, decoded(head[at]) != nil || head[at] == UInt8(ascii: "=") { at += 1 }
    guard at > 0, at + 1 < head.count, head[at] == 0x20 else { return false }
    return (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(head[at + 1])
  }

  static func load(_ bytes: Bytes, _ settings: TokenizerSettings) throws(Problem) -> Tokenizer {
    let ranks = try readRanks(bytes)
    let count = ranks.count
    var byteIDs = [Int32](repeating: -1, count: 256)
    var vocabulary = Vocabulary(capacity: count + 256)
    var pieces = PieceTable(capacity: count, bytes: ranks.storage.count)
    for id in 0..<count {
      let piece = ranks[id]
      vocabulary.append(piece, surface: piece)
      pieces.insert(piece, id: Int32(id))
      if piece.count == 1 { byteIDs[Int(piece[piece.startIndex])] = Int32(id) }
    }
    guard !byteIDs.contains(-1) else {
      throw Problem(.badData, "the ranks lack some single bytes", cure: "fetch the tokenizer again")
    }
    var added = AddedTokens()
    let renamed = Dictionary(settings.added.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    for (index, name) in specialTokens.enumerated() {
      let id = Int32(count + index)
      let token = renamed[id] ?? AddedToken(text: Array(name.utf8), id: id)
      vocabulary.append(token.text, surface: token.text, isSpecial: true)
      added.insert(token)
    }
    let beginning = vocabulary.id(of: settings.beginning ?? Array("<|begin_of_text|>".utf8))
    let ends =
      [settings.end ?? Array("<|end_of_text|>".utf8)] + ["<|eot_id|>", "<|eom_id|>"].map { Array($0.utf8) }
    let end = ends.compactMap { vocabulary.id(of: $0) }
    return Tokenizer(
      TokenizerParts(
        kind: "tiktoken BPE", vocabulary: vocabulary, added: added,
        splitter: [.pattern(try Pattern(SplitPatterns.llama3), .isolated, inverted: false)],
        model: MergeModel(
          units: .bytes(byteIDs), rule: .pieces(PieceMerges(pieces: pieces, ranks: nil)), pieces: pieces,
          takesWholeWords: true),
        prefix: (settings.addsBeginning ?? true) ? beginning.map { [$0] } ?? [] : [],
        suffix: (settings.addsEnd ?? false) ? Array(end.prefix(1)) : [], beginning: beginning, end: Set(end)))
  }

  static let specialTokens: [String] = {
    let reserved = (0..<251).map { "<|reserved_special_token_\($0)|>" }
    return ["<|begin_of_text|>", "<|end_of_text|>"] + reserved[0..<4]
      + ["<|start_header_id|>", "<|end_header_id|>", reserved[4], "<|eot_id|>"] + reserved[5...]
  }()

  private static func readRanks(_ bytes: Bytes) throws(Problem) -> ByteStrings {
    try bytes.withUnsafeBytes { raw throws(Problem) in
      let text = raw.bindMemory(to: UInt8.self)
      var ranks = ByteStrings()
      ranks.reserve(count: text.count / 16, bytes: text.count / 2)
      var at = 0
      var token: [UInt8] = []
      while at < text.count {
        if text[at] == 0x0A || text[at] == 0x0D {
          at += 1
          continue
        }
        token.removeAll(keepingCapacity: true)
        var bits: UInt32 = 0
        var bitCount = 0
        while at < text.count, let value = decoded(text[at]) {
          bits = bits << 6 | UInt32(value)
          bitCount += 6
          if bitCount >= 8 {
            bitCount -= 8
            token.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
          }
          at += 1
        }
        while at < text.count, text[at] == UInt8(ascii: "=") { at += 1 }
        guard at < text.count, text[at] == 0x20 else { throw damaged(ranks.count) }
        at += 1
        var rank = 0
        var digits = 0
        while at < text.count, text[at] >= 0x30, text[at] <= 0x39, digits < 9 {
          rank = 10 * rank + Int(text[at] - 0x30)
          digits += 1
          at += 1
        }
        guard digits > 0, rank == ranks.count, !token.isEmpty, at == text.count || text[at] <= 0x0D else {
          throw damaged(ranks.count)
        }
        ranks.append(token)
      }
      return ranks
    }
  }

  private static func damaged(_ line: Int) -> Problem {
    Problem(
      .badData, "line \(line + 1) is not a token in base64 and the rank \(line)",
      cure: "fetch the tokenizer again")
  }

  private static func decoded(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): character - 71
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character + 4
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
