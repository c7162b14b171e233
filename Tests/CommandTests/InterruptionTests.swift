import Foundation
import LatheTestSupport
import Testing

/// A run that is killed continues where it was, and gives the same bytes.
@Suite struct InterruptionTests {
  private static func arguments(
    _ model: String = Sample.model, bits: Int = 3, seed: Int = 1, out: String, format: String = "native"
  ) throws -> [String] {
    [
      "quantize", model, out, "--method", "gptq", "--bits", "\(bits)", "--calibration", try Sample.text(),
      "--samples", "8", "--length", "128", "--seed", "\(seed)", "--threads", "1", "--format", format,
    ]
  }

  /// The number of blocks the journal of the run at `out` names.
  private func finishedBlocks(_ out: String) -> Int {
    let journal = try? String(contentsOfFile: out + ".partial/journal.jsonl", encoding: .utf8)
    return journal?.split(separator: "\n").count ?? 0
  }

  /// Starts a run and ends it by `signal` once it has finished `blocks` blocks; whether it was caught in time.
  private func interrupt(_ arguments: [String], _ out: String, after blocks: Int, by signal: Int32) throws
    -> Bool
  {
    let command = try Command(arguments)
    while command.isRunning, finishedBlocks(out) < blocks { usleep(2000) }
    command.send(signal)
    let outcome = command.finish()
    #expect(outcome.output.isEmpty || !outcome.wasKilled)
    return outcome.wasKilled
  }

  private func weights(_ folder: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: folder)
    where name.hasSuffix(".safetensors") || name == "config.json" || name.hasSuffix(".index.json") {
      files[name] = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))
    }
    return files
  }

  @Test func killedRunsContinueToTheSameBytes() throws {
    let scratch = try Scratch()
    let whole = scratch.path("whole"), out = scratch.path("out")
    #expect(try Command.run(Self.arguments(out: whole)).status == 0)
    for blocks in [1, 2, 4] {
      try #require(try interrupt(Self.arguments(out: out), out, after: blocks, by: SIGKILL))
      #expect(!FileManager.default.fileExists(atPath: out))
    }
    let last = try Command.run(Self.arguments(out: out))
    #expect(last.status == 0 && last.errors.contains("continuing after"), "\(last.errors)")
    let (expected, found) = (try weights(whole), try weights(out))
    #expect(expected.count == 9 && found.keys.sorted() == expected.keys.sorted())
    for (name, bytes) in expected { #expect(found[name] == bytes, "\(name) differs") }
    #expect(scratch.names == ["out", "whole"])
    let names = try FileManager.default.contentsOfDirectory(atPath: out)
    #expect(!names.contains { $0.hasSuffix(".tmp") || $0.hasPrefix("stream-") })
  }

  @Test func anotherRequestIsRefused() throws {
    let scratch = try Scratch()
    let out = scratch.path("out")
    try #require(try interrupt(Self.arguments(out: out), out, after: 1, by: SIGTERM))
    #expect(scratch.names == ["out.partial"])
    let trained = scratch.path("trained")
    _ = try scratch.copy(Sample.model, to: "trained")
    let file = URL(fileURLWithPath: trained + "/model.safetensors")
    var bytes = try Data(contentsOf: file)
    bytes[bytes.count - 2] ^= 1
    try bytes.write(to: file)
    let others = [
      (try Self.arguments(bits: 4, out: out), "\"bits\":3"),
      (try Self.arguments(seed: 2, out: out), "seed 1"),
      (try Self.arguments(trained, out: out), "another model"),
    ]
    for (arguments, difference) in others {
      let outcome = try Command.run(arguments)
      #expect(outcome.status == 73 && outcome.sentence.hasPrefix("lathe: "), "\(outcome)")
      #expect(outcome.sentence.contains(difference), "\(outcome.errors)")
    }
    #expect(finishedBlocks(out) > 0)
  }

  @Test("signals leave nothing half-written", arguments: [SIGINT, SIGTERM], ["native", "gguf"])
  func signals(signal: Int32, format: String) throws {
    let scratch = try Scratch()
    let out = scratch.path("out")
    let arguments = try Self.arguments(bits: 4, out: out, format: format)
    try #require(try interrupt(arguments, out, after: 1, by: signal))
    #expect(scratch.names == ["out.partial"])
  }

  @Test("a damaged journal or stream costs blocks, never the run")
  func damage() throws {
    let scratch = try Scratch()
    let out = scratch.path("out")
    try #require(try interrupt(Self.arguments(out: out), out, after: 2, by: SIGKILL))
    let work = out + ".partial/"
    let journal = try String(contentsOfFile: work + "journal.jsonl", encoding: .utf8)
    try String(journal.dropLast(40)).write(toFile: work + "journal.jsonl", atomically: true, encoding: .utf8)
    for name in try FileManager.default.contentsOfDirectory(atPath: work) where name.hasPrefix("stream-") {
      try Data([1, 2, 3]).write(to: URL(fileURLWithPath: work + name))
    }
    let again = try Command.run(Self.arguments(out: out))
    #expect(again.status == 0, "\(again.errors)")
    try #require(try interrupt(Self.arguments(out: out + "2"), out + "2", after: 1, by: SIGKILL))
    try "{".write(toFile: out + "2.partial/fingerprint.json", atomically: true, encoding: .utf8)
    let damaged = try Command.run(Self.arguments(out: out + "2"))
    #expect(damaged.status == 65 && damaged.sentence.contains("damaged"), "\(damaged)")
  }
}
