internal import Foundation
internal import LatheFormats
internal import LatheModel
public import LatheTensor

/// What errors in each input channel of each weight count for, as llama.cpp's `llama-imatrix` gathers it: the mean of
/// the squares of the channel's inputs.
///
/// Read from its GGUF form (tensors `NAME.in_sum2` and `NAME.counts`) or from the older `.dat` (little-endian: the
/// number of entries, then for each the length of its name, its name, the number of calls, the number of channels, and
/// their sums).
public struct ImportanceMatrix: Sendable {
  /// The digest of the file.
  public let digest: String
  private let channels: [String: [Float]]

  /// Reads the file at `path`.
  ///
  /// - Throws: `Problem` where it cannot be read, or holds no such data.
  public init(reading path: String) throws(Problem) {
    let bytes = try Bytes(mapping: path)
    digest = Digest.of(bytes)
    let isGGUF = bytes.count >= 4 && bytes.withUnsafeBytes { $0.prefix(4).elementsEqual("GGUF".utf8) }
    channels =
      try isGGUF ? Self.channels(of: try Checkpoint(reading: path), at: path) : Self.old(bytes, at: path)
    guard channels.values.allSatisfy({ $0.allSatisfy { $0.isFinite && $0 >= 0 } }) else {
      throw Problem(.badData, "the importance matrix holds what is no mean of squares", at: path)
    }
  }

  /// What is known of the input of the weight at `site`.
  ///
  /// - Throws: `Problem` where nothing is, or it has another width.
  func evidence(for site: Site, of model: Model) throws(Problem) -> Evidence {
    let name = model.architecture.ggufTensorNames.name(of: site) + ".weight"
    let columns = model.configuration.shape(of: site).columns
    guard let values = channels[name] else {
      throw Problem(
        .badData, "the importance matrix knows nothing of \(name)", cure: "gather it on this model")
    }
    guard values.count == columns else {
      throw Problem(
        .badData,
        "the importance matrix has \(values.count) channels for \(name) where the model has \(columns)",
        cure: "gather it on this model")
    }
    return Evidence(count: 1, channelEnergy: values)
  }

  private static func floats(_ tensor: StoredTensor) throws(Problem) -> [Float] {
    guard tensor.type == .f32 else {
      throw Problem(.badData, "tensor \"\(tensor.name)\" of an importance matrix is not of single precision")
    }
    return tensor.data.elements(as: Float.self)
  }

  private static func channels(of checkpoint: Checkpoint, at path: String) throws(Problem) -> [String:
    [Float]]
  {
    let suffix = ".in_sum2"
    var found: [String: [Float]] = [:]
    for tensor in checkpoint.tensors where tensor.name.hasSuffix(suffix) {
      let name = String(tensor.name.dropLast(suffix.count))
      let sums = try floats(tensor),
        counts = try checkpoint[name + ".counts"].map { (tensor) throws(Problem) in try floats(tensor) } ?? []
      // More counts than one are a mixture's experts, of which no model here has any.
      guard let count = counts.first, counts.count == 1 else {
        throw Problem(.badData, "\(name) has \(counts.count) counts where one is due", at: path)
      }
      found[name] = sums.map { count > 0 ? $0 / count : 1 }
    }
    guard !found.isEmpty else { throw Problem(.badData, "the file holds no importance matrix", at: path) }
    return found
  }

  private static func old(_ bytes: Bytes, at path: String) throws(Problem) -> [String: [Float]] {
    var at = 0
    func take(_ count: Int) throws(Problem) -> Int {
      guard count >= 0, count <= bytes.count - at else {
        throw Problem(.badData, "the importance matrix ends early, or is no such file", at: path)
      }
      at += count
      return at - count
    }
    func number() throws(Problem) -> Int {
      let place = try take(4)
      return bytes.withUnsafeBytes {
        Int(Int32(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Int32.self)))
      }
    }
    var found: [String: [Float]] = [:]
    let entries = try number()
    guard entries > 0 else { throw Problem(.badData, "the importance matrix has no entries", at: path) }
    for _ in 0..<entries {
      let length = try number()
      let start = try take(length)
      let name = bytes.withUnsafeBytes { String(decoding: $0[start..<start + length], as: UTF8.self) }
      let calls = try number(), count = try number()
      guard count > 0 else { throw Problem(.badData, "\(name) has \(count) channels", at: path) }
      let place = try take(count <= bytes.count / 4 ? 4 * count : -1)
      found[name] = bytes.withUnsafeBytes { raw in
        (0..<count).map { i in
          let value = raw.loadUnaligned(fromByteOffset: place + 4 * i, as: Float.self)
          return calls > 0 ? value / Float(calls) : value
        }
      }
    }
    return found
  }
}
