internal import Foundation
internal import LatheEncoding
public import LatheFormats
public import LatheModel
public import LatheTensor

/// What became of a block, and how its weights are stored.
private struct JournalLine: Codable {
  let outcome: BlockOutcome
  let weights: [String: NativeDialect.Entry]

  init(_ outcome: BlockOutcome, _ block: Block) {
    self.outcome = outcome
    weights = Dictionary(uniqueKeysWithValues: block.weights.map { ($0.rawValue, NativeDialect.Entry($1)) })
  }

  private enum Key: String, CodingKey { case stored }

  // One object with the outcome's members: a journal's readers need not know the rest.
  init(from decoder: any Decoder) throws {
    outcome = try BlockOutcome(from: decoder)
    weights = try decoder.container(keyedBy: Key.self).decode(
      [String: NativeDialect.Entry].self, forKey: .stored)
  }

  func encode(to encoder: any Encoder) throws {
    try outcome.encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(weights, forKey: .stored)
  }
}

/// Keeps finished blocks in a working folder, from which a killed run continues.
///
/// After each block: its shard and the calibration stream are written under temporary names, made durable and renamed;
/// then a line is appended to `journal.jsonl`. A run that dies loses the block at work and nothing else. The shards
/// already have the names and the form of the finished model's.
public final class FolderStore: BlockStore {
  /// The working folder.
  public let folder: String
  private let model: Model
  private let fingerprint: Fingerprint
  /// What became of the blocks so far.
  public var outcomes: [BlockOutcome] { lines.map(\.outcome) }
  private var lines: [JournalLine] = []

  /// Opens the working folder, and what an earlier run left in it.
  ///
  /// - Throws: `Problem` of kind `cannotCreate` where the folder belongs to a run that differs in model, recipe or text.
  public init(at folder: String, model: Model, fingerprint: Fingerprint) throws(Problem) {
    (self.folder, self.model, self.fingerprint) = (folder, model, fingerprint)
    let description = folder + "/fingerprint.json"
    if FileManager.default.fileExists(atPath: description) {
      try checkFingerprint(description)
      try readJournal()
      return
    }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw Problem(
        .cannotCreate, "cannot create the working folder", at: folder,
        cure: "check that its parent can be written")
    }
    try AtomicFile.write(try json(fingerprint), to: description)
  }

  public var finishedBlocks: Int { lines.count }

  /// The name of the shard of block `layer`; the last shard holds what is in no block.
  func shardName(_ layer: Int) -> String {
    String(format: "model-%05d-of-%05d.safetensors", layer + 1, model.blocks.count + 1)
  }

  // MARK: Resuming

  private func checkFingerprint(_ path: String) throws(Problem) {
    let bytes = try Bytes(mapping: path)
    guard let old = try? JSONDecoder().decode(Fingerprint.self, from: bytes.withUnsafeBytes { Data($0) })
    else {
      throw Problem(.badData, "the working folder is damaged", at: path, cure: "remove \(folder)")
    }
    if let difference = fingerprint.difference(from: old) {
      throw Problem(
        .cannotCreate, "the unfinished run there has \(difference)", at: folder,
        cure: "repeat the command that began it, or remove the folder to begin anew")
    }
  }

  private var journal: String { folder + "/journal.jsonl" }

  private func readJournal() throws(Problem) {
    guard FileManager.default.fileExists(atPath: journal) else { return }
    for line in try Bytes(mapping: journal).text.split(separator: "\n") {
      // A line that was cut off by a kill is the end of what is known.
      guard let line = try? JSONDecoder().decode(JournalLine.self, from: Data(line.utf8)),
        line.outcome.layer == lines.count, line.outcome.layer < model.blocks.count,
        FileManager.default.fileExists(atPath: folder + "/" + shardName(line.outcome.layer))
      else { break }
      lines.append(line)
    }
  }

  public func resumedStream(for calibration: Calibration, inference: Inference) throws(Problem)
    -> CalibrationStream?
  {
    guard finishedBlocks > 0 else { return nil }
    // Where the stream's file is lost or short, the last block's work is done again.
    while finishedBlocks > 0 {
      let path = streamPath(after: finishedBlocks)
      if let bytes = try? Bytes(mapping: path) {
        let stream = try CalibrationStream(calibration, inference: inference)
        if stream.restore(from: bytes, before: finishedBlocks) { return stream }
      }
      lines.removeLast()
    }
    return nil
  }

  private func streamPath(after blocks: Int) -> String { folder + "/stream-\(blocks).bin" }

  // MARK: Writing

  public func append(_ block: Block, outcome: BlockOutcome, stream: CalibrationStream?) throws(Problem) {
    let path = folder + "/" + shardName(outcome.layer)
    try Safetensors.write(tensors(of: block, layer: outcome.layer), metadata: metadata, to: path)
    try verify(block, layer: outcome.layer, in: path)
    let finished = outcome.layer + 1
    if let stream, finished < model.blocks.count {
      let file = try AtomicFile(creating: streamPath(after: finished))
      try stream.save(to: file)
      try file.commit()
    }
    self.lines.append(JournalLine(outcome, block))
    // The whole journal each time: a few lines, and never a torn one.
    var text = ""
    for line in self.lines { text += try json(line) + "\n" }
    try AtomicFile.write(text, to: journal)
    try? FileManager.default.removeItem(atPath: streamPath(after: finished - 1))
  }

  private var metadata: [(key: String, value: MetadataValue)] { [("format", .string("pt"))] }

  private func tensors(of block: Block, layer: Int) -> [TensorSource] {
    let names = model.architecture.nativeTensorNames
    var tensors: [TensorSource] = []
    for norm in BlockNorm.allCases {
      guard let name = names.tensor(of: norm, in: layer), let scales = block[norm] else { continue }
      tensors.append(vector(name, scales))
    }
    for role in Role.allCases {
      guard let linear = block.weights[role] else { continue }
      let name = names.name(of: Site(layer, role))
      tensors += NativeDialect.tensors(name + ".weight", linear)
      if let bias = linear.bias { tensors.append(vector(name + ".bias", bias)) }
    }
    // Wide elements first: every part then begins on a multiple of its element's width.
    return tensors.sorted { $0.type.bytesPerBlock > $1.type.bytesPerBlock }
  }

  private func vector(_ name: String, _ values: [Float]) -> TensorSource {
    TensorSource(name: name, type: .f32, shape: [values.count]) { () throws(Problem) in
      Bytes(elements: values)
    }
  }

  /// Reopens a shard and compares every weight with the one in memory, bit for bit.
  private func verify(_ block: Block, layer: Int, in path: String) throws(Problem) {
    let checkpoint = try Checkpoint(reading: path)
    for (role, linear) in block.weights {
      let name = model.architecture.nativeTensorNames.name(of: Site(layer, role)) + ".weight"
      let entry = NativeDialect.Entry(linear)
      let read = try NativeDialect.matrix(name, entry, in: checkpoint)
      guard read.parts == linear.weight.parts,
        try NativeDialect.steps(name, entry, in: checkpoint) == linear.input
      else {
        throw Problem(
          .inputOutput, "weight \(Site(layer, role)) reads back differently from what was written", at: path,
          cure: "check the disk")
      }
    }
  }

  /// The blocks, read back from their shards.
  public func blocks() throws(Problem) -> [Block] {
    var blocks: [Block] = []
    for layer in 0..<finishedBlocks {
      var block = model.blocks[layer]
      let checkpoint = try Checkpoint(reading: folder + "/" + shardName(layer))
      let names = model.architecture.nativeTensorNames
      try checkpoint.readNorms(
        of: &block, in: layer, names: names, ofHeads: model.configuration.normalizesHeads)
      for role in block.weights.keys {
        let name = names.name(of: Site(layer, role))
        guard let entry = lines[layer].weights[role.rawValue] else {
          throw Problem(.badData, "the journal does not describe weight \(Site(layer, role))", at: journal)
        }
        block.weights[role]?.weight = try NativeDialect.matrix(name + ".weight", entry, in: checkpoint)
        block.weights[role]?.input = try NativeDialect.steps(name + ".weight", entry, in: checkpoint)
        block.weights[role]?.output = entry.output
        if block.weights[role]?.bias != nil {
          block.weights[role]?.bias = try checkpoint.vector(name + ".bias")
        }
      }
      blocks.append(block)
    }
    return blocks
  }

  private func json(_ value: some Encodable) throws(Problem) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(value), as: UTF8.self)
    } catch {
      throw Problem(.internal, "cannot write JSON (\(error))", at: folder)
    }
  }
}

extension FolderStore {
  /// Completes the folder to a model that any command takes, and gives it its final name.
  ///
  /// - Parameters:
  ///   - path: the final name.
  ///   - source: where the original model lies; its tokenizer and configuration are carried over.
  ///   - tokenizer: a tokenizer given apart from the model.
  /// - Throws: `Problem` where a file cannot be written.
  public func finish(as path: String, source: String, tokenizer: String? = nil) throws(Problem) {
    var finished = model
    finished.blocks = try blocks()
    let shard = shardName(model.blocks.count)
    let names = model.architecture.nativeTensorNames
    var rest = NativeDialect.tensors(names.embedding + ".weight", model.embedding)
    rest.append(vector(names.finalNorm + ".weight", model.finalNorm))
    if let head = model.head { rest += NativeDialect.tensors(names.head + ".weight", head.weight) }
    try Safetensors.write(rest, metadata: metadata, to: folder + "/" + shard)
    try writeIndex()
    let files = ModelFiles(source: source, tokenizer: tokenizer)
    try files.writeConfiguration(
      of: finished, recipe: fingerprint.recipe, calibration: fingerprint.calibration,
      to: folder + "/config.json")
    try files.copyTokenizer(to: folder)
    try FolderStore.removeWorkFiles(in: folder)
    // The finished folder must be a model before it gets its name.
    _ = try Model(reading: folder)
    try FolderStore.rename(folder, to: path)
  }

  private func writeIndex() throws(Problem) {
    var map: [String: String] = [:]
    var total = 0
    for layer in 0...model.blocks.count {
      let name = shardName(layer)
      let checkpoint = try Checkpoint(reading: folder + "/" + name)
      for tensor in checkpoint.tensors { map[tensor.name] = name }
      total += checkpoint.totalBytes
    }
    try AtomicFile.write(
      try json(Index(metadata: ["total_size": total], map: map)), to: folder + "/model.safetensors.index.json"
    )
  }

  private struct Index: Encodable {
    enum CodingKeys: String, CodingKey {
      case metadata
      case map = "weight_map"
    }
    let metadata: [String: Int]
    let map: [String: String]
  }

  private static func removeWorkFiles(in folder: String) throws(Problem) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    for name in names where name.hasPrefix("stream-") || name == "fingerprint.json" || name.hasSuffix(".tmp")
    {
      try? FileManager.default.removeItem(atPath: folder + "/" + name)
    }
  }

  private static func rename(_ folder: String, to path: String) throws(Problem) {
    do {
      try FileManager.default.moveItem(atPath: folder, toPath: path)
    } catch {
      throw Problem(
        .cannotCreate, "cannot rename \(folder)", at: path, cure: "the finished model lies in \(folder)")
    }
  }
}

extension FolderStore {
  /// Writes the model as one GGUF file, compares what is read back, and removes the working folder.
  ///
  /// - Parameters:
  ///   - path: the file to write.
  ///   - vocabulary: the `tokenizer.` part of the metadata.
  ///   - name: the model's name in the file.
  /// - Throws: `Problem` where a weight's encoding is not one of GGUF's, or the file cannot be written.
  public func finishGGUF(
    as path: String, vocabulary: [(key: String, value: MetadataValue)], name: String
  ) throws(Problem) {
    var finished = model
    finished.blocks = try blocks()
    try GGUFDialect.write(finished, vocabulary: vocabulary, name: name, to: path)
    let reread = try Model(reading: path)
    for (layer, block) in finished.blocks.enumerated() {
      for (role, linear) in block.weights {
        let order = GGUFDialect.rowOrder(role, in: layer, finished)
        let expected =
          try order.map { (order) throws(Problem) in try linear.weight.selectingRows(order) } ?? linear.weight
        guard reread.blocks[layer].weights[role]?.weight.parts == expected.parts else {
          throw Problem(
            .inputOutput, "weight \(Site(layer, role)) reads back differently from what was written",
            at: path,
            cure: "check the disk")
        }
      }
    }
    try? FileManager.default.removeItem(atPath: folder)
  }
}
