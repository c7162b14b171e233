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
    var tensors = [try tensor("token_embd.weight", model.embedding, as: floats)]
    tensors.append(vector("output_norm.weight", model.finalNorm))
    if let head = model.head { tensors.append(try tensor("output.weight", head.weight, as: floats)) }
    if let factors = rotaryFactors(model.configuration) { tensors.append(factors) }
    let names = model.architecture.ggufTensorNames
    for (layer, block) in model.blocks.enumerated() {
      tensors.append(vector(TensorNames.inLayer(layer, names.attentionNorm) + ".weight", block.attentionNorm))
      tensors.append(
        vector(TensorNames.inLayer(layer, names.feedForwardNorm) + ".weight", block.feedForwardNorm))
      for role in Role.allCases {
        guard let linear = block.weights[role] else { continue }
        let name = names.name(of: Site(layer, role))
        let order = rowOrder(role, model)
        tensors.append(
          try tensor(
            name + ".weight", linear.weight, as: floats, order: order, late: late(Site(layer, role))))
        if let bias = linear.bias {
          tensors.append(vector(name + ".bias", order.map { $0.map { bias[$0] } } ?? bias))
        }
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
  package static func rowOrder(_ role: Role, _ model: Model) -> [Int]? {
    guard role == .query || role == .key, model.architecture.ggufRotation == .interleaved,
      model.configuration.rotary.pairing == .halves
    else { return nil }
    let d = model.configuration.headDimension
    return (0..<model.configuration.shape(of: role).rows).map { row in
      let head = row / d, place = row % d
      return head * d + place % 2 * (d / 2) + place / 2
    }
  }

  /// The tensor of rotary factors, where the scaling needs one.
  package static func rotaryFactors(_ c: Configuration) -> TensorSource? {
    guard let factors = c.rotary.frequencyFactors(dimension: c.headDimension), !isLinear(c.rotary.scaling)
    else { return nil }
    return vector("rope_freqs.weight", factors)
  }

  private static func isLinear(_ scaling: RotaryConfiguration.Scaling) -> Bool {
    if case .linear = scaling { true } else { false }
  }

  /// A weight on its way into the file: its rows in `order`, its numbers widened to `floats`, when its turn comes.
  private static func tensor(
    _ name: String, _ matrix: EncodedMatrix, as floats: StoredLayout?, order: [Int]? = nil,
    late: LateWeight? = nil
  ) throws(Problem) -> TensorSource {
    let encoding = late?.encoding ?? matrix.encoding
    let layout = floats ?? encoding.storedLayout
    guard let type = StorageType.all.first(where: { $0.name == layout?.name && $0.ggufID != nil }) else {
      throw Problem(
        .usage, "weight \(name) is encoded as \(encoding.label), which GGUF does not have",
        cure: "choose 2 to 6, 8, 16 or 32 bits with --format gguf, or --format native")
    }
    return TensorSource(name: name, type: type, shape: [matrix.rows, matrix.columns]) { () throws(Problem) in
      let matrix = try late?.make() ?? matrix
      let ordered = try order.map { (order) throws(Problem) in try matrix.selectingRows(order) } ?? matrix
      return try floats.map { (layout) throws(Problem) in try ordered.numbers(as: layout) }
        ?? ordered.parts[0]
    }
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
    var values: [(key: String, value: MetadataValue)] = [
      ("general.architecture", .string(architecture.ggufName)), ("general.name", .string(name)),
      ("general.file_type", count(fileType)), ("general.quantization_version", count(2)),
      (prefix + "context_length", count(c.contextLength)), (prefix + "embedding_length", count(c.hiddenSize)),
      (prefix + "block_count", count(c.layers)), (prefix + "feed_forward_length", count(c.feedForwardSize)),
      (prefix + "attention.head_count", count(c.heads)),
      (prefix + "attention.head_count_kv", count(c.keyValueHeads)),
      (prefix + "attention.layer_norm_rms_epsilon", .float32(c.normEpsilon)),
      (prefix + "attention.key_length", count(c.headDimension)),
      (prefix + "attention.value_length", count(c.headDimension)),
      (prefix + "rope.dimension_count", count(c.headDimension)),
      (prefix + "rope.freq_base", .float32(c.rotary.base)),
      (prefix + "vocab_size", count(c.vocabularySize)),
    ]
    if case .linear(let factor) = c.rotary.scaling {
      values.append((prefix + "rope.scaling.type", .string("linear")))
      values.append((prefix + "rope.scaling.factor", .float32(factor)))
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
