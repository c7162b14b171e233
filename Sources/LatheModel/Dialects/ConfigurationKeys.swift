internal import LatheTensor

/// How an architecture's `config.json` describes its sizes: read, and written where a model comes from another kind of file.
struct ConfigurationKeys: Sendable {
  /// The sizes in a file; `tied` says whether the embedding is the head where the file does not.
  let read: @Sendable (JSONObject, _ tied: Bool) throws(Problem) -> Configuration
  /// The members that describe sizes, "model_type" aside.
  let write: @Sendable (Configuration) -> [String: Any]

  /// The keys of most models of transformers.
  static func common(_ className: String) -> ConfigurationKeys {
    ConfigurationKeys(
      read: { (json, tied) throws(Problem) in try configuration(from: json, tied: tied) },
      write: { members(of: $0).merging(["architectures": [className]]) { $1 } })
  }

  private static func configuration(from json: JSONObject, tied: Bool) throws(Problem) -> Configuration {
    if let activation = json.text("hidden_act"), activation != "silu" {
      throw Problem(
        .badData, "the activation \"\(activation)\" is not supported", at: json.place,
        cure: "supported is silu")
    }
    let hidden = try json.required("hidden_size", json.integer("hidden_size"))
    let heads = try json.required("num_attention_heads", json.integer("num_attention_heads"))
    guard heads > 0 else { throw Problem(.badData, "num_attention_heads is \(heads)", at: json.place) }
    return Configuration(
      hiddenSize: hidden, layers: try json.required("num_hidden_layers", json.integer("num_hidden_layers")),
      heads: heads,
      keyValueHeads: json.integer("num_key_value_heads") ?? heads,
      headDimension: json.integer("head_dim") ?? hidden / heads,
      feedForwardSize: try json.required("intermediate_size", json.integer("intermediate_size")),
      vocabularySize: try json.required("vocab_size", json.integer("vocab_size")),
      contextLength: json.integer("max_position_embeddings") ?? 2048,
      normEpsilon: Float(json.number("rms_norm_eps") ?? 1e-6), rotary: try rotary(from: json),
      // transformers' LLaMA takes an absent key as false; a missing head then would be an error there too.
      tiesEmbeddings: json.flag("tie_word_embeddings") ?? tied,
      attentionWindow: json.integer("sliding_window"))
  }

  private static func members(of c: Configuration) -> [String: Any] {
    var members: [String: Any] = [
      "hidden_size": c.hiddenSize, "num_hidden_layers": c.layers, "num_attention_heads": c.heads,
      "num_key_value_heads": c.keyValueHeads, "head_dim": c.headDimension,
      "intermediate_size": c.feedForwardSize,
      "vocab_size": c.vocabularySize, "max_position_embeddings": c.contextLength, "hidden_act": "silu",
      "rms_norm_eps": Double(c.normEpsilon), "tie_word_embeddings": c.tiesEmbeddings,
      "rope_parameters": members(of: c.rotary),
    ]
    members["sliding_window"] = c.attentionWindow
    return members
  }
}

// MARK: Rotation

extension ConfigurationKeys {
  /// Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
  static func rotary(from json: JSONObject) throws(Problem) -> RotaryConfiguration {
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
    func float(_ key: String) throws(Problem) -> Float {
      Float(try scaling.required(key, scaling.number(key)))
    }
    func floats(_ key: String) throws(Problem) -> [Float] {
      try scaling.required(key, scaling.numbers(key)).map(Float.init)
    }
    switch scaling.text("rope_type") ?? scaling.text("type") ?? "default" {
    case "default": break
    case "linear": rotary.scaling = .linear(factor: try float("factor"))
    case "llama3":
      rotary.scaling = .llama3(
        factor: try float("factor"), lowFactor: try float("low_freq_factor"),
        highFactor: try float("high_freq_factor"),
        originalContext: try scaling.required(
          "original_max_position_embeddings", scaling.integer("original_max_position_embeddings")))
    case "factors": rotary.scaling = .factors(try floats("factors"))
    case "longrope", "su":
      let key = "original_max_position_embeddings"
      let original = try json.required(key, scaling.integer(key) ?? json.integer(key))
      let stretch =
        scaling.number("factor") ?? Double(json.integer("max_position_embeddings") ?? 0) / Double(original)
      rotary.scaling = .long(
        LongRotary(
          short: try floats("short_factor"), long: try floats("long_factor"), originalContext: original,
          attentionFactor: scaling.number("attention_factor").map(Float.init)
            ?? LongRotary.attentionFactor(stretch: stretch, originalContext: original)))
    case let other:
      throw Problem(
        .badData, "the rotary scaling \"\(other)\" is not supported", at: json.place,
        cure: "supported are default, linear, llama3, longrope")
    }
    return rotary
  }

  /// The member `rope_parameters`.
  static func members(of rotary: RotaryConfiguration) -> [String: Any] {
    var members: [String: Any] = ["rope_theta": Double(rotary.base), "rope_type": "default"]
    switch rotary.scaling {
    case .none: break
    case .linear(let factor):
      members["rope_type"] = "linear"
      members["factor"] = Double(factor)
    case .llama3(let factor, let low, let high, let context):
      members["rope_type"] = "llama3"
      members["factor"] = Double(factor)
      members["low_freq_factor"] = Double(low)
      members["high_freq_factor"] = Double(high)
      members["original_max_position_embeddings"] = context
    case .factors(let factors):
      members["rope_type"] = "factors"
      members["factors"] = factors.map(Double.init)
    case .long(let long):
      members["rope_type"] = "longrope"
      members["short_factor"] = long.short.map(Double.init)
      members["long_factor"] = long.long.map(Double.init)
      members["attention_factor"] = Double(long.attentionFactor)
      members["original_max_position_embeddings"] = long.originalContext
    }
    return members
  }
}
