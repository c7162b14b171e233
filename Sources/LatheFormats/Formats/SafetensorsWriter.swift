public import LatheTensor

extension Safetensors {
  /// Writes one file; metadata must be strings. Data starts at a multiple of 8 and follows the order given, so a
  /// tensor's own alignment is that of the sizes before it.
  ///
  /// - Throws: `Problem` of kind `usage` for a type safetensors lacks, a value that is no string, or a name that
  ///   occurs twice; `cannotCreate` or `inputOutput`.
  public static func write(
    _ tensors: [TensorSource], metadata: [(key: String, value: MetadataValue)] = [("format", .string("pt"))],
    to path: String
  ) throws(Problem) {
    do throws(Problem) {
      let header = try header(tensors, metadata)
      let file = try AtomicFile(creating: path)
      try file.write(header)
      for tensor in tensors { try tensor.write(to: file) }
      try file.commit()
    } catch {
      throw error.located(at: path)
    }
  }

  /// Writes `model.safetensors` into `folder` or, where the tensors take more than `maximumBytes`, shards
  /// `model-00001-of-0000K.safetensors` and then the index that names them.
  ///
  /// A tensor larger than `maximumBytes` gets a shard of its own.
  /// - Returns: the names of the files written.
  /// - Throws: as `write(_:metadata:to:)`.
  @discardableResult
  public static func writeShards(
    _ tensors: [TensorSource], metadata: [(key: String, value: MetadataValue)] = [("format", .string("pt"))],
    maximumBytes: Int = 5_000_000_000, to folder: String, stem: String = "model"
  ) throws(Problem) -> [String] {
    try requireDistinct(tensors.map(\.name))
    let shards = try divided(tensors, maximumBytes)
    guard shards.count > 1 else {
      try write(tensors, metadata: metadata, to: "\(folder)/\(stem)\(suffix)")
      return [stem + suffix]
    }
    var names: [String] = []
    var index = ""
    var total = 0
    for (number, shard) in shards.enumerated() {
      let name = "\(stem)-\(digits(number + 1))-of-\(digits(shards.count))\(suffix)"
      try write(shard, metadata: metadata, to: "\(folder)/\(name)")
      for tensor in shard {
        index += (index.isEmpty ? "" : ",\n") + "    \(tensor.name.quotedJSON): \(name.quotedJSON)"
        total += try tensor.byteCount()
      }
      names.append(name)
    }
    // The index comes last: a reader that finds it finds the shards.
    try AtomicFile.write(
      "{\n  \"metadata\": {\n    \"total_size\": \(total)\n  },\n  \"weight_map\": {\n\(index)\n  }\n}\n",
      to: "\(folder)/\(stem)\(indexSuffix)")
    return names + [stem + indexSuffix]
  }

  /// Runs of tensors of at most `maximumBytes`.
  private static func divided(_ tensors: [TensorSource], _ maximumBytes: Int) throws(Problem)
    -> [[TensorSource]]
  {
    var shards: [[TensorSource]] = []
    var room = 0
    for tensor in tensors {
      let size = try tensor.byteCount()
      if shards.isEmpty || size > room {
        shards.append([])
        room = maximumBytes
      }
      shards[shards.count - 1].append(tensor)
      room -= size
    }
    return shards
  }

  /// The length and the JSON header, padded with spaces so that data starts at a multiple of 8.
  private static func header(
    _ tensors: [TensorSource], _ metadata: [(key: String, value: MetadataValue)]
  ) throws(Problem) -> [UInt8] {
    try requireDistinct(tensors.map(\.name))
    try requireDistinct(metadata.map(\.key))
    var members: [String] = []
    if !metadata.isEmpty {
      var pairs: [String] = []
      for (key, value) in metadata {
        guard let text = value.text else {
          throw Problem(.usage, "safetensors holds texts only, and the value of \"\(key.excerpt)\" is none")
        }
        pairs.append("\(key.quotedJSON):\(text.quotedJSON)")
      }
      members.append("\(metadataKey.quotedJSON):{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in tensors {
      guard let type = tensor.type.safetensorsName else {
        throw Problem(
          .usage, "safetensors has no type \(tensor.type), which tensor \"\(tensor.name.excerpt)\" has",
          cure: "write GGUF, or dequantize first")
      }
      guard tensor.name != metadataKey else {
        throw Problem(.usage, "no tensor can be called \(metadataKey)")
      }
      let (end, overflow) = offset.addingReportingOverflow(try tensor.byteCount())
      guard !overflow else { throw Problem(.usage, "the tensors are larger than a file can be") }
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(tensor.name.quotedJSON):{\"dtype\":\"\(type)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}"
      )
      offset = end
    }
    var json = Array("{\(members.joined(separator: ","))}".utf8)
    while json.count % 8 != 0 { json.append(UInt8(ascii: " ")) }
    guard json.count <= maximumHeaderBytes else {
      throw Problem(
        .usage, "the header takes \(json.count) bytes; readers refuse more than \(maximumHeaderBytes)")
    }
    var out: [UInt8] = []
    out.put(UInt64(json.count))
    return out + json
  }

  private static func digits(_ n: Int) -> String {
    n > 99_999 ? "\(n)" : String(String(100_000 + n).dropFirst())
  }
}
