import Foundation
public import LatheFormats
public import LatheTensor
public import LatheText

extension Tokenizer {
  /// The tokenizer that belongs to the model at `path`.
  ///
  /// A folder holds it as `tokenizer.model`, `tokenizer.json` or, where `quantize` wrote it out of a GGUF,
  /// `tokenizer.gguf`; a `.gguf` carries it; beside a llama2.c checkpoint lies `tokenizer.bin`, `tokenizer.model`
  /// or `tok<vocabulary>.bin`. A path that is a tokenizer itself is read as one.
  ///
  /// - Parameter override: a tokenizer file or folder to read instead.
  /// - Throws: `Problem` where there is none, or it is damaged.
  public static func forModel(at path: String, override: String? = nil) throws(Problem) -> Tokenizer {
    if let override { return try load(path: override) }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw Problem(.noInput, "no such file or folder", at: path, cure: "check the path")
    }
    if isFolder.boolValue {
      let carried = path + "/tokenizer.gguf"
      return FileManager.default.fileExists(atPath: carried) ? try gguf(carried) : try load(path: path)
    }
    guard let format = try? FormatCatalog.format(of: path) else { return try load(path: path) }
    if format is GGUF.Type { return try gguf(path) }
    let names = try names(beside: path, format)
    if let file = file(beside: path, of: names) { return try load(path: file) }
    throw Problem(
      .noInput, "no tokenizer beside the model", at: path,
      cure: "give --tokenizer FILE, or put \(names.joined(separator: " or ")) into the folder")
  }

  /// The tokenizer's file that lies beside a checkpoint of one file; nil where there is none.
  ///
  /// - Throws: `Problem` where the checkpoint cannot be read.
  package static func file(beside path: String) throws(Problem) -> String? {
    file(beside: path, of: try names(beside: path, try FormatCatalog.format(of: path)))
  }

  private static func file(beside path: String, of names: [String]) -> String? {
    let folder = LatheTensor.folder(ofPath: path)
    return names.map { folder.isEmpty ? $0 : folder + "/" + $0 }.first {
      FileManager.default.fileExists(atPath: $0)
    }
  }

  /// What a tokenizer beside the checkpoint at `path` may be called, the name to prefer first.
  private static func names(
    beside path: String, _ format: any CheckpointFormat.Type
  ) throws(Problem) -> [String] {
    let names = ["tokenizer.bin", "tokenizer.model", "tokenizer.json"]
    guard format is Llama2C.Type,
      let size = try Checkpoint(reading: path).metadata["llama2c.vocab_size"]?.integer
    else { return names }
    return names + ["tok\(size).model", "tok\(size).bin"]
  }

  /// The vocabulary in the metadata of the GGUF at `path`.
  private static func gguf(_ path: String) throws(Problem) -> Tokenizer {
    let checkpoint = try Checkpoint(reading: path)
    do throws(Problem) {
      return try Tokenizer(gguf: GGUFVocabulary(metadata: checkpoint.metadata))
    } catch {
      throw error.located(at: path)
    }
  }
}

extension GGUFVocabulary {
  /// The `tokenizer.` part of a GGUF's metadata for the model at `path`: as it is where that is a GGUF itself, else made
  /// from its tokenizer.
  ///
  /// - Parameter size: the number of tokens the model knows.
  /// - Throws: `Problem` where there is no tokenizer, or GGUF cannot express it.
  public static func metadata(
    forModelAt path: String, size: Int, override: String? = nil
  ) throws(Problem) -> [(key: String, value: MetadataValue)] {
    if override == nil, let format = try? FormatCatalog.format(of: path), format is GGUF.Type {
      return try Checkpoint(reading: path).orderedMetadata.filter { $0.key.hasPrefix("tokenizer.") }
    }
    var vocabulary = try Tokenizer.forModel(at: path, override: override).ggufVocabulary()
    try vocabulary.pad(to: size)
    return vocabulary.metadata
  }

  /// Adds unused tokens up to `size`: models have rows that no token names.
  ///
  /// - Throws: `Problem` of kind `usage` where there are more tokens than rows.
  mutating func pad(to size: Int) throws(Problem) {
    guard tokens.count <= size else {
      throw Problem(
        .usage, "the tokenizer has \(tokens.count) tokens, the model \(size)",
        cure: "they do not belong together")
    }
    for id in tokens.count..<size {
      tokens.append(Array("[PAD\(id)]".utf8))
      if !types.isEmpty { types.append(5) }
      if !scores.isEmpty { scores.append(-1e6) }
    }
  }

  /// The keys and values that GGUF files hold.
  var metadata: [(key: String, value: MetadataValue)] {
    func texts(_ bytes: [[UInt8]]) -> MetadataValue {
      .array(MetadataArray(bytes.map { String(decoding: $0, as: UTF8.self) }))
    }
    let prefix = "tokenizer.ggml."
    var values: [(key: String, value: MetadataValue)] = [
      (prefix + "model", .string(model)), (prefix + "pre", .string(pre)), (prefix + "tokens", texts(tokens)),
    ]
    if !scores.isEmpty { values.append((prefix + "scores", .array(MetadataArray(scores)))) }
    if !types.isEmpty { values.append((prefix + "token_type", .array(MetadataArray(types)))) }
    if !merges.isEmpty { values.append((prefix + "merges", texts(merges))) }
    if let id = beginningOfSequence { values.append((prefix + "bos_token_id", .uint32(UInt32(id)))) }
    if let id = endOfSequence.first { values.append((prefix + "eos_token_id", .uint32(UInt32(id)))) }
    if let id = types.firstIndex(of: 2) { values.append((prefix + "unknown_token_id", .uint32(UInt32(id)))) }
    if let adds = addsBeginningOfSequence { values.append((prefix + "add_bos_token", .bool(adds))) }
    values.append((prefix + "add_eos_token", .bool(addsEndOfSequence)))
    if let adds = addsSpacePrefix { values.append((prefix + "add_space_prefix", .bool(adds))) }
    return values
  }

  /// The vocabulary in a GGUF's metadata.
  ///
  /// - Throws: `Problem` of kind `badData` where there is none.
  init(metadata: [String: MetadataValue]) throws(Problem) {
    func value(_ key: String) -> MetadataValue? { metadata["tokenizer.ggml." + key] }
    func bytes(_ key: String) -> [[UInt8]] {
      value(key)?.array?.slices?.map { $0.elements(as: UInt8.self) } ?? []
    }
    guard let model = value("model")?.text else {
      throw Problem(.badData, "the file carries no tokenizer", cure: "give --tokenizer FILE")
    }
    let end = ["eos_token_id", "eot_token_id", "eom_token_id"].compactMap {
      value($0)?.integer.flatMap { Int32(exactly: $0) }
    }
    self.init(
      model: model, pre: value("pre")?.text ?? "default", tokens: bytes("tokens"),
      scores: value("scores")?.array?.floats ?? [], types: value("token_type")?.array?.int32s ?? [],
      merges: bytes("merges"),
      beginningOfSequence: value("bos_token_id")?.integer.flatMap { Int32(exactly: $0) },
      endOfSequence: end.reduce(into: []) { if !$0.contains($1) { $0.append($1) } },
      addsBeginningOfSequence: value("add_bos_token")?.flag,
      addsEndOfSequence: value("add_eos_token")?.flag ?? false,
      addsSpacePrefix: value("add_space_prefix")?.flag)
  }
}
