import Foundation
import LatheTestSupport
import Testing

@Suite struct TaskCommandTests {
  private static let model = TestData.packageFolder + "/Models/novella-6m"

  private static func inFolder(_ body: (String) throws -> Void) throws {
    let folder = NSTemporaryDirectory() + "lathe-tasks-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let task = """
      {"task": "colours", "output": "multiple_choice", "data": {"validation": {"file": "colours.jsonl"}},
       "prompt": "The {{thing}} is", "choices": ["{{a}}", "{{b}}"], "target": "0", "metrics": ["acc", "acc_norm"]}
      """
    try Data(task.utf8).write(to: URL(fileURLWithPath: folder + "/colours.json"))
    let records = (0..<12).map { #"{"thing": "sky \#($0)", "a": "blue", "b": "red and green"}"# }
    try Data(records.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: folder + "/colours.jsonl"))
    try body(folder)
  }

  @Test("the table and the object have lm-eval's form, records are kept and compared")
  func evaluate() throws {
    try Self.inFolder { folder in
      let run = ["eval", Self.model, "--tasks", folder + "/colours.json", "--data", folder, "--threads", "2"]
      let table = try Command(run).finish()
      #expect(table.output.contains("|Tasks"))
      #expect(table.output.contains("|colours"))
      #expect(table.output.contains("|±  |"))
      #expect(table.widest.count <= 200)
      let object = try Command(run + ["--json", "--out", folder + "/a"]).finish().json()
      let results = try #require((object["results"] as? [String: [String: Any]])?["colours"])
      #expect(results["acc,none"] is Double && results["acc_stderr,none"] is Double)
      #expect(results["acc_norm,none"] is Double && (object["config"] as? [String: Any])?["model"] != nil)
      // The same command finds all answers; another folder gives equal ones.
      #expect(try Command(run + ["--out", folder + "/a"]).finish().status == 0)
      #expect(try Command(run + ["--out", folder + "/b"]).finish().status == 0)
      let compared = try Command(["compare", folder + "/a", folder + "/b", "--json"]).finish().json()
      let first = try #require((compared["comparisons"] as? [[String: Any]])?.first)
      #expect(first["difference"] as? Double == 0 && first["inside_noise"] as? Bool == true)
      let text = try Command(["compare", folder + "/a", folder + "/b"]).finish()
      #expect(
        text.output.split(separator: "\n").filter { !$0.hasPrefix("A ") && !$0.hasPrefix("B ") }.allSatisfy {
          $0.count <= 80
        })
    }
  }

  @Test("failures are sentences with their exit codes")
  func failures() throws {
    try Self.inFolder { folder in
      func run(_ arguments: [String]) throws -> Command.Outcome { try Command(arguments).finish() }
      let unknown = try run(["eval", Self.model, "--tasks", "nonsense", "--data", folder])
      #expect(unknown.status == 64 && unknown.sentence.contains("lathe tasks"))
      let missing = try run(["eval", Self.model, "--tasks", "piqa", "--data", folder])
      #expect(missing.status == 66 && missing.sentence.contains("https://"))
      let verify = try run(["data", "verify", "piqa", "--data", folder])
      #expect(verify.status == 66 && verify.output.contains("0 of 2"))
      #expect(try run(["data", "verify", "nothing", "--data", folder]).status == 64)
      #expect(try run(["data", "fetch", "arc", "--data", folder]).status == 66)
      #expect(try run(["data", "fetch", "piqa", "--data", folder, "--from", "ftp://x"]).status == 64)
      #expect(try run(["compare", folder, folder]).status == 66)
      #expect(try run(["eval", Self.model, "--tasks", "piqa", "--text", "x"]).status == 64)
      #expect(try run(["tasks", "--data", folder]).output.contains("missing"))
    }
  }

  @Test(
    "sets come from a server, checked by their digests",
    .enabled(if: TestData.isPresent && FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")))
  func fetch() throws {
    try Self.inFolder { folder in
      let port = Int.random(in: 20000...60000)
      let server = Process()
      server.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
      server.arguments = ["-m", "http.server", "\(port)", "--bind", "127.0.0.1", "-d", TestData.folder ?? ""]
      (server.standardOutput, server.standardError) = (FileHandle.nullDevice, FileHandle.nullDevice)
      try server.run()
      defer { server.terminate() }
      let address = "http://127.0.0.1:\(port)"
      var outcome: Command.Outcome?
      for _ in 0..<40 {
        outcome = try Command(["data", "fetch", "piqa", "--from", address, "--data", folder]).finish()
        if outcome?.status != 75 { break }
        usleep(250_000)
      }
      #expect(outcome?.status == 0, "\(outcome?.errors ?? "")")
      #expect(try Command(["data", "verify", "piqa", "--data", folder]).finish().status == 0)
      // A file that differs is told, and fetched again.
      try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/tasks/piqa/valid.jsonl"))
      #expect(try Command(["data", "verify", "piqa", "--data", folder]).finish().status == 65)
      #expect(
        try Command(["data", "fetch", "piqa", "--from", address, "--data", folder]).finish().status == 0)
      // A server that has something else changes nothing.
      let other = try Command(["data", "fetch", "boolq", "--from", address + "/tasks", "--data", folder])
        .finish()
      #expect(other.status == 66)
      #expect(!FileManager.default.fileExists(atPath: folder + "/tasks/boolq/boolq_val.jsonl"))
    }
  }
}
