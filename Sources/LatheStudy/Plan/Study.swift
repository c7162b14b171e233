internal import LatheEncoding
public import LatheEvaluate
public import LatheQuantize

/// A plan: every model under every recipe, each measured by every measure.
public struct Study: Codable, Hashable, Sendable {
  /// The name, from which the run directory has its own.
  public var name: String
  /// The headline of the report.
  public var title: String
  /// A paragraph beneath it.
  public var summary: String?
  /// The models.
  public var models: [StudyModel]
  /// The text recipes are calibrated on.
  public var calibration: CalibrationText?
  /// The recipes; the unquantized original is always there as well.
  public var recipes: [StudyRecipe]
  /// What is measured.
  public var measures: [Measure]
  /// Whether quantized models are kept after they are measured.
  public var keepsModels: Bool
  /// What a publication says of the same recipes.
  public var published: PublishedFigures?
}

/// A model of a plan.
public struct StudyModel: Codable, Hashable, Sendable {
  /// Where it lies.
  public var path: String
  /// Its name in tables.
  public var label: String
  /// A tokenizer apart from the model.
  public var tokenizer: String?
}

/// A recipe of a plan, and what tables and charts call it.
public struct StudyRecipe: Codable, Hashable, Sendable {
  /// The name of the row.
  public var label: String
  /// The line of a chart it is a point of: all that it is but its bits.
  public var family: String
  /// What to do.
  public var recipe: Recipe
  /// The options of `lathe quantize` that say the same; nil where none do.
  public var options: String?

  /// The bits of a code where all rules agree.
  public var nominalBits: Double? {
    let bits = Set(recipe.rules.map(\.storage.nominalBits))
    return bits.count == 1 ? bits.first : nil
  }
}

/// Something to measure of each model.
public enum Measure: Codable, Hashable, Sendable {
  /// Perplexity on a text, and perhaps the divergence from the original.
  case perplexity(PerplexityMeasure)
  /// How fast it reads and writes.
  case speed(SpeedMeasure)
  /// What it can do.
  case task(TaskMeasure)

  /// The name that makes two figures comparable.
  public var protocolName: String {
    switch self {
    case .perplexity(let measure): measure.protocolName
    case .task(let measure): measure.protocolName
    case .speed(let measure): "speed-\(measure.prompt)-\(measure.generate)"
    }
  }
}

/// Perplexity on a text.
public struct PerplexityMeasure: Codable, Hashable, Sendable {
  /// Where the text comes from.
  public enum Text: Codable, Hashable, Sendable {
    /// A named protocol's corpus.
    case named(String)
    /// The original model writes it.
    case selfWritten(seed: UInt64)
    /// A file.
    case file(String)
  }

  /// The text.
  public var text: Text
  /// The tokens in a window; a named protocol has its own.
  public var window: Int
  /// Where a file's windows begin a sequence.
  public var beginning: PerplexityProtocol.Beginning
  /// The number of windows at most.
  public var windows: Int?
  /// Whether the divergence from the original is measured too.
  public var measuresDivergence: Bool

  /// Whether the original model wrote the text.
  public var isSelfWritten: Bool {
    if case .selfWritten = text { true } else { false }
  }

  /// The number of windows of a text that the model writes.
  var selfWrittenWindows: Int { windows ?? 32 }

  /// The protocol's name: figures under different names are not comparable.
  public var protocolName: String {
    let limited = windows.map { " (first \($0) windows)" } ?? ""
    switch text {
    case .named(let name): return name + limited
    case .selfWritten(let seed): return "self-\(window)-seed-\(seed)"
    case .file(let path):
      return "text-\(window)-bos-\(beginning.rawValue) \(path.split(separator: "/").last ?? "")\(limited)"
    }
  }
}

/// Speed of reading and writing.
public struct SpeedMeasure: Codable, Hashable, Sendable {
  /// The tokens read.
  public var prompt: Int
  /// The tokens written.
  public var generate: Int
  /// How often, after one run to warm up.
  public var repetitions: Int
}
