import Foundation
import LatheModel
import LatheTensor
import LatheText
import LatheTestSupport
import Testing

/// Whole models, damaged: each is a sentence, or runs and gives numbers, finite or not.
@Suite(.serialized) struct HostileFileTests {
  private let team = ThreadTeam(count: 1)

  @Test("every dialect is there to be damaged, and what architectures add to it") func samples() {
    #expect(HostileSample.all.count == DialectCatalog.all.count + 3)
  }

  @Test("damaged models run or are refused in words", arguments: HostileSample.all)
  func damage(sample: HostileSample) throws {
    let folder = NSTemporaryDirectory() + "lathe-hostile-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (name, bytes) in sample.files { try write(bytes, folder + "/" + name) }
    let path = sample.opens.isEmpty ? folder : folder + "/" + sample.opens
    try #require(try run(path) == 128, "the sample is a model")
    let peak = Self.peakMemory
    // A longer hunt takes another way each time.
    let seconds = ProcessInfo.processInfo.environment["LATHE_FUZZ_SECONDS"].flatMap(Int.init)
    var damage = Damage(seed: seconds == nil ? 5 : UInt64.random(in: 0..<1 << 60))
    let end = ProcessorTime.now + .seconds(seconds ?? 3)
    var (refused, ran) = (0, 0)
    let names = sample.files.keys.sorted()
    while ProcessorTime.now < end {
      // The tokenizer has tests of its own: it is damaged less often.
      let isTokenizer = Int.random(in: 0..<8, using: &damage.random) == 0
      let name =
        names.filter { $0.hasPrefix("tokenizer") == isTokenizer }.randomElement(using: &damage.random)
        ?? names[0]
      guard let original = sample.files[name] else { continue }
      var bytes = original
      for _ in 0..<Int.random(in: 1...3, using: &damage.random) {
        damage.change(&bytes, isText: name.hasSuffix(".json"))
      }
      try write(bytes, folder + "/" + name)
      do {
        _ = try run(path)
        ran += 1
      } catch {
        let problem = try #require(error as? Problem, "\(error)")
        #expect(problem.description.count < 1000 && problem.kind != .internal, "\(problem)")
        refused += 1
      }
      try write(original, folder + "/" + name)
    }
    #expect(refused > 50 && ran > 5, "\(refused) refused, \(ran) ran")
    #expect(Self.peakMemory - peak < 600 << 20, "no damage makes a small model large")
  }

  /// Opens the model, its tokenizer, and reads eight tokens; returns the number of logits.
  @discardableResult private func run(_ path: String) throws -> Int {
    let model = try Model(reading: path)
    let tokenizer = try Tokenizer.forModel(at: path)
    let ids = try tokenizer.encode("It was the best of times") + [1, 2, 3, 4, 5, 6, 7, 8]
    let vocabulary = Int32(model.configuration.vocabularySize)
    let tokens = ids.prefix(8).map { $0 % vocabulary }
    let inference = Inference(model, team: team)
    try inference.checkTokens(tokens)
    let cache = inference.makeCache()
    let first = inference.logits(after: tokens, cache: cache)
    return max(first.count, inference.logits(after: [tokens[0]], cache: cache).count)
  }

  private func write(_ bytes: [UInt8], _ path: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }

  /// The most memory the process has held, in bytes.
  private static var peakMemory: Int {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM") })
    else { return 0 }
    return (Int(line.filter(\.isNumber)) ?? 0) << 10
  }

  /// What stands for a number or a member of the description of one weight, and must be refused.
  private static let lies: [(key: String, json: String)] = [
    ("group_size", "9223372036854775807"), ("group_size", "4294967296"), ("group_size", "0"),
    ("group_size", "-1"),
    ("bits", "0"), ("bits", "9"), ("bits", "4.5"), ("bits", "\"4\""), ("encoding", "\"stored\""),
    ("encoding", "\"pyramid\""), ("encoding", "7"), ("group_index", "true"), ("group_index", "3"),
    ("symmetric", "true"),
    ("rows", "2147483647"), ("columns", "2147483647"), ("rows", "0"), ("rows", "-64"), ("rows", "1e30"),
    ("columns", "65"), ("columns", "9223372036854775807"),
  ]

  @Test("descriptions of encodings that lie are refused in words", arguments: lies.indices)
  func description(index: Int) throws {
    let sample = try #require(HostileSample.all.first { $0.testDescription == "native" })
    let folder = NSTemporaryDirectory() + "lathe-hostile-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (name, bytes) in sample.files { try write(bytes, folder + "/" + name) }
    let (key, json) = Self.lies[index]
    let text = String(decoding: sample.files["config.json"] ?? [], as: UTF8.self)
    // The first description with the key: a weight of 4 bits in groups of 32, or one that follows it.
    let start = try #require(text.range(of: "q_proj.weight"))
    let name = try #require(text.range(of: "\"\(key)\" : ", range: start.upperBound..<text.endIndex))
    let end = try #require(text[name.upperBound...].firstIndex { ",\n}".contains($0) })
    try write(Array((text[..<name.upperBound] + json + text[end...]).utf8), folder + "/config.json")
    let problem = #expect(throws: Problem.self) { try run(folder) }
    #expect(problem?.kind == .badData || problem?.kind == .usage, "\(String(describing: problem))")
  }

  @Test("nesting without end is refused in words", arguments: ["config.json", "tokenizer_config.json"])
  func nesting(name: String) throws {
    let sample = try #require(HostileSample.all.first)
    let folder = NSTemporaryDirectory() + "lathe-hostile-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (file, bytes) in sample.files { try write(bytes, folder + "/" + file) }
    for opening in ["[", "{\"a\":"] {
      try write(Array(("{\"a\":" + String(repeating: opening, count: 200_000)).utf8), folder + "/" + name)
      #expect(throws: Problem.self) { try run(folder) }
    }
  }

  @Test("a pipe or a device is refused at once", arguments: ["pipe", "/dev/zero", "/dev/null", "/dev/tty"])
  func devices(name: String) throws {
    let path = name.hasPrefix("/") ? name : NSTemporaryDirectory() + "lathe-\(UUID().uuidString)"
    if !name.hasPrefix("/") { try #require(mkfifo(path, 0o600) == 0) }
    defer { if !name.hasPrefix("/") { unlink(path) } }
    for open in [
      { _ = try Model(reading: path) }, { _ = try Tokenizer.forModel(at: path) },
      { _ = try Bytes(mapping: path) },
    ] {
      #expect(throws: Problem.self) { try open() }
    }
  }
}
