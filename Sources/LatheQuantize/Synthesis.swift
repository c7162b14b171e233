internal import Foundation
public import LatheEncoding
internal import LatheFormats
public import LatheModel
public import LatheTensor

/// A model of random weights and a real shape: for measuring speed and memory where the weights do not matter.
///
/// Weights go to the file one after another; no more than one is held. The same shape, encodings and seed give the same
/// bytes.
public struct Synthesis: Sendable {
  /// The architecture and sizes.
  public let shape: ModelShape
  /// What is stored for the weights of the blocks.
  public let encoding: any Encoding
  /// What is stored for the embedding and the head.
  public let endEncoding: any Encoding
  /// What the weights are drawn from.
  public let seed: UInt64

  /// A model of `shape`.
  ///
  /// - Throws: `Problem` of kind `usage` where an encoding cannot hold a weight.
  public init(_ shape: ModelShape, encoding: any Encoding, ends: (any Encoding)? = nil, seed: UInt64)
    throws(Problem)
  {
    (self.shape, self.encoding, self.seed) = (shape, encoding, seed)
    endEncoding = ends ?? encoding
    for weight in shape.weights(shape.architecture.nativeTensorNames) {
      do throws(Problem) {
        _ = try self.encoding(of: weight).parts(rows: weight.rows, columns: weight.columns)
      } catch {
        throw Problem(.usage, error.what, at: "weight \(weight.name)", cure: "choose another encoding")
      }
    }
  }

  private func encoding(of weight: ModelShape.Weight) -> any Encoding {
    weight.site == nil ? endEncoding : encoding
  }

  /// The bytes of all weights, norms included.
  public func byteCount() throws(Problem) -> Int {
    let names = shape.architecture.nativeTensorNames
    var total = shape.norms(names).reduce(0) { $0 + 4 * $1.count }
    for weight in shape.weights(names) {
      total += try encoding(of: weight).parts(rows: weight.rows, columns: weight.columns).reduce(0) {
        $0 + $1.byteCount
      }
    }
    return total
  }

  /// Writes a folder as `quantize` does.
  ///
  /// - Parameters:
  ///   - report: receives the bytes made so far.
  /// - Throws: `Problem` where the disk is too small, or a file cannot be written.
  public func writeFolder(
    to path: String, replacing: Bool = false, team: ThreadTeam, report: @escaping (Int) -> Void = { _ in }
  ) throws(Problem) {
    try checkSpace(for: path, replacing)
    let partial = path + ".partial", names = shape.architecture.nativeTensorNames
    try? FileManager.default.removeItem(atPath: partial)
    try make("create the folder", at: path) {
      try FileManager.default.createDirectory(atPath: partial, withIntermediateDirectories: true)
    }
    do throws(Problem) {
      let maker = Maker(seed: seed, team: team, report: report)
      var tensors = shape.norms(names).map { ones($0.name, $0.count) }
      var entries: [String: NativeDialect.Entry] = [:]
      for weight in shape.weights(names) {
        let name = weight.name + ".weight"
        tensors += try maker.tensors(weight, encoding(of: weight)) {
          NativeDialect.tensor(name, $0, load: $1)
        }
        entries[name] = NativeDialect.Entry(
          encoding: EncodingDescription(encoding(of: weight)), rows: weight.rows, columns: weight.columns)
      }
      // Wide elements first: every part then begins on a multiple of its element's width.
      try Safetensors.writeShards(
        tensors.sorted { $0.type.bytesPerBlock > $1.type.bytesPerBlock }, to: partial)
      try writeConfiguration(entries, to: partial + "/config.json")
      _ = try Model(reading: partial)
    } catch {
      try? FileManager.default.removeItem(atPath: partial)
      throw error
    }
    try install(partial, as: path)
  }

  /// Writes a GGUF file without a vocabulary, which llama.cpp's measuring programs read.
  ///
  /// - Throws: `Problem` where an encoding is not one of GGUF's, the disk is too small, or the file cannot be written.
  public func writeGGUF(
    to path: String, replacing: Bool = false, team: ThreadTeam, report: @escaping (Int) -> Void = { _ in }
  ) throws(Problem) {
    try checkSpace(for: path, replacing)
    let partial = path + ".partial", names = shape.architecture.ggufTensorNames
    let maker = Maker(seed: seed, team: team, report: report)
    var tensors = shape.norms(names).map { ones($0.name, $0.count) }
    tensors += GGUFDialect.rotaryFactors(shape.configuration)
    for weight in shape.weights(names) {
      let encoding = encoding(of: weight)
      guard let type = StorageType.all.first(where: { $0.name == encoding.label && $0.ggufID != nil }) else {
        throw Problem(.usage, "GGUF has no type \(encoding.label)", cure: "choose --format native")
      }
      tensors += try maker.tensors(weight, encoding) { _, load in
        TensorSource(
          name: weight.name + ".weight", type: type, shape: [weight.rows, weight.columns], load: load)
      }
    }
    try GGUF.write(
      tensors,
      metadata: GGUFDialect.metadata(
        shape.architecture, shape.configuration, name: "random " + shape.name,
        fileType: GGUFDialect.fileType(encoding.label)) + [("tokenizer.ggml.model", .string("no_vocab"))],
      to: partial)
    do throws(Problem) {
      _ = try Model(reading: partial)
    } catch {
      try? FileManager.default.removeItem(atPath: partial)
      throw error
    }
    try install(partial, as: path)
  }
}

/// Makes weights when their turn comes, each from the pool of its width and encoding.
private final class Maker {
  private var pools: [String: RandomWeights] = [:]
  private let seed: UInt64
  private let team: ThreadTeam
  private let report: (Int) -> Void
  private var done = 0
  private var number: UInt64 = 0

  init(seed: UInt64, team: ThreadTeam, report: @escaping (Int) -> Void) {
    (self.seed, self.team, self.report) = (seed, team, report)
  }

  /// The tensors of one weight, one for each part.
  func tensors(
    _ weight: ModelShape.Weight, _ encoding: any Encoding,
    _ tensor: (PartLayout, @escaping () throws(Problem) -> Bytes) -> TensorSource
  ) throws(Problem) -> [TensorSource] {
    number += 1
    var generator = SeededGenerator(seed: seed &+ number)
    let choice = generator.next(), layouts = try encoding.parts(rows: weight.rows, columns: weight.columns)
    return layouts.indices.map { index in
      tensor(layouts[index]) { [self] () throws(Problem) in
        let bytes = try pool(encoding, weight.columns).part(index, rows: weight.rows, seed: choice)
        done += bytes.count
        report(done)
        return bytes
      }
    }
  }

  private func pool(_ encoding: any Encoding, _ columns: Int) throws(Problem) -> RandomWeights {
    let key = "\(encoding.label) \(columns)"
    if let pool = pools[key] { return pool }
    let pool = try RandomWeights(encoding, columns: columns, seed: seed, team: team)
    pools[key] = pool
    return pool
  }
}

extension Synthesis {
  private func ones(_ name: String, _ count: Int) -> TensorSource {
    GGUFDialect.vector(name, [Float](repeating: 1, count: count))
  }

  private func writeConfiguration(_ entries: [String: NativeDialect.Entry], to path: String) throws(Problem) {
    var bytes = 0, count = 0
    for weight in shape.weights(shape.architecture.nativeTensorNames) where weight.site != nil {
      count += weight.rows * weight.columns
      bytes += try encoding.parts(rows: weight.rows, columns: weight.columns).reduce(0) { $0 + $1.byteCount }
    }
    let description = NativeDialect.Description(
      recipe: "random weights, seed \(seed)", calibration: "none",
      bitsPerWeight: Double(8 * bytes) / Double(max(1, count)),
      rotation: shape.configuration.rotary.pairing == .interleaved ? "interleaved" : nil, encodings: entries)
    guard let data = try? JSONEncoder().encode(description) else {
      throw Problem(.internal, "cannot describe the weights as JSON", at: path)
    }
    let base = JSONObject(describing: shape.architecture, shape.configuration)
    try AtomicFile.write(try base.json(setting: "quantization_config", to: data), to: path)
  }

  /// Refuses a name that is taken, and a disk that is too small.
  private func checkSpace(for path: String, _ replacing: Bool) throws(Problem) {
    guard replacing || !FileManager.default.fileExists(atPath: path) else {
      throw Problem(.cannotCreate, "exists already", at: path, cure: "choose another name, or say --force")
    }
    let parent = folder(ofPath: path).isEmpty ? "." : folder(ofPath: path)
    let system = try? FileManager.default.attributesOfFileSystem(forPath: parent)
    guard let free = (system?[.systemFreeSize] as? NSNumber)?.intValue else {
      throw Problem(.cannotCreate, "\(parent) is no folder", at: path, cure: "create it first")
    }
    let needed = try byteCount()
    guard needed + needed / 50 < free else {
      throw Problem(
        .cannotCreate, "the model takes \(needed >> 20) MiB, and the disk has \(free >> 20) MiB left",
        at: path, cure: "free space, or choose another disk")
    }
  }

  private func install(_ partial: String, as path: String) throws(Problem) {
    try make("give the finished model its name", at: path) {
      if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
      try FileManager.default.moveItem(atPath: partial, toPath: path)
    }
  }

  private func make(_ what: String, at path: String, _ body: () throws -> Void) throws(Problem) {
    do {
      try body()
    } catch {
      throw Problem(.cannotCreate, "cannot \(what)", at: path, cure: "check that its folder can be written")
    }
  }
}
