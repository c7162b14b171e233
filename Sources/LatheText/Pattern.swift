internal import CPCRE2
internal import LatheTensor

/// A compiled regular expression over UTF-8, with Unicode classes: PCRE2, just-in-time compiled where it can be.
final class Pattern: @unchecked Sendable {
  // Safe to share: a compiled expression is only read; each run has its own memory for matches.
  private let code: OpaquePointer
  /// The expression as it was given.
  let expression: String
  private let isCompiled: Bool

  /// Compiles `expression`.
  ///
  /// - Throws: `Problem` of kind `badData` with PCRE2's message and where in the expression it applies.
  init(_ expression: String) throws(Problem) {
    let text = Array(Pattern.translated(expression).utf8)
    guard text.count <= 65_536 else {
      throw Problem(.badData, "a regular expression of \(text.count) bytes is too long")
    }
    var error: Int32 = 0
    var offset = 0
    let options = UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_NEVER_BACKSLASH_C)
    let code = text.withUnsafeBufferPointer {
      pcre2_compile_8($0.baseAddress, $0.count, options, &error, &offset, nil)
    }
    guard let code else {
      throw Problem(
        .badData,
        "the regular expression \"\(expression)\" is not understood (\(Pattern.message(error)), at \(offset))",
        cure: "use a tokenizer whose pattern is written for PCRE or Oniguruma")
    }
    self.code = code
    self.expression = expression
    isCompiled = pcre2_jit_compile_8(code, UInt32(PCRE2_JIT_COMPLETE)) == 0
  }

  deinit { pcre2_code_free_8(code) }

  private static func message(_ error: Int32) -> String {
    var buffer = [UInt8](repeating: 0, count: 160)
    let count = Int(pcre2_get_error_message_8(error, &buffer, buffer.count))
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : "error \(error)"
  }

  /// Writes `\s` and `\S` out as Unicode's White_Space, which the engines tokenizers were made with mean by them;
  /// PCRE2's `\s` has the Mongolian vowel separator as well.
  private static func translated(_ expression: String) -> String {
    let space =
      #"\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"#
    var result = ""
    var isClass = false
    var escaped = false
    for character in expression.unicodeScalars {
      if escaped {
        escaped = false
        switch character {
        case "s": result += isClass ? space : "[" + space + "]"
        case "S" where !isClass: result += "[^" + space + "]"
        default: result += "\\" + String(character)
        }
      } else if character == "\\" {
        escaped = true
      } else {
        if character == "[" { isClass = true }
        if character == "]" { isClass = false }
        result.unicodeScalars.append(character)
      }
    }
    return result + (escaped ? "\\" : "")
  }

  /// What one run over texts needs beside the expression.
  ///
  /// - Throws: `Problem` of kind `tryAgain` where there is no memory.
  func matcher() throws(Problem) -> Matcher { try Matcher(self) }

  /// Finds the matches of a pattern, in one text after the other; for one thread.
  final class Matcher {
    private let pattern: Pattern
    private let match: OpaquePointer
    private let context: OpaquePointer
    private let stack: OpaquePointer

    fileprivate init(_ pattern: Pattern) throws(Problem) {
      guard let match = pcre2_match_data_create_8(1, nil), let context = pcre2_match_context_create_8(nil),
        let stack = pcre2_jit_stack_create_8(65_536, 64 << 20, nil)
      else { throw Problem(.tryAgain, "no memory to match a regular expression") }
      (self.pattern, self.match, self.context, self.stack) = (pattern, match, context, stack)
      pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack))
    }

    deinit {
      pcre2_match_data_free_8(match)
      pcre2_match_context_free_8(context)
      pcre2_jit_stack_free_8(stack)
    }

    /// Calls `body` with every match in `text`, valid UTF-8, leftmost first; an empty match advances by one
    /// character.
    ///
    /// - Throws: `Problem` of kind `badData` where matching needs more memory or steps than is sensible.
    func forEachMatch(in text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>) -> Void) throws(Problem) {
      guard let base = text.baseAddress, let vector = pcre2_get_ovector_pointer_8(match) else { return }
      var at = 0
      while at < text.count {
        let status =
          pattern.isCompiled
          ? pcre2_jit_match_8(pattern.code, base, text.count, at, UInt32(PCRE2_NO_UTF_CHECK), match, context)
          : pcre2_match_8(pattern.code, base, text.count, at, UInt32(PCRE2_NO_UTF_CHECK), match, context)
        if status == PCRE2_ERROR_NOMATCH { return }
        guard status >= 0 else {
          throw Problem(
            .badData, "the tokenizer's regular expression cannot be matched (\(Pattern.message(status)))",
            cure: "use a tokenizer with a simpler pattern")
        }
        // An expression with \K may report a start behind its end.
        let found = max(at, min(vector[0], vector[1]))..<max(at, vector[1])
        body(found)
        at = found.upperBound
        if found.isEmpty, at < text.count { at += characterLength(text[at]) }
      }
    }
  }
}
