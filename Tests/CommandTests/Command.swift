import Foundation
import LatheTestSupport
import Testing

/// The built command, run as a user runs it.
struct Command {
  /// What one run left behind.
  struct Outcome {
    let status: Int32
    /// Whether a signal ended it; `status` is the signal then.
    let wasKilled: Bool
    let output, errors: String

    /// Standard output as the one JSON object it must be.
    func json(_ place: SourceLocation = #_sourceLocation) throws -> [String: Any] {
      try #require(status == 0 && !wasKilled, "\(errors)", sourceLocation: place)
      let text = output.trimmingCharacters(in: .newlines)
      #expect(!text.contains("\n"), "one line of JSON and nothing else", sourceLocation: place)
      let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
      return try #require(object as? [String: Any], sourceLocation: place)
    }

    /// The first line of standard error.
    var sentence: String { errors.split(separator: "\n").first.map(String.init) ?? "" }

    /// The longest line of either stream, in characters.
    var widest: Substring {
      (output.split(separator: "\n") + errors.split(separator: "\n")).max { $0.count < $1.count } ?? ""
    }
  }

  /// The product beside the test bundle.
  static let path: String = {
    var folders = Bundle.allBundles.filter { $0.bundlePath.hasSuffix(".xctest") }.map {
      $0.bundleURL.deletingLastPathComponent()
    }
    folders.append(URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent())
    if let own = Bundle.main.executableURL { folders.append(own.deletingLastPathComponent()) }
    let candidates = folders.map { $0.appendingPathComponent("lathe").path }
    return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? "lathe"
  }()

  private let process = Process()
  private let streams: [Drain]

  /// Starts the command.
  init(_ arguments: [String], in folder: String? = nil, variables: [String: String] = [:]) throws {
    process.executableURL = URL(fileURLWithPath: Self.path)
    process.arguments = arguments
    var environment = ProcessInfo.processInfo.environment
    environment["COLUMNS"] = "80"
    environment.merge(variables) { $1 }
    process.environment = environment
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    process.standardInput = FileHandle.nullDevice
    let pipes = [Pipe(), Pipe()]
    (process.standardOutput, process.standardError) = (pipes[0], pipes[1])
    try Self.withSignals { [process] in try process.run() }
    streams = pipes.map { Drain($0) }
  }

  /// Runs the command to its end.
  @discardableResult static func run(_ arguments: String..., folder: String? = nil) throws -> Outcome {
    try run(arguments, folder: folder)
  }

  /// Runs the command to its end.
  @discardableResult static func run(_ arguments: [String], folder: String? = nil) throws -> Outcome {
    try Command(arguments, in: folder).finish()
  }

  /// Calls `body` with no signal blocked: a child inherits the mask of the thread that starts it, and a test's
  /// thread, one of a pool, blocks most.
  private static func withSignals(_ body: () throws -> Void) rethrows {
    var none = sigset_t(), old = sigset_t()
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    try body()
  }

  var isRunning: Bool { process.isRunning }

  func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Waits for the end.
  func finish() -> Outcome {
    let texts = streams.map { $0.text() }
    process.waitUntilExit()
    return Outcome(
      status: process.terminationStatus, wasKilled: process.terminationReason == .uncaughtSignal,
      output: texts[0], errors: texts[1])
  }
}

/// Reads a pipe on a thread of its own, so that a command that writes much to both never waits for us.
private final class Drain: @unchecked Sendable {
  // Written by the thread before it signals, read after.
  private var data = Data()
  private let done = DispatchSemaphore(value: 0)

  init(_ pipe: Pipe) {
    let thread = Thread { [self] in
      data = pipe.fileHandleForReading.readDataToEndOfFile()
      done.signal()
    }
    thread.start()
  }

  func text() -> String {
    done.wait()
    return String(decoding: data, as: UTF8.self)
  }
}

/// A folder of its own for one test.
final class Scratch: Sendable {
  let folder: String

  init() throws {
    folder = NSTemporaryDirectory() + "lathe-command-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func path(_ name: String) -> String { folder + "/" + name }

  /// Writes `text` to a file and returns its path.
  func write(_ text: String, to name: String) throws -> String { try write(Data(text.utf8), to: name) }

  /// Writes `data` to a file and returns its path.
  func write(_ data: Data, to name: String) throws -> String {
    try data.write(to: URL(fileURLWithPath: path(name)))
    return path(name)
  }

  /// Copies a file or folder here and returns its path.
  func copy(_ source: String, to name: String) throws -> String {
    try FileManager.default.copyItem(atPath: source, toPath: path(name))
    return path(name)
  }

  /// The names in the folder.
  var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: folder).sorted()) ?? [] }
}

/// What several suites use.
enum Sample {
  /// The model in the repository.
  static let model = TestData.packageFolder + "/Models/novella-6m"

  /// A text the model wrote: likely under it, and there without any data folder.
  private static let written = Result {
    var text = ""
    for seed in 1...4 {
      let run = try Command.run(
        "run", model, "--prompt", "It was", "--max-tokens", "440", "--seed", "\(seed)", "--json")
      text += "It was" + (try run.json()["text"] as? String ?? "") + "\n"
    }
    let folder = NSTemporaryDirectory() + "lathe-command-text"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/text.txt"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    return path
  }

  /// The path of a text of some 1,700 tokens.
  static func text() throws -> String { try written.get() }

  /// What `eval` tells of `model` on four windows.
  static func evaluate(_ model: String, _ options: String...) throws -> [String: Any] {
    try evaluate(model, options)
  }

  private static func evaluate(_ model: String, _ options: [String]) throws -> [String: Any] {
    try Command.run(
      ["eval", model, "--text", try text(), "--window", "256", "--limit", "4", "--json"] + options
    ).json()
  }

  /// The perplexity of `model` on four windows.
  static func perplexity(_ model: String, _ options: String...) throws -> Double {
    try #require(try evaluate(model, options)["perplexity"] as? Double)
  }

  /// The perplexity of the model in the repository.
  static let baseline = Result { try perplexity(model) }
}
