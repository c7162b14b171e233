public import LatheTensor

/// llama2.c checkpoints in float32: seven integers, then the tensors of a LLaMA-2 model one after another.
///
/// Tensors get their Hugging Face names and shapes. The rows of `q_proj` and `k_proj` stay as they are:
/// llama2.c rotates neighbouring pairs (`llama2c.rope` = `interleaved`), Hugging Face rotates halves.
/// Two layouts are read: the legacy one (no magic; a negative vocabulary size says that the classifier is a tensor
/// of its own) and version 1 (magic `ak42`). Source: `karpathy/llama2.c`, `run.c` and `export.py`.
public enum Llama2C: CheckpointFormat {
  /// The name people use.
  public static let name = "llama2.c"

  static let magic: UInt32 = 0x616b_3432
  private static let legacyHeaderBytes = 28
  private static let headerBytes = 256

  /// Whether the file starts with the magic, or with seven integers that describe a model.
  public static func recognises(path: String, head: Bytes) -> Bool {
    guard head.count >= legacyHeaderBytes else { return false }
    if head.load(at: 0, as: UInt32.self) == magic { return true }
    return path.hasSuffix(".bin") && (try? Shape(legacy: head)) != nil
  }

  /// Reads the checkpoint at `path`.
  ///
  /// - Throws: `Problem` of kind `badData` where the header describes no model, or one of another size.
  public static func read(_ path: String) throws(Problem) -> Checkpoint {
    let bytes = try Bytes(mapping: path)
    do throws(Problem) {
      guard bytes.count >= legacyHeaderBytes else {
        throw Problem(.badData, "the file has \(bytes.count) bytes, fewer than its header takes")
      }
      let isLegacy = bytes.load(at: 0, as: UInt32.self) != magic
      let shape = try isLegacy ? Shape(legacy: bytes) : Shape(versioned: bytes)
      let tensors = try shape.tensors(
        of: bytes, from: isLegacy ? legacyHeaderBytes : headerBytes,
        in: isLegacy ? shape.legacyLayout : shape.versionedLayout)
      return try Checkpoint(
        format: name, files: [path], metadata: shape.metadata(version: isLegacy ? 0 : 1), tensors: tensors)
    } catch {
      throw error.located(at: path)
    }
  }
}

/// The dimensions of a llama2.c model.
private struct Shape {
  private let dim, hidden, layers, heads, keyValueHeads, vocabulary, context: Int
  private let isTied: Bool

  /// A tensor in the file; a nil name is a table that is passed over.
  struct Slot {
    let name: String?
    let shape: [Int]
  }

  /// The header without magic: dim, hidden, layers, heads, key-value heads, ± vocabulary, context.
  init(legacy bytes: Bytes) throws(Problem) {
    let fields = (0..<7).map { Int(bytes.load(at: 4 * $0, as: Int32.self)) }
    try self.init(fields, isTied: fields[5] > 0)
  }

  /// The header of version 1: magic, version, the seven integers, a byte that says whether the head is tied.
  init(versioned bytes: Bytes) throws(Problem) {
    guard bytes.count >= 256 else {
      throw Problem(.badData, "the file has \(bytes.count) bytes, fewer than its header takes")
    }
    let version = bytes.load(at: 4, as: Int32.self)
    guard version == 1 else {
      throw Problem(
        .badData, "llama2.c version \(version) is not read", cure: "export version 0 or 1 (float32)")
    }
    let fields = (0..<7).map { Int(bytes.load(at: 8 + 4 * $0, as: Int32.self)) }
    guard fields[5] > 0 else { throw Problem(.badData, "the header gives a vocabulary of \(fields[5])") }
    try self.init(fields, isTied: bytes[36] != 0)
  }

  private init(_ fields: [Int], isTied: Bool) throws(Problem) {
    (dim, hidden, layers, heads) = (fields[0], fields[1], fields[2], fields[3])
    (keyValueHeads, vocabulary, context) = (fields[4], abs(fields[5]), fields[6])
    self.isTied = isTied
    let limits = [1 << 17, 1 << 20, 1 << 12, 1 << 12, 1 << 12, 1 << 24, 1 << 24]
    let words = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"]
    let values = [dim, hidden, layers, heads, keyValueHeads, vocabulary, context]
    for (word, (value, limit)) in zip(words, zip(values, limits)) where value < 1 || value > limit {
      throw Problem(.badData, "the header gives \(word) \(value)", cure: "1 to \(limit) is read")
    }
    guard dim % heads == 0, heads % keyValueHeads == 0, (dim / heads) % 2 == 0 else {
      throw Problem(
        .badData, "\(heads) heads and \(keyValueHeads) key-value heads do not divide a width of \(dim) evenly"
      )
    }
  }

  func metadata(version: Int32) -> [(key: String, value: MetadataValue)] {
    let pairs = [
      ("dim", dim), ("hidden_dim", hidden), ("n_layers", layers), ("n_heads", heads),
      ("n_kv_heads", keyValueHeads), ("vocab_size", vocabulary), ("seq_len", context),
    ]
    return pairs.map { ("llama2c." + $0.0, .int32(Int32($0.1))) } + [
      ("llama2c.tied", .bool(isTied)), ("llama2c.version", .int32(version)),
      ("llama2c.rope", .string("interleaved")),
    ]
  }

  private var embedding: Slot { Slot(name: "model.embed_tokens.weight", shape: [vocabulary, dim]) }
  private var finalNorm: Slot { Slot(name: "model.norm.weight", shape: [dim]) }
  private var head: [Slot] { isTied ? [] : [Slot(name: "lm_head.weight", shape: [vocabulary, dim])] }
  private var attentionNorms: [Slot] { each("input_layernorm", [dim]) }
  private var feedForwardNorms: [Slot] { each("post_attention_layernorm", [dim]) }
  private var attention: [Slot] {
    let narrow = dim / heads * keyValueHeads
    return each("self_attn.q_proj", [dim, dim]) + each("self_attn.k_proj", [narrow, dim])
      + each("self_attn.v_proj", [narrow, dim]) + each("self_attn.o_proj", [dim, dim])
  }
  private var feedForward: [Slot] {
    each("mlp.gate_proj", [hidden, dim]) + each("mlp.down_proj", [dim, hidden])
      + each("mlp.up_proj", [hidden, dim])
  }

  /// The order of files without magic; two tables of rotations stand before the head.
  var legacyLayout: [Slot] {
    let table = Slot(name: nil, shape: [context, dim / heads / 2])
    return [embedding] + attentionNorms + attention + feedForwardNorms + feedForward + [
      finalNorm, table, table,
    ] + head
  }

  /// The order of version 1: norms first.
  var versionedLayout: [Slot] {
    attentionNorms + feedForwardNorms + [finalNorm, embedding] + attention + feedForward + head
  }

  private func each(_ part: String, _ shape: [Int]) -> [Slot] {
    (0..<layers).map { Slot(name: "model.layers.\($0).\(part).weight", shape: shape) }
  }

  /// The tensors of `layout`, which must fill the file from `start` to its end.
  func tensors(of bytes: Bytes, from start: Int, in layout: [Slot]) throws(Problem) -> [StoredTensor] {
    var expected = start
    for slot in layout {
      guard let size = StorageType.f32.byteCount(ofShape: slot.shape) else {
        throw Problem(.badData, "the header describes a model that is too large")
      }
      let (sum, overflow) = expected.addingReportingOverflow(size)
      guard !overflow else { throw Problem(.badData, "the header describes a model that is too large") }
      expected = sum
    }
    guard expected == bytes.count else {
      throw Problem(
        .badData, "the header describes a model of \(expected) bytes, the file has \(bytes.count)",
        cure: expected > bytes.count
          ? "the file is cut short; copy it again" : "the file is no float32 llama2.c model")
    }
    var tensors: [StoredTensor] = []
    var offset = start
    for slot in layout {
      let size = StorageType.f32.byteCount(ofShape: slot.shape) ?? 0
      if let name = slot.name {
        tensors.append(
          try StoredTensor(name: name, type: .f32, shape: slot.shape, data: bytes[offset..<offset + size]))
      }
      offset += size
    }
    return tensors
  }
}
