public import LatheEncoding
public import LatheFormats
public import LatheTensor
internal import LatheText

/// A weight that is made when its turn comes to be written.
public struct LateWeight {
  /// What it will be stored as.
  public let encoding: any Encoding
  /// Makes it.
  public let make: () throws(Problem) -> EncodedMatrix

  /// A weight of the given encoding.
  public init(_ encoding: any Encoding, make: @escaping () throws(Problem) -> EncodedMatrix) {
    (self.encoding, self.make) = (encoding, make)
  }
}

extension GGUFDialect {
  /// Writes a model as a GGUF file that llama.cpp and its kin run.
  ///
  /// Rows of query and key are put in the order GGUF's name for the architecture means; norms and biases become single
  /// precision, as the format demands.
  ///
  /// - Parameters:
  ///   - vocabulary: the `tokenizer.` part of the metadata.
  ///   - name: `general.name`.
  ///   - late: weights of blocks that take the place of the model's, made one at a time.
  ///   - floats: a layout of plain floats that all weights are widened to; nil leaves them as they are.
  /// - Throws: `Problem` of kind `usage` where a weight's encoding is not one of GGUF's, or the file cannot be written.
  public static func write(
    _ model: Model, vocabulary: [(key: String, value: MetadataValue)], name: String,
    as floats: StoredLayout? = nil, replacing late: (Site) -> LateWeight? = { _ in nil },
    to path: String
  ) throws(Problem) {
    try refuseRotations(in: model)
    var tensors = try Self.tensors("token_embd", [Part(linear: Linear(weight: model.embedding))], as: floats)
    tensors.append(vector("output_norm.weight", model.finalNorm))
    if let head = model.head { tensors += try Self.tensors("output", [Part(linear: head)], as: floats) }
    tensors += rotaryFactors(model.configuration)
    let names = model.architecture.ggufTensorNames
    for (layer, block) in model.blocks.enumerated() {
      for norm in BlockNorm.allCases {
        guard let name = names.tensor(of: norm, in: layer), let scales = block[norm] else { continue }
        tensors.append(vector(name, scales))
      }
      for roles in names.tensors {
        let parts = roles.compactMap { role in
          block.weights[role].map {
            Part(linear: $0, order: rowOrder(role, in: layer, model), late: late(Site(layer, role)))
          }
        }
        tensors += try Self.tensors(names.name(of: Site(layer, roles[0])), parts, as: floats)
      }
    }
    let type = fileType(
      floats?.name ?? (late(Site(0, .gate))?.encoding ?? model.blocks.first?.weights[.gate]?.weight.encoding)?
        .label ?? "")
    let sums = Sums()
    let summed = tensors.map { tensor in
      TensorSource(name: tensor.name, type: tensor.type, shape: tensor.shape) { () throws(Problem) in
        let bytes = try tensor.load()
        sums.values[tensor.name] = bytes.checksum
        return bytes
      }
    }
    try GGUF.write(
      summed,
      metadata: metadata(model.architecture, model.configuration, name: name, fileType: type) + vocabulary,
      to: path)
    // Reopened and compared: a model that loads and is wrong is the costliest mistake.
    for tensor in try Checkpoint(reading: path).tensors
    where tensor.data.checksum != sums.values[tensor.name] {
      throw Problem(
        .inputOutput, "\(tensor.name) reads back differently from what was written", at: path,
        cure: "check the disk")
    }
  }

  /// GGUF's programs know nothing of a basis of ours.
  private static func refuseRotations(in model: Model) throws(Problem) {
    let steps = model.blocks.contains { $0.weights.values.contains { !$0.input.isEmpty || $0.output != nil } }
    guard steps || model.residualRotation != nil else { return }
    throw Problem(
      .usage, "GGUF cannot hold rotated, scaled or quantized inputs",
      cure: "leave out the transforms that need them, or choose --format native")
  }

  /// Where each row of a query or key weight comes from, if its order must change: pairs that lie half a head apart
  /// are put side by side.
  package static func rowOrder(_ role: Role, in layer: Int, _ model: Model) -> [Int]? {
    guard role == .query || role == .key, model.architecture.ggufRotation == .interleaved,
      model.configuration.rotary.pairing == .halves
    else { return nil }
    let d = model.configuration.headDimension
    return (0..<model.configuration.shape(of: Site(layer, role)).rows).map { row in
      let head = row / d, place = row % d
      return head * d + place % 2 * (d / 2) + place / 2
    }
  }

  /// The tensors of rotary factors, where the scaling needs them.
  package static func rotaryFactors(_ c: Configuration) -> [TensorSource] {
    switch c.rotary.scaling {
    case .none, .linear: []
    case .long(let long):
      [vector("rope_factors_long.weight", long.long), vector("rope_factors_short.weight", long.short)]
    case .llama3, .factors:
      c.rotary.frequencyFactors(dimension: c.headDimension).map { [vector("rope_freqs.weight", $0)] } ?? []
    }
  }

  /// A weight on its way into a tensor: its rows in `order`.
  private struct Part {
    var linear: Linear
    var order: [Int]?
    var late: LateWeight?

    var encoding: any Encoding { late?.encoding ?? linear.weight.encoding }

    /// What is added to its rows, in `order`.
    var bias: [Float] {
      let bias = linear.bias ?? [Float](repeating: 0, count: linear.weight.rows)
      return order.map { $0.map { bias[$0] } } ?? bias
    }

    /// Its bytes, its numbers widened to `floats`.
    func load(as floats: StoredLayout?) throws(Problem) -> Bytes {
      let matrix = try late?.make() ?? linear.weight
      let ordered = try order.map { (order) throws(Problem) in try matrix.selectingRows(order) } ?? matrix
      return try floats.map { (layout) throws(Problem) in try ordered.numbers(as: layout) }
        ?? ordered.parts[0]
    }
  }

  /// The tensors of one weight, or of several fused, their rows one after another; made when their turn comes.
  private static func tensors(_ name: String, _ parts: [Part], as floats: StoredLayout?) throws(Problem)
    -> [TensorSource]
  {
    guard let first = parts.first else { return [] }
    guard parts.allSatisfy({ $0.encoding.label == first.encoding.label }) || floats != nil else {
      throw Problem(
        .usage,
        "\(name) is one tensor, and its parts are encoded as "
          + parts.map(\.encoding.label).joined(separator: ", "),
        cure: "give query, key and value, and gate and up, one encoding each, or choose --format native")
    }
    let rows = parts.reduce(0) { $0 + $1.linear.weight.rows }
    var tensors = [
      TensorSource(
        name: name + ".weight", type: try type(of: first.encoding, for: name, as: floats),
        shape: [rows, first.linear.weight.columns]
      ) { () throws(Problem) in
        if parts.count == 1 { return try first.load(as: floats) }
        var bytes: [Bytes] = []
        for part in parts { bytes.append(try part.load(as: floats)) }
        return Bytes(joining: bytes)
      }
    ]
    if parts.contains(where: { $0.linear.bias != nil }) {
      tensors.append(vector(name + ".bias", parts.flatMap(\.bias)))
    }
    return tensors
  }

  private static func type(of encoding: any Encoding, for name: String, as floats: StoredLayout?)
    throws(Problem) -> StorageType
  {
    let layout = floats ?? encoding.storedLayout
    guard let type = StorageType.all.first(where: { $0.name == layout?.name && $0.ggufID != nil }) else {
      throw Problem(
        .usage, "weight \(name) is encoded as \(encoding.label), which GGUF does not have",
        cure: "choose 2 to 6, 8, 16 or 32 bits with --format gguf, or --format native")
    }
    return type
  }

  private final class Sums { var values: [String: UInt64] = [:] }

  package static func vector(_ name: String, _ values: [Float]) -> TensorSource {
    TensorSource(name: name, type: .f32, shape: [values.count]) { () throws(Problem) in
      Bytes(elements: values)
    }
  }

  /// The metadata of a model of these sizes, its vocabulary aside.
  package static func metadata(
    _ architecture: Architecture, _ c: Configuration, name: String, fileType: Int
  ) -> [(key: String, value: MetadataValue)] {
    let prefix = architecture.ggufName + "."
    func count(_ value: Int) -> MetadataValue { .uint32(UInt32(clamping: value)) }
    func counts(_ values: [Int]) -> MetadataValue {
      Set(values).count > 1 ? .array(MetadataArray(values.map { Int32(clamping: $0) })) : count(values[0])
    }
    let sizes = c.sizes
    var values: [(key: String, value: MetadataValue)] = [
      ("general.architecture", .string(architecture.ggufName)), ("general.name", .string(name)),
      ("general.file_type", count(fileType)), ("general.quantization_version", count(2)),
      (prefix + "context_length", count(c.contextLength)), (prefix + "embedding_length", count(c.hiddenSize)),
      (prefix + "block_count", count(c.layers)),
      (prefix + "feed_forward_length", counts(sizes.map(\.feedForwardSize))),
      (prefix + "attention.head_count", counts(sizes.map(\.heads))),
      (prefix + "attention.head_count_kv", counts(sizes.map(\.keyValueHeads))),
      (prefix + "attention.layer_norm_rms_epsilon", .float32(c.normEpsilon)),
      (prefix + "attention.key_length", count(c.headDimension)),
      (prefix + "attention.value_length", count(c.headDimension)),
      (prefix + "rope.dimension_count", count(c.headDimension)),
      (prefix + "rope.freq_base", .float32(c.rotary.base)),
      (prefix + "vocab_size", count(c.vocabularySize)),
    ]
    if let window = c.attentionWindow { values.append((prefix + "attention.sliding_window", count(window))) }
    switch c.rotary.scaling {
    case .none, .llama3, .factors: break
    case .linear(let factor):
      values.append((prefix + "rope.scaling.type", .string("linear")))
      values.append((prefix + "rope.scaling.factor", .float32(factor)))
    case .long(let long):
      values.append((prefix + "rope.scaling.attn_factor", .float32(long.attentionFactor)))
      values.append((prefix + "rope.scaling.original_context_length", count(long.originalContext)))
    }
    return values
  }

  /// llama.cpp's number for the type most weights have.
  package static func fileType(_ type: String) -> Int {
    let numbers = [
      "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 12,
      "Q4_K": 15, "Q5_K": 17,
      "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4": 38,
    ]
    return numbers[type] ?? 1
  }
}
