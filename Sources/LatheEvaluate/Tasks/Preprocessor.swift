internal import Foundation
internal import LatheTensor

/// What can be done to a record before templates read it. The list is closed: a task file names, and runs, nothing else.
enum Preprocessor: String, Hashable, Sendable, CaseIterable {
  /// ARC's own form, and the hub's, become `question`, `choices.text`, `choices.label`, `answerKey`.
  case arc
  /// HellaSwag's context and endings become `query` and `choices`, cleaned as lm-evaluation-harness cleans them.
  case hellaswag
  /// A sentence with a gap becomes `contexts`, the gap filled with each option, and the `ending` behind it.
  case winogrande
  /// `text` becomes what stands `before` its last word, and the last `word`.
  case lastWord = "last_word"
  /// The space around punctuation of WikiText's `page` is undone into `text`.
  case wikitext

  /// The record with what the preprocessor adds.
  ///
  /// - Throws: `Problem` of kind `badData` where the record is not of a form it knows.
  func apply(_ record: DataNode) throws(Problem) -> DataNode {
    switch self {
    case .arc: try Self.arc(record)
    case .hellaswag: try Self.hellaswag(record)
    case .winogrande: try Self.winogrande(record)
    case .lastWord: try Self.lastWord(record)
    case .wikitext:
      record.setting("text", .text(WikitextText.detokenized(try Self.text("page", record))))
    }
  }

  private static func text(_ key: String, _ record: DataNode) throws(Problem) -> String {
    guard let text = record[key]?.printed else {
      throw Problem(
        .badData, "the record has no text \"\(key)\"", cure: "the file is not of the form the task reads")
    }
    return text
  }

  private static func arc(_ record: DataNode) throws(Problem) -> DataNode {
    guard let question = record["question"], question.members != nil else { return record }
    guard let choices = question["choices"]?.list else {
      throw Problem(.badData, "the question has no list of choices")
    }
    var texts: [DataNode] = [], labels: [DataNode] = []
    for choice in choices {
      texts.append(DataNode(.text(try text("text", choice)), line: choice.line))
      labels.append(DataNode(.text(try text("label", choice)), line: choice.line))
    }
    let members = [("text", texts), ("label", labels)].map {
      DataNode.Member(key: $0.0, line: record.line, node: DataNode(.list($0.1), line: record.line))
    }
    return record.setting("choices", .object(members)).setting("question", .text(try text("stem", question)))
  }

  private static func hellaswag(_ record: DataNode) throws(Problem) -> DataNode {
    var first: String, second: String
    if record["ctx_a"] != nil {
      (first, second) = (try text("ctx_a", record), try text("ctx_b", record))
    } else {
      (first, second) = parted(try text("ctx", record))
    }
    let activity = try text("activity_label", record)
    guard let endings = record["endings"]?.list else {
      throw Problem(.badData, "the record has no list \"endings\"")
    }
    var choices: [DataNode] = []
    for ending in endings {
      guard let text = ending.text else { throw Problem(.badData, "an ending is no text") }
      choices.append(DataNode(.text(cleaned(text)), line: ending.line))
    }
    let query = cleaned("\(activity): \(first) \(second.capitalizedAsPython)")
    return record.setting("query", .text(query)).setting("choices", .list(choices))
  }

  /// The two parts of a context that a file has joined: the second begins small, after the end of a sentence.
  private static func parted(_ context: String) -> (String, String) {
    let letters = Array(context.unicodeScalars)
    func ends(_ i: Int) -> Bool {
      i + 1 < letters.count && ".!?".unicodeScalars.contains(letters[i]) && letters[i + 1] == " "
    }
    guard let end = letters.indices.last(where: ends), end + 2 < letters.count,
      ("a"..."z").contains(letters[end + 2])
    else { return (context, "") }
    func text(_ part: ArraySlice<Unicode.Scalar>) -> String { String(String.UnicodeScalarView(part)) }
    return (text(letters[...end]), text(letters[(end + 2)...]))
  }

  private static func cleaned(_ text: String) -> String {
    var text = text.trimmingCharacters(in: .whitespacesAndNewlines)
    // Most texts have nothing to clean, and looking is quick.
    if text.utf8.contains(UInt8(ascii: "[")) {
      text = WikitextText.replaced(text, [(" [title]", ". ")])
      text = WikitextText.replace(#"\[.*?\]"#, in: text, by: "")
    }
    var before: UInt8 = 0
    for byte in text.utf8 {
      if byte == 0x20, before == 0x20 { return WikitextText.replaced(text, [("  ", " ")]) }
      before = byte
    }
    return text
  }

  private static func winogrande(_ record: DataNode) throws(Problem) -> DataNode {
    let sentence = try text("sentence", record)
    guard let gap = sentence.utf8.firstIndex(of: UInt8(ascii: "_")) else {
      throw Problem(.badData, "the sentence has no gap \"_\"")
    }
    let before = sentence[..<gap], after = sentence[sentence.utf8.index(after: gap)...]
    let options = [try text("option1", record), try text("option2", record)]
    return record.setting(
      "contexts", .list(options.map { DataNode(.text(before + $0), line: record.line) })
    ).setting("ending", .text(after.trimmingCharacters(in: .whitespacesAndNewlines)))
  }

  private static func lastWord(_ record: DataNode) throws(Problem) -> DataNode {
    let text = try text("text", record)
    guard let space = text.utf8.lastIndex(of: 0x20) else { throw Problem(.badData, "the text is one word") }
    return record.setting("before", .text(String(text[..<space])))
      .setting("word", .text(String(text[text.utf8.index(after: space)...])))
  }
}

/// WikiText as lm-evaluation-harness reads it: pages, and their text with the tokenizer's spaces undone.
enum WikitextText {
  /// The pages of the raw file: each begins at a title of the first level.
  static func pages(of file: String) -> [String] {
    var pages: [String] = [], page: [Substring] = []
    for line in file.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).map(Substring.init) {
      let title = replaced(String(line), [("= = =", "==="), ("= =", "==")]).trimmingCharacters(
        in: .whitespacesAndNewlines)
      if title.hasPrefix("= "), title.hasSuffix(" =") {
        let text = page.joined(separator: "\n")
        if !text.allSatisfy(\.isWhitespace) { pages.append(text) }
        page = []
      }
      page.append(line)
    }
    return pages + [page.joined(separator: "\n")]
  }

  /// lm-evaluation-harness's rules for the text of a page, in its order.
  static func detokenized(_ page: String) -> String {
    var text = replaced(page, [("s '", "s'")])
    text = replace(#"/' [0-9]/"#, in: text, by: "/'[0-9]/")
    text = replaced(
      text,
      [
        (" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."), (" : ", ": "), (" ; ", "; "), (" . ", ". "),
        (" ! ", "! "), (" ? ", "? "), (" , ", ", "),
      ])
    for (pattern, by) in [
      (#"\(\s*([^\)]*?)\s*\)"#, "($1)"), (#"\[\s*([^\]]*?)\s*\]"#, "[$1]"), (#"\{\s*([^}]*?)\s*\}"#, "{$1}"),
      (#""\s*([^"]*?)\s*""#, "\"$1\""), (#"'\s*([^']*?)\s*'"#, "'$1'"),
    ] {
      text = replace(pattern, in: text, by: by)
    }
    return replaced(
      text,
      [
        ("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" \u{B0} ", "\u{B0}"), (" \n", "\n"),
        ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s"),
      ])
  }

  static func replaced(_ text: String, _ pairs: [(String, String)]) -> String {
    pairs.reduce(text) { text, pair in
      text.replacingOccurrences(of: pair.0, with: pair.1, options: .literal)
    }
  }

  static func replace(_ pattern: String, in text: String, by template: String) -> String {
    guard let expression = try? NSRegularExpression(pattern: pattern) else { return text }
    return expression.stringByReplacingMatches(
      in: text, range: NSRange(location: 0, length: text.utf16.count), withTemplate: template)
  }

  /// The number of words: one more than there are runs of white space.
  static func words(in page: String) -> Int {
    var count = 1, wasSpace = false
    for scalar in page.unicodeScalars {
      let isSpace = scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
      if isSpace, !wasSpace { count += 1 }
      wasSpace = isSpace
    }
    return count
  }
}
