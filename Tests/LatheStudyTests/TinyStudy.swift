import Foundation
import LatheStudy
import LatheTensor
import LatheTestSupport

/// A study of the embedded model that takes seconds.
enum TinyStudy {
  static let model = TestData.packageFolder + "/Models/novella-6m"

  static func plan(bits: String = "[4, 2]", measures: String? = nil, more: String = "") -> String {
    """
    name: tiny
    title: A tiny <study> & its "report"
    models:
      - {path: "\(model)", label: tiny}
    calibration: {text: self, samples: 2, length: 64, seed: 1}
    recipes:
      - {method: [rtn, gptq], bits: \(bits), group: 128}
    measures:
    \(measures ?? """
      - perplexity: {text: self, window: 64, windows: 3, seed: 2, divergence: true}
      - speed: {prompt: 8, generate: 4, repetitions: 2}
    """)
    \(more)
    """
  }

  static func study(_ text: String = plan()) throws(Problem) -> Study {
    try Study(text: text, folder: TestData.packageFolder)
  }

  /// A folder of its own for each test; removed by `body`'s end.
  static func inFolder<T>(_ body: (String) throws -> T) throws -> T {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "lathe-study-\(UUID().uuidString)"
    ).path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try body(folder)
  }

  /// Runs `study` in `folder`; returns the number of cells done.
  @discardableResult
  static func run(
    _ study: Study, in folder: String, report: @escaping (StudyEvent) throws(Problem) -> Void = { _ in }
  ) throws(Problem) -> Int {
    let run = try RunFolder(at: folder)
    let store = try ResultStore(at: RunFolder.database(in: folder))
    let options = RunOptions(threads: 2, version: "test", command: "lathe study tiny.yml")
    return try StudyRunner(study, in: run, store: store, options: options, report: report).run()
  }

  static func results(in folder: String) throws(Problem) -> StudyResults {
    try StudyResults(of: ResultStore(existingAt: RunFolder.database(in: folder)))
  }

  /// The results of one run, which all tests of reports share.
  static let shared = Result { () throws -> StudyResults in
    try inFolder { folder in
      try run(study(), in: folder)
      return try results(in: folder)
    }
  }
}
