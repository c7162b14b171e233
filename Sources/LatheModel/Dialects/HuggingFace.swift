import Foundation
public import LatheFormats
public import LatheTensor

/// A folder with `config.json` and safetensors, as Hugging Face transformers writes it.
public enum HuggingFaceDialect: CheckpointDialect {
  public static let name = "Hugging Face"

  public static func recognises(_ checkpoint: Checkpoint, at path: String) -> Bool {
    checkpoint.format == Safetensors.name && FileManager.default.fileExists(atPath: path + "/config.json")
  }

  public static func model(from checkpoint: Checkpoint, at path: String) throws(Problem) -> Model {
    let json = try JSONObject(reading: path + "/config.json")
    if let method = json.object("quantization_config")?.text("quant_method") {
      throw Problem(
        .badData, "the weights are already quantized by \"\(method)\", which is not read yet", at: path,
        cure: "name the original model")
    }
    let (architecture, configuration) = try configuration(from: json) { checkpoint[$0] != nil }
    return try checkpoint.model(architecture, configuration, names: architecture.tensorNames) {
      (name) throws(Problem) in try checkpoint.matrix(name)
    }
  }

  /// The architecture and sizes that a `config.json` describes.
  ///
  /// - Parameter hasTensor: whether there is a tensor of a name: of a head, where the file does not say.
  /// - Throws: `Problem` of kind `badData` naming the key.
  static func configuration(from json: JSONObject, hasTensor: (String) -> Bool) throws(Problem) -> (
    Architecture, Configuration
  ) {
    let type = try json.required("model_type", json.text("model_type"))
    guard let architecture = Architecture.named(type) else {
      let known = Architecture.all.flatMap(\.names).sorted().joined(separator: ", ")
      throw Problem(
        .badData, "model_type \"\(type)\" is not supported", at: json.place, cure: "supported are \(known)")
    }
    let tied = !hasTensor(architecture.tensorNames.head + ".weight")
    return (architecture, try architecture.configurationKeys.read(json, tied))
  }
}
