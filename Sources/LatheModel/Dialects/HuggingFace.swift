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
    let (architecture, configuration) = try configuration(
      from: json, tied: checkpoint["lm_head.weight"] == nil)
    return try checkpoint.model(architecture, configuration, names: architecture.tensorNames) {
      (name) throws(Problem) in try checkpoint.matrix(name)
    }
  }

  /// The architecture and sizes that a `config.json` describes.
  ///
  /// - Parameter tied: whether the embedding is the head where the file does not say.
  /// - Throws: `Problem` of kind `badData` naming the key.
  static func configuration(from json: JSONObject, tied: Bool) throws(Problem) -> (
    Architecture, Configuration
  ) {
    let type = try json.required("model_type", json.text("model_type"))
    guard let architecture = Architecture.named(type) else {
      let known = Architecture.all.flatMap(\.names).sorted().joined(separator: ", ")
      throw Problem(
        .badData, "model_type \"\(type)\" is not supported", at: json.place, cure: "supported are \(known)")
    }
    if let activation = json.text("hidden_act"), activation != "silu" {
      throw Problem(
        .badData, "the activation \"\(activation)\" is not supported", at: json.place,
        cure: "supported is silu")
    }
    let hidden = try json.required("hidden_size", json.integer("hidden_size"))
    let heads = try json.required("num_attention_heads", json.integer("num_attention_heads"))
    guard heads > 0 else { throw Problem(.badData, "num_attention_heads is \(heads)", at: json.place) }
    let configuration = Configuration(
      hiddenSize: hidden, layers: try json.required("num_hidden_layers", json.integer("num_hidden_layers")),
      heads: heads,
      keyValueHeads: json.integer("num_key_value_heads") ?? heads,
      headDimension: json.integer("head_dim") ?? hidden / heads,
      feedForwardSize: try json.required("intermediate_size", json.integer("intermediate_size")),
      vocabularySize: try json.required("vocab_size", json.integer("vocab_size")),
      contextLength: json.integer("max_position_embeddings") ?? 2048,
      normEpsilon: Float(json.number("rms_norm_eps") ?? 1e-6), rotary: try rotary(from: json),
      // transformers' LLaMA takes an absent key as false; a missing head then would be an error there too.
      tiesEmbeddings: json.flag("tie_word_embeddings") ?? tied)
    return (architecture, configuration)
  }

  /// Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
  private static func rotary(from json: JSONObject) throws(Problem) -> RotaryConfiguration {
    let parameters = json.object("rope_parameters")
    let scaling = parameters ?? json.object("rope_scaling")
    let base = parameters?.number("rope_theta") ?? json.number("rope_theta") ?? 10000
    if let partial = json.number("partial_rotary_factor") ?? parameters?.number("partial_rotary_factor"),
      partial != 1
    {
      throw Problem(.badData, "a partial_rotary_factor of \(partial) is not supported", at: json.place)
    }
    var rotary = RotaryConfiguration(base: Float(base), pairing: .halves)
    guard let scaling else { return rotary }
    switch scaling.text("rope_type") ?? scaling.text("type") ?? "default" {
    case "default": break
    case "linear":
      rotary.scaling = .linear(factor: Float(try scaling.required("factor", scaling.number("factor"))))
    case "llama3":
      rotary.scaling = .llama3(
        factor: Float(try scaling.required("factor", scaling.number("factor"))),
        lowFactor: Float(try scaling.required("low_freq_factor", scaling.number("low_freq_factor"))),
        highFactor: Float(try scaling.required("high_freq_factor", scaling.number("high_freq_factor"))),
        originalContext: try scaling.required(
          "original_max_position_embeddings", scaling.integer("original_max_position_embeddings")))
    case "factors":
      rotary.scaling = .factors(try scaling.required("factors", scaling.numbers("factors")).map(Float.init))
    case let other:
      throw Problem(
        .badData, "the rotary scaling \"\(other)\" is not supported", at: json.place,
        cure: "supported are default, linear, llama3")
    }
    return rotary
  }
}
