internal import LatheModel
public import LatheTensor

/// One thing a sweep varies. A new one is one entry of `all`, one option of `lathe bench`, and one use in `BenchSweep`.
public struct BenchDimension: Hashable, Sendable {
  /// The option's name.
  public let name: String
  /// The key in JSON and CSV.
  public let key: String
  /// The heading of its column.
  public let title: String
  /// The values' names, where they are none but these; empty for numbers.
  public let words: [String]
  /// What a number may be.
  public let allowed: ClosedRange<Int>
  /// What it is where nothing is said.
  public let standard: String

  private init(
    _ name: String, key: String? = nil, title: String, words: [String] = [], allowed: ClosedRange<Int>,
    standard: String
  ) {
    (self.name, self.key, self.title) = (name, key ?? name, title)
    (self.words, self.allowed, self.standard) = (words, allowed, standard)
  }

  /// A dimension whose values are names.
  private init(_ name: String, key: String? = nil, title: String, words: [String], standard: String) {
    self.init(
      name, key: key, title: title, words: words, allowed: 0...max(0, words.count - 1), standard: standard)
  }

  /// The tokens of a prompt; each is a test of its own.
  public static let prompt = BenchDimension(
    "prompt", title: "prompt", allowed: 0...1 << 20, standard: "512")
  /// The tokens to write; each is a test of its own.
  public static let generate = BenchDimension(
    "generate", key: "generated", title: "gen", allowed: 0...1 << 20, standard: "128")
  /// The tokens the cache holds before.
  public static let depth = BenchDimension("depth", title: "depth", allowed: 0...1 << 20, standard: "0")
  /// The threads.
  public static let threads = BenchDimension(
    "threads", title: "t", allowed: 1...256, standard: "\(ThreadTeam.hardwareCount)")
  /// How weights meet their inputs.
  public static let activations = BenchDimension(
    "activations", title: "act", words: Activations.allCases.map(\.rawValue), standard: "int8")
  /// How keys and values are held.
  public static let cacheType = BenchDimension(
    "cache-type", key: "cache_type", title: "cache", words: CacheType.allCases.map(\.rawValue),
    standard: "f16")
  /// The texts written together.
  public static let parallel = BenchDimension("parallel", title: "par", allowed: 1...256, standard: "1")

  /// Everything that is varied around a test, slowest first.
  public static let all: [BenchDimension] = [.threads, .activations, .cacheType, .parallel, .depth]

  /// The values of `text`; nil for what it is where nothing is said.
  ///
  /// - Throws: `Problem` of kind `usage` naming what is wrong.
  public func values(of text: String?) throws(Problem) -> [Int] {
    let text = text ?? standard
    if words.isEmpty { return try ValueList.values(of: text, for: name, in: allowed) }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map { (word) throws(Problem) in
      guard let index = words.firstIndex(of: String(word)) else {
        throw Problem(
          .usage, "--\(name) does not know \"\(word.prefix(40))\"",
          cure: "say \(words.joined(separator: ", "))")
      }
      return index
    }
  }

  /// A value as text.
  public func text(_ value: Int) -> String { words.indices.contains(value) ? words[value] : "\(value)" }
}
