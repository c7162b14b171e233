import Foundation
import LatheStudy
import LatheTensor
import Testing

@Suite struct RunTests {
  @Test func aSecondRunComputesNothing() throws {
    try TinyStudy.inFolder { folder in
      let study = try TinyStudy.study(TinyStudy.plan(bits: "4"))
      #expect(try TinyStudy.run(study, in: folder) == 9)
      let before = try TinyStudy.results(in: folder)
      #expect(
        try TinyStudy.run(study, in: folder) { (event) throws(Problem) in
          if case .began = event { throw Problem(.internal, "a finished cell began again") }
        } == 0)
      let after = try TinyStudy.results(in: folder)
      #expect(before.rows.map(\.scores) == after.rows.map(\.scores))
      #expect(after.finishedCells == 9)
    }
  }

  /// Ended at every event in turn, a run comes to the figures of one that never was.
  @Test func aKilledRunContinues() throws {
    let measures = "  - perplexity: {text: self, window: 64, windows: 3, seed: 2, divergence: true}"
    let study = try TinyStudy.study(TinyStudy.plan(bits: "3", measures: measures))
    let whole = try TinyStudy.inFolder { folder in
      try TinyStudy.run(study, in: folder)
      return try TinyStudy.results(in: folder)
    }
    try TinyStudy.inFolder { folder in
      var done = 0, kills = 0, isFinished = false
      while !isFinished {
        var events = 0
        do throws(Problem) {
          done += try TinyStudy.run(study, in: folder) { (event) throws(Problem) in
            events += 1
            if events == 7 { throw Problem(.tryAgain, "killed") }
          }
          isFinished = true
        } catch {
          #expect(error.what == "killed")
          kills += 1
          try #require(kills < 60)
        }
      }
      #expect(kills > 2)
      let resumed = try TinyStudy.results(in: folder)
      #expect(resumed.finishedCells == 6)
      for (a, b) in zip(whole.rows, resumed.rows) {
        #expect(a.scores.map(\.value) == b.scores.map(\.value))
        #expect(a.weights.map(\.weightError) == b.weights.map(\.weightError))
        #expect(a.weights.map(\.outputError) == b.weights.map(\.outputError))
      }
    }
  }

  @Test func anotherPlanAddsToTheSameDirectory() throws {
    try TinyStudy.inFolder { folder in
      let measures = "  - perplexity: {text: self, window: 64, windows: 2, seed: 2}"
      try TinyStudy.run(try TinyStudy.study(TinyStudy.plan(bits: "4", measures: measures)), in: folder)
      let second = try TinyStudy.study(TinyStudy.plan(bits: "3", measures: measures))
      // The original's two cells are there already.
      #expect(try TinyStudy.run(second, in: folder) == 4)
      let results = try TinyStudy.results(in: folder)
      #expect(results.rows.map(\.isCurrent) == [true, true, true, false, false])
      #expect(results.rows.map(\.variant.label).prefix(3) == ["original", "rtn int3 g128", "gptq int3 g128"])
      #expect(try HTMLReport.text(of: results).contains("of an earlier plan"))
      // A damaged text is written anew.
      let texts = try FileManager.default.contentsOfDirectory(atPath: folder + "/texts")
      for name in texts { try AtomicFile.write("nonsense", to: folder + "/texts/" + name) }
      let third = try TinyStudy.study(TinyStudy.plan(bits: "2", measures: measures, more: "keep: false"))
      #expect(try TinyStudy.run(third, in: folder) == 4)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/models").count == 4)
    }
  }

  @Test func aForeignDirectoryIsRefused() throws {
    try TinyStudy.inFolder { folder in
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try AtomicFile.write("mine", to: folder + "/diary.txt")
      let problem = #expect(throws: Problem.self) { try RunFolder(at: folder) }
      #expect(problem?.kind == .cannotCreate)
    }
  }

  @Test func twoProcessesDoNotShareADirectory() throws {
    try TinyStudy.inFolder { folder in
      let first = try RunFolder(at: folder)
      let problem = #expect(throws: Problem.self) { try RunFolder(at: folder) }
      #expect(problem?.kind == .tryAgain)
      #expect(first.path == folder)
    }
  }

  @Test func aDamagedDatabaseIsNamed() throws {
    try TinyStudy.inFolder { folder in
      try TinyStudy.run(
        try TinyStudy.study(
          TinyStudy.plan(bits: "4", measures: "  - speed: {prompt: 2, generate: 2, repetitions: 1}")),
        in: folder)
      let path = RunFolder.database(in: folder)
      let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
      // Cut short, overwritten at several places, replaced: a sentence or sound results, never a trap.
      var damaged: [[UInt8]] = [
        Array(bytes.prefix(bytes.count / 2)), Array("not a database, ".utf8) + bytes, [1, 2, 3],
      ]
      for start in stride(from: 0, to: bytes.count, by: 3001) {
        var copy = bytes
        for i in start..<min(start + 400, copy.count) { copy[i] = UInt8(truncatingIfNeeded: i &* 37) }
        damaged.append(copy)
      }
      var refused = 0
      for content in damaged {
        try Data(content).write(to: URL(fileURLWithPath: path))
        do throws(Problem) {
          _ = try TinyStudy.results(in: folder)
        } catch {
          #expect(error.kind == .badData, "\(error)")
          #expect(error.place == path)
          refused += 1
        }
      }
      #expect(refused >= 4)
      let missing = #expect(throws: Problem.self) { try ResultStore(existingAt: folder + "/none.sqlite") }
      #expect(missing?.kind == .noInput)
      let empty = #expect(throws: Problem.self) {
        try StudyResults(of: ResultStore(at: folder + "/new.sqlite"))
      }
      #expect(empty?.description.contains("holds no study") == true)
    }
  }
}
