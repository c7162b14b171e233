internal import Foundation
internal import LatheModel
internal import LatheTensor

/// A figure or a word of a result.
public enum BenchValue: Encodable, Hashable, Sendable {
  /// A word.
  case text(String)
  /// A whole number.
  case count(Int)
  /// A number.
  case number(Double)
  /// Objects.
  case list([[String: BenchValue]])

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .count(let count): try container.encode(count)
    case .number(let number): try container.encode(number)
    case .list(let list): try container.encode(list)
    }
  }

  /// As a field of CSV.
  var field: String {
    switch self {
    case .text(let text):
      text.contains { ",\"\n".contains($0) } ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    case .count(let count): "\(count)"
    case .number(let number): String(format: "%.6g", number)
    case .list: ""
    }
  }
}

/// The figures of one test.
public struct BenchRow: Sendable {
  /// The model's path.
  public let path: String
  /// The bytes of its files, and those of weights that one token reads.
  public let fileBytes, bytesPerToken: Int
  /// The tokens a second of each repetition.
  public let rates: [Double]
  /// The bytes a second that all threads together read from memory, beside the test.
  public let streamRate: Double
  /// From the start of reading the model to the first logits of its first test.
  public let firstTokenSeconds: Double
  /// The most memory held during the model's first test, in bytes.
  public let peakMemory: Int
  /// The weights whose inputs are not rounded, of all that are multiplied.
  public let withoutTiles: (count: Int, all: Int)
  private let parameters: Int
  private let bitsPerWeight: Double
  private let setting: Setting
  private let test: SpeedTest

  init(
    path: String, model: Model, fileBytes: Int, combination: [Int], test: SpeedTest, rates: [Double],
    streamRate: Double, firstTokenSeconds: Double, peakMemory: Int, withoutTiles: (count: Int, all: Int)
  ) {
    (self.path, self.fileBytes, self.rates) = (path, fileBytes, rates)
    (self.streamRate, self.firstTokenSeconds) = (streamRate, firstTokenSeconds)
    (self.peakMemory, self.test, self.withoutTiles) = (peakMemory, test, withoutTiles)
    (parameters, bitsPerWeight) = (model.parameterCount, model.bitsPerWeight)
    bytesPerToken = model.weightBytesPerToken.values.reduce(0, +)
    setting = Setting(combination)
  }

  /// The share of the streaming rate at which weights were read; nil where tokens share a read.
  public var streamShare: Double? {
    guard case .generate = test, streamRate > 0 else { return nil }
    return Double(bytesPerToken) * rates.median / Double(setting.texts(of: test)) / streamRate
  }

  /// What of the weights meets inputs as they are although rounding was asked for; nil where nothing does.
  public var exactWeights: String? {
    guard Activations.allCases[setting[.activations]] == .int8, withoutTiles.count > 0 else { return nil }
    return "\(withoutTiles.count) of \(withoutTiles.all) weights meet unrounded inputs"
  }

  /// The name of the file or folder.
  public var modelName: String {
    path.split(separator: "/").last.map(String.init) ?? path
  }

  // MARK: JSON and CSV

  /// What all tests of one model and combination share.
  private var common: [(key: String, value: BenchValue)] {
    [
      ("model", .text(path)), ("file_bytes", .count(fileBytes)), ("parameters", .count(parameters)),
      ("bits_per_weight", .number(bitsPerWeight)), ("weight_bytes_per_token", .count(bytesPerToken)),
    ]
      + zip(BenchDimension.all, setting.values).map { dimension, value in
        (dimension.key, dimension.words.isEmpty ? .count(value) : .text(dimension.text(value)))
      }
  }

  private func machine(_ version: String) -> [(key: String, value: BenchValue)] {
    [
      ("repetitions", .count(rates.count)), ("kernel", .text(Kernels.best.name)),
      ("first_token_seconds", .number(firstTokenSeconds)), ("peak_memory_bytes", .count(peakMemory)),
      ("weights_without_tiles", .count(withoutTiles.count)), ("weights", .count(withoutTiles.all)),
      ("processor", .text(Machine.processor)), ("cores", .count(Machine.cores)),
      ("memory_bytes", .count(Machine.memory)), ("system", .text(Machine.system)),
      ("version", .text(version)), ("build", .text(Machine.build)),
    ]
  }

  /// Every column of CSV and member of a JSON line, in order.
  public func fields(version: String) -> [(key: String, value: BenchValue)] {
    let tokens: (prompt: Int, generated: Int) =
      if case .prompt(let count) = test { (count, 0) } else { (0, test.tokens) }
    return common + [
      ("test", .text(setting.name(of: test))), ("prompt", .count(tokens.prompt)),
      ("generated", .count(tokens.generated)), ("tokens_per_second", .number(rates.mean)),
      ("deviation", .number(rates.deviation)), ("median", .number(rates.median)),
      ("stream_gigabytes_per_second", .number(streamRate / 1e9)),
      ("stream_share", streamShare.map { .number($0) } ?? .text("")),
    ] + machine(version)
  }

  /// The heading of CSV.
  public func csvHeading(version: String) -> String {
    fields(version: version).map(\.key).joined(separator: ",")
  }

  /// The row as CSV.
  public func csv(version: String) -> String {
    fields(version: version).map(\.value.field).joined(separator: ",")
  }

  /// The row as one JSON object.
  public func object(version: String) -> [String: BenchValue] {
    let present = fields(version: version).filter { $0.value != .text("") }
    return Dictionary(present.map { ($0.key, $0.value) }) { first, _ in first }
  }

  /// The rows of one model's two tests as one object: prefill and decode are medians.
  public static func object(joining rows: [BenchRow], version: String) -> [String: BenchValue] {
    guard let last = rows.last else { return [:] }
    var object = Dictionary((last.common + last.machine(version)).map { ($0.key, $0.value) }) { a, _ in a }
    for row in rows {
      let (name, tokens) = row.test.isPrompt ? ("prefill", "prompt") : ("decode", "generated")
      object[tokens] = .count(row.test.tokens)
      object[name + "_tokens_per_second"] = .number(row.rates.median)
      object[name + "_mean"] = .number(row.rates.mean)
      object[name + "_deviation"] = .number(row.rates.deviation)
      object[name + "_stream_gigabytes_per_second"] = .number(row.streamRate / 1e9)
      if let share = row.streamShare { object["stream_share"] = .number(share) }
    }
    object["stream_gigabytes_per_second"] = .number(last.streamRate / 1e9)
    return object
  }
}

extension BenchRow {
  // MARK: Markdown

  /// Dimensions that are worth a column: the threads, and what is not as usual.
  private static func shown(_ sweep: BenchSweep) -> [Int] {
    BenchDimension.all.indices.filter { index in
      let dimension = BenchDimension.all[index], values = sweep.values[index]
      // The depth stands in the test's name.
      if dimension == .depth { return false }
      return dimension == .threads || values.map(dimension.text) != [dimension.standard]
    }
  }

  private static let headings = ["test", "tokens/s", "median", "GB/s", "share"]
  private static let widths = [9, 16, 7, 5, 5]

  /// The two lines above a table's rows.
  public static func markdownHeading(_ sweep: BenchSweep) -> String {
    let dimensions = shown(sweep).map { BenchDimension.all[$0] }
    let cells = ["model"] + dimensions.map(\.title) + headings
    let lines = zip(cells.indices, widths(dimensions)).map { index, width in
      String(repeating: "-", count: index == 0 ? width : width - 1) + (index == 0 ? "" : ":")
    }
    return line(cells, dimensions) + "\n" + line(lines, dimensions)
  }

  /// The row of a table.
  public func markdown(_ sweep: BenchSweep) -> String {
    let dimensions = Self.shown(sweep)
    let words = dimensions.map { BenchDimension.all[$0].text(setting.values[$0]) }
    let figures = [
      setting.name(of: test), "\(Self.figure(rates.mean)) ± \(Self.figure(rates.deviation))",
      Self.figure(rates.median), String(format: "%.1f", streamRate / 1e9),
      streamShare.map { String(format: "%.0f%%", 100 * $0) } ?? "",
    ]
    let name = modelName.count > 14 ? modelName.prefix(6) + "…" + modelName.suffix(7) : modelName[...]
    return Self.line([String(name)] + words + figures, dimensions.map { BenchDimension.all[$0] })
  }

  private static func figure(_ value: Double) -> String {
    String(format: value >= 10_000 ? "%.0f" : value >= 1000 ? "%.1f" : "%.2f", value)
  }

  private static func widths(_ dimensions: [BenchDimension]) -> [Int] {
    [14]
      + dimensions.map { dimension in
        max(2, dimension.title.count, dimension.words.map(\.count).max() ?? 0)
      } + widths
  }

  private static func line(_ cells: [String], _ dimensions: [BenchDimension]) -> String {
    let padded = zip(cells, widths(dimensions)).enumerated().map { index, cell in
      let blank = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
      return index == 0 ? cell.0 + blank : blank + cell.0
    }
    return "| " + padded.joined(separator: " | ") + " |"
  }
}

extension SpeedTest {
  fileprivate var isPrompt: Bool { if case .prompt = self { true } else { false } }
}
