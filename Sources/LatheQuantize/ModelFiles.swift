internal import Foundation
internal import LatheEncoding
internal import LatheFormats
internal import LatheModel
internal import LatheTensor

/// What a model's folder holds beside weights, carried over from the original.
struct ModelFiles {
  let source: String
  let tokenizer: String?

  private static let carried = [
    "tokenizer.model", "tokenizer.json", "tokenizer.bin", "tokenizer.gguf", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "generation_config.json", "chat_template.jinja",
  ]

  private var sourceIsFolder: Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: source, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// Writes `config.json`: the original's, or one made of the configuration, with the description of the weights.
  func writeConfiguration(of model: Model, recipe: String, calibration: String, to path: String)
    throws(Problem)
  {
    var encodings: [String: NativeDialect.Entry] = [:]
    let names = model.architecture.tensorNames
    for (layer, block) in model.blocks.enumerated() {
      for (role, linear) in block.weights {
        encodings[names.name(of: Site(layer, role)) + ".weight"] = .init(linear.weight)
      }
    }
    encodings[names.embedding + ".weight"] = .init(model.embedding)
    if let head = model.head { encodings[names.head + ".weight"] = .init(head.weight) }
    let description = NativeDialect.Description(
      recipe: recipe, calibration: calibration, bitsPerWeight: model.bitsPerQuantizedWeight,
      rotation: model.configuration.rotary.pairing == .interleaved ? "interleaved" : nil, encodings: encodings
    )
    do {
      let data = try JSONEncoder().encode(description)
      let original = source + "/config.json"
      let base =
        sourceIsFolder && FileManager.default.fileExists(atPath: original)
        ? try JSONObject(reading: original) : JSONObject(describing: model)
      try AtomicFile.write(try base.json(setting: "quantization_config", to: data), to: path)
    } catch let problem as Problem {
      throw problem
    } catch {
      throw Problem(.internal, "cannot describe the weights as JSON", at: path)
    }
  }

  /// Copies the tokenizer and what belongs to it.
  func copyTokenizer(to folder: String) throws(Problem) {
    if let tokenizer {
      try copy(tokenizer, to: folder + "/tokenizer." + ((tokenizer as NSString).pathExtension))
    }
    if sourceIsFolder {
      for name in Self.carried where FileManager.default.fileExists(atPath: source + "/" + name) {
        try copy(source + "/" + name, to: folder + "/" + name)
      }
      return
    }
    let checkpoint = try Checkpoint(reading: source)
    if checkpoint.format == GGUF.name {
      let vocabulary = checkpoint.orderedMetadata.filter { $0.key.hasPrefix("tokenizer.") }
      try GGUF.write(
        [], metadata: [("general.architecture", .string("vocabulary"))] + vocabulary,
        to: folder + "/tokenizer.gguf")
      return
    }
    let parent = (source as NSString).deletingLastPathComponent
    let size = checkpoint.metadata["llama2c.vocab_size"]?.integer ?? 0
    let candidates = ["tokenizer.bin", "tokenizer.model", "tok\(size).model", "tok\(size).bin"]
    let found = candidates.first { FileManager.default.fileExists(atPath: parent + "/" + $0) }
    if tokenizer == nil, let found {
      try copy(parent + "/" + found, to: folder + "/tokenizer." + (found as NSString).pathExtension)
    }
  }

  private func copy(_ from: String, to path: String) throws(Problem) {
    let file = try AtomicFile(creating: path)
    try file.write(try Bytes(mapping: from))
    try file.commit()
  }
}
