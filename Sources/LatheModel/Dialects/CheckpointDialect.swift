public import LatheFormats
public import LatheTensor

/// A convention of describing a model in files: which names, which configuration, which extra tensors.
///
/// One conforming type per file in `Dialects/`.
public protocol CheckpointDialect: Sendable {
  /// The name users see.
  static var name: String { get }

  /// Whether the checkpoint at `path` follows this convention.
  static func recognises(_ checkpoint: Checkpoint, at path: String) -> Bool

  /// The model; weights stay in the mapped file.
  ///
  /// - Throws: `Problem` saying what the file lacks or what is not supported.
  static func model(from checkpoint: Checkpoint, at path: String) throws(Problem) -> Model
}

/// Every convention. A new one is one file and one line here.
public enum DialectCatalog {
  /// The conventions, in the order they are asked.
  public static let all: [any CheckpointDialect.Type] = [
    NativeDialect.self, HuggingFaceDialect.self, GGUFDialect.self, Llama2CDialect.self,
  ]
}

extension Model {
  /// Reads the model at `path`: a folder with `config.json`, a `.gguf` file, a llama2.c checkpoint, or a folder that
  /// `quantize` wrote.
  ///
  /// Weights are mapped: opening costs the headers alone.
  /// - Throws: `Problem` saying what is missing, damaged or not supported.
  public init(reading path: String) throws(Problem) {
    do throws(Problem) {
      let checkpoint = try Checkpoint(reading: path)
      guard let dialect = DialectCatalog.all.first(where: { $0.recognises(checkpoint, at: path) }) else {
        throw Problem(
          .badData, "a \(checkpoint.format) file without a model's description",
          cure: "name the folder that holds config.json")
      }
      self = try dialect.model(from: checkpoint, at: path)
      try validate()
    } catch {
      throw error.located(at: path)
    }
  }
}
