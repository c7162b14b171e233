import ArgumentParser
import Foundation
import LatheModel
import LatheTensor
import LatheText

/// The options every command takes.
struct CommonOptions: ParsableArguments {
  @Flag(help: "Print one JSON object on standard output, and everything else on standard error.")
  var json = false

  @Option(help: ArgumentHelp("The number of threads (default: one a core).", valueName: "n"))
  var threads: Int?

  func validate() throws {
    if let threads, !(1...256).contains(threads) {
      throw ValidationError("--threads takes 1 to 256, not \(threads)")
    }
  }

  /// A team of as many threads as asked for.
  func makeTeam() -> ThreadTeam { ThreadTeam(count: threads ?? ThreadTeam.hardwareCount) }
}

/// The options of commands that read a tokenizer.
struct TokenizerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The tokenizer's file, where it does not lie with the model.", valueName: "file"))
  var tokenizer: String?
}

/// Where text goes: results to standard output, all else to standard error.
enum Output {
  static func line(_ text: String = "") { piece(text + "\n") }

  static func note(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
  }

  static func error(_ text: String) { note("lathe: " + text) }

  /// Prints without a newline, at once.
  static func piece(_ text: String) {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      Self.error("standard output cannot be written; free space on the disk, or look at what reads it")
      exit(Problem.Kind.inputOutput.rawValue)
    }
  }

  static func json(_ value: some Encodable) throws { line(try text(value)) }

  /// The value as JSON.
  static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A broken model's perplexity may be no number, which JSON has no word for.
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}

/// A line on standard error that says how far a piece of work is and how long the rest will take.
///
/// On a terminal the line is written over; elsewhere a line appears now and then.
final class ProgressLine {
  private let total: Int
  private let what: String
  private let start = ContinuousClock().now
  private var last: ContinuousClock.Instant?
  private let isTerminal = isatty(2) != 0

  init(_ what: String, total: Int) { (self.what, self.total) = (what, total) }

  func update(_ done: Int, _ detail: String = "") {
    let now = ContinuousClock().now
    let wait: Duration = isTerminal ? .milliseconds(100) : .seconds(10)
    if let last, now - last < wait, done < total { return }
    if last == nil, !isTerminal, now - start < wait { return }
    last = now
    let passed = (now - start) / .seconds(1)
    let left =
      done > 0 && done < total
      ? ", \(Format.duration(passed / Double(done) * Double(total - done))) left" : ""
    let text = "\(what) \(done)/\(total)\(detail.isEmpty ? "" : ", " + detail)\(left)"
    try? FileHandle.standardError.write(
      contentsOf: Data((isTerminal ? "\r\u{1B}[K" + text : text + "\n").utf8))
  }

  /// Clears the line.
  func finish() {
    if isTerminal { try? FileHandle.standardError.write(contentsOf: Data("\r\u{1B}[K".utf8)) }
  }
}

/// How figures are written.
enum Format {
  static func number(_ value: Double, _ places: Int) -> String { String(format: "%.\(places)f", value) }

  static func error(_ value: Double) -> String { String(format: "%.3g", value) }

  static func bytes(_ count: Int) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count), unit = 0
    while value >= 1024, unit + 1 < units.count { (value, unit) = (value / 1024, unit + 1) }
    return unit == 0 ? "\(count) B" : String(format: "%.1f %@", value, units[unit])
  }

  static func duration(_ seconds: Double) -> String {
    if seconds < 10 { return String(format: "%.1f s", seconds) }
    if seconds < 60 { return String(format: "%.0f s", seconds) }
    if seconds < 3600 { return String(format: "%d min %02d s", Int(seconds) / 60, Int(seconds) % 60) }
    return String(format: "%d h %02d min", Int(seconds) / 3600, Int(seconds) / 60 % 60)
  }
}
