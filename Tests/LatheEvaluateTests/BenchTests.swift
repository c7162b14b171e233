import LatheEncoding
import LatheEvaluate
import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

@Suite struct BenchTests {
  static let model = TestData.packageFolder + "/Models/novella-6m"

  static let lists: [(String, [Int])] = [
    ("512", [512]), ("0", [0]), ("128,512", [128, 512]), ("1-4", [1, 2, 3, 4]), ("3-3", [3]),
    ("1-16+5", [1, 6, 11, 16]), ("1-15+5", [1, 6, 11]), ("128-2048*4", [128, 512, 2048]),
    ("128-2047*4", [128, 512]), ("0-2,8,16-64*2", [0, 1, 2, 8, 16, 32, 64]), ("7,7", [7, 7]),
  ]

  @Test("lists and ranges", arguments: lists)
  func list(text: String, values: [Int]) throws {
    #expect(try ValueList.values(of: text, for: "prompt", in: 0...4096) == values)
  }

  static let wrong = [
    "", "x", "1,", ",1", "-1", "1-", "1-x", "4-2", "1-4+0", "1-4*1", "1-4*0", "0-4*2", "1-2-3", "1-4+", "1.5",
    "4097", "1-5000", "0-4000", "99999999999999999999", "1-99999999999", " 1", "1-4+2*2",
  ]

  @Test("what is no list gets a sentence", arguments: wrong)
  func refused(text: String) {
    let problem = #expect(throws: Problem.self) {
      try ValueList.values(of: text, for: "prompt", in: 0...4096)
    }
    #expect(problem?.kind == .usage && problem?.what.contains("--prompt") == true)
  }

  @Test("a sweep is every combination of its lists")
  func combinations() throws {
    let sweep = try BenchSweep(
      ["prompt": "8,16", "generate": "0,4", "threads": "1,2", "depth": "0-8+4"], repetitions: 2)
    #expect(sweep.combinations == [1, 2].flatMap { threads in [0, 4, 8].map { [threads, 1, 1, 1, $0] } })
    #expect(sweep.tests == [.prompt(8), .prompt(16), .generate(4)])
    #expect(sweep.total(models: 2) == 2 * 6 * 3 * 2 && !sweep.isSingle)
    let plain = try BenchSweep([:], repetitions: 1)
    #expect(plain.isSingle && plain.tests == [.prompt(512), .generate(128)])
    #expect(throws: Problem.self) { try BenchSweep(["prompt": "0", "generate": "0"], repetitions: 1) }
    #expect(throws: Problem.self) { try BenchSweep([:], repetitions: 0) }
    #expect(throws: Problem.self) { try BenchSweep(["prompt": "1-999", "threads": "1-20"], repetitions: 1) }
  }

  @Test("rows have the columns their headings name")
  func rows() throws {
    let sweep = try BenchSweep(
      ["prompt": "8", "generate": "2", "threads": "1", "depth": "0,5"], repetitions: 3, streamBytes: 32 << 20)
    var rows: [BenchRow] = []
    try sweep.run(at: Self.model, progress: { _ in }, row: { rows.append($0) })
    #expect(rows.count == 4)
    let heading = rows[0].csvHeading(version: "1").split(separator: ",").map(String.init)
    #expect(Set(heading).isSuperset(of: BenchDimension.all.map(\.key)))
    #expect(Set(heading).count == heading.count)
    for row in rows {
      #expect(row.rates.count == 3 && row.rates.allSatisfy { $0 > 0 })
      let fields = row.csv(version: "1").split(separator: ",", omittingEmptySubsequences: false)
      #expect(fields.count == heading.count)
      let lines = (BenchRow.markdownHeading(sweep) + "\n" + row.markdown(sweep)).split(separator: "\n")
      #expect(Set(lines.map { $0.count }).count == 1 && lines[0].count <= 80, "\(lines)")
    }
    #expect(
      rows.map { $0.object(version: "1")["test"] }
        == ["pp8", "tg2", "pp8 @ d5", "tg2 @ d5"].map { .text($0) })
    // A share is bytes a token × tokens a second over the streaming rate; a prompt has none.
    let share = try #require(rows[1].streamShare)
    #expect(
      abs(share * rows[1].streamRate / Double(rows[1].bytesPerToken) - rows[1].rates.median) < 1e-6
        * rows[1].rates.median)
    #expect(rows[0].streamShare == nil)
    let joined = BenchRow.object(joining: Array(rows[..<2]), version: "1")
    for key in ["prefill_tokens_per_second", "decode_tokens_per_second", "file_bytes", "kernel", "threads"] {
      #expect(joined[key] != nil, "\(key)")
    }
  }

  @Test("the groups of a roofline are the whole model, and their times the whole step")
  func roofline() throws {
    let sweep = try BenchSweep(["threads": "1", "depth": "16"], repetitions: 1, streamBytes: 32 << 20)
    let roofline = try sweep.roofline(at: Self.model, tokens: 8)
    let model = try Model(reading: Self.model), all = try #require(roofline.lines.last)
    let weights = model.weightBytesPerToken.values.reduce(0, +)
    // The embedding is the head: it is read whole, and one row of it again.
    #expect(weights == model.byteCount + model.embedding.byteCount / model.embedding.rows)
    let c = model.configuration
    #expect(all.bytes == Double(weights) + 20 * Double(2 * c.layers * c.keyValueWidth * 2))
    #expect(roofline.lines.allSatisfy { $0.taken > 0 && $0.bytes > 0 })
    #expect(roofline.text.split(separator: "\n").allSatisfy { $0.count <= 80 })
  }

  @Test("means and deviations")
  func statistics() {
    #expect([3, 1, 2].median == 2 && [4, 1, 2, 3].median == 2.5 && [Double]().median == 0)
    #expect([2, 4, 4, 4, 5, 5, 7, 9].mean == 5 && [1].deviation == 0)
    #expect(abs([2, 4, 4, 4, 5, 5, 7, 9].deviation - (32.0 / 7).squareRoot()) < 1e-12)
  }
}
