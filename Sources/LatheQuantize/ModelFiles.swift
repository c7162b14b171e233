internal import Foundation
internal import LatheEncoding
internal import LatheFormats
internal import LatheModel
internal import LatheTensor
internal import LatheText

/// What a model's folder holds beside weights, carried over from the original.
struct ModelFiles {
  let source: String
  let tokenizer: String?

  /// What a tokenizer's folder holds.
  private static let tokenizerFiles = [
    "tokenizer.model", "tokenizer.json", "tokenizer.bin", "tokenizer.gguf", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
  ]

  private var sourceIsFolder: Bool { isFolder(source) }

  private func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// Writes `config.json`: the original's, or one made of the configuration, with the description of the weights.
  func writeConfiguration(of model: Model, recipe: String, calibration: String, to path: String)
    throws(Problem)
  {
    var encodings: [String: NativeDialect.Entry] = [:]
    let names = model.architecture.nativeTensorNames
    for (layer, block) in model.blocks.enumerated() {
      for (role, linear) in block.weights {
        encodings[names.name(of: Site(layer, role)) + ".weight"] = .init(linear)
      }
    }
    encodings[names.embedding + ".weight"] = .init(model.embedding)
    if let head = model.head { encodings[names.head + ".weight"] = .init(head.weight) }
    let description = NativeDialect.Description(
      recipe: recipe, calibration: calibration, bitsPerWeight: model.bitsPerQuantizedWeight,
      rotation: model.configuration.rotary.pairing == .interleaved ? "interleaved" : nil,
      residualRotation: model.residualRotation, encodings: encodings)
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
    if sourceIsFolder { try copy(["generation_config.json"], of: source, to: folder) }
    // A tokenizer given apart takes the place of the source's: the two must not mix.
    if let tokenizer {
      if isFolder(tokenizer) { return try copy(Self.tokenizerFiles, of: tokenizer, to: folder) }
      return try copyFile(tokenizer, to: folder)
    }
    if sourceIsFolder { return try copy(Self.tokenizerFiles, of: source, to: folder) }
    let checkpoint = try Checkpoint(reading: source)
    if checkpoint.format == GGUF.name {
      let vocabulary = checkpoint.orderedMetadata.filter { $0.key.hasPrefix("tokenizer.") }
      try GGUF.write(
        [], metadata: [("general.architecture", .string("vocabulary"))] + vocabulary,
        to: folder + "/tokenizer.gguf")
      return
    }
    if let found = try Tokenizer.file(beside: source) { try copyFile(found, to: folder) }
  }

  /// Copies one tokenizer's file under the name by which it is found in a folder.
  private func copyFile(_ path: String, to folder: String) throws(Problem) {
    let name = (path as NSString).pathExtension.lowercased()
    try copy(path, to: folder + "/tokenizer." + (["json", "bin"].contains(name) ? name : "model"))
  }

  private func copy(_ names: [String], of source: String, to folder: String) throws(Problem) {
    for name in names where FileManager.default.fileExists(atPath: source + "/" + name) {
      try copy(source + "/" + name, to: folder + "/" + name)
    }
  }

  private func copy(_ from: String, to path: String) throws(Problem) {
    let file = try AtomicFile(creating: path)
    try file.write(try Bytes(mapping: from))
    try file.commit()
  }
}
