public import LatheEncoding

/// A method or a transform: what has a card, published defaults, and options that are its stored properties.
public protocol Configurable: Codable, Hashable, Sendable {
  /// How it is named, cited and explained.
  static var card: MethodCard { get }
  /// Its published defaults.
  init()
  /// The grid its paper uses, where that is not four bits with a zero point for each 128. The default is nil.
  static var grid: GridRequest? { get }
}

extension Configurable {
  public static var grid: GridRequest? { nil }
}

/// How a method or a transform is named, cited and explained: in `--help`, in the documentation and in reports.
public struct MethodCard: Hashable, Sendable {
  /// The name on the command line.
  public let name: String
  /// The name in prose.
  public let title: String
  /// Where it was published.
  public let paper: String
  /// One sentence.
  public let summary: String
  /// What each option does, by name.
  public let options: [String: String]

  /// A card of the given texts.
  public init(name: String, title: String, paper: String, summary: String, options: [String: String] = [:]) {
    (self.name, self.title, self.paper, self.summary, self.options) = (name, title, paper, summary, options)
  }
}
