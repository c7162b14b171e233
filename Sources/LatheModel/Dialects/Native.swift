import Foundation
public import LatheEncoding
public import LatheFormats
public import LatheTensor

/// A folder that `quantize` wrote: `config.json` with a description of each encoded weight, and its parts in safetensors.
///
/// The part p of weight w is the tensor "w.p"; a dense weight is the tensor "w" itself. The description is the member
/// `quantization_config` of `config.json`, whose `quant_method` keeps other readers from taking parts for weights.
/// Weights that the original fuses are apart here: each has the fused one's name, a dot, and its role.
public enum NativeDialect: CheckpointDialect {
  public static let name = "native"
  /// The value of `quant_method`.
  public static let methodName = "lathe"
  /// The version of the layout; a reader refuses a later one.
  public static let version = 1

  /// What `quantization_config` holds.
  public struct Description: Codable, Sendable {
    enum CodingKeys: String, CodingKey {
      case method = "quant_method"
      case version = "format_version"
      case recipe, calibration, encodings, rotation
      case residualRotation = "residual_rotation"
      case bitsPerWeight = "bits_per_weight"
    }
    /// Always `methodName`.
    public var method = NativeDialect.methodName
    /// The layout's version.
    public var version = NativeDialect.version
    /// The recipe, as text.
    public var recipe: String
    /// What it was calibrated on, as text.
    public var calibration: String
    /// The bits a weight of the blocks costs.
    public var bitsPerWeight: Double
    /// "interleaved" where rows of query and key are paired side by side.
    public var rotation: String?
    /// The basis the hidden states are in, where it is not the original one.
    public var residualRotation: Rotation?
    /// The encoding and the shape of each encoded weight.
    public var encodings: [String: Entry]

    /// A description of the given members.
    public init(
      recipe: String, calibration: String, bitsPerWeight: Double, rotation: String?,
      residualRotation: Rotation? = nil, encodings: [String: Entry]
    ) {
      self.residualRotation = residualRotation
      (self.recipe, self.calibration, self.bitsPerWeight) = (recipe, calibration, bitsPerWeight)
      (self.rotation, self.encodings) = (rotation, encodings)
    }
  }

  /// One encoded weight.
  public struct Entry: Codable, Sendable {
    /// The encoding.
    public var encoding: EncodingDescription
    /// The number of outputs.
    public var rows: Int
    /// The number of inputs.
    public var columns: Int
    /// What happens to the inputs first; nil for nothing.
    package var input: [StepDescription]?
    /// The basis the outputs are in, where it is not the original one.
    package var output: Rotation?

    /// An entry of the given members.
    public init(encoding: EncodingDescription, rows: Int, columns: Int) {
      (self.encoding, self.rows, self.columns) = (encoding, rows, columns)
    }

    /// The entry of `matrix`.
    public init(_ matrix: EncodedMatrix) {
      (encoding, rows, columns) = (matrix.encoding.description, matrix.rows, matrix.columns)
    }

    /// The entry of `linear`.
    public init(_ linear: Linear) {
      self.init(linear.weight)
      if !linear.input.isEmpty { input = linear.input.map(StepDescription.init) }
      output = linear.output
    }
  }

  public static func recognises(_ checkpoint: Checkpoint, at path: String) -> Bool {
    guard HuggingFaceDialect.recognises(checkpoint, at: path),
      let json = try? JSONObject(reading: path + "/config.json")
    else { return false }
    return json.object("quantization_config")?.text("quant_method") == methodName
  }

  public static func model(from checkpoint: Checkpoint, at path: String) throws(Problem) -> Model {
    let json = try JSONObject(reading: path + "/config.json")
    let description = try description(in: json)
    try checkParts(of: description, in: checkpoint)
    var (architecture, configuration) = try HuggingFaceDialect.configuration(from: json) {
      checkpoint[$0] != nil || description.encodings[$0] != nil
    }
    if description.rotation == "interleaved" { configuration.rotary.pairing = .interleaved }
    let names = architecture.nativeTensorNames
    var model = try checkpoint.model(architecture, configuration, names: names) {
      (name) throws(Problem) in
      guard let entry = description.encodings[name] else { return try checkpoint.matrix(name) }
      return try matrix(name, entry, in: checkpoint)
    }
    model.residualRotation = description.residualRotation
    for layer in model.blocks.indices {
      for role in Role.allCases {
        let name = names.name(of: Site(layer, role)) + ".weight"
        guard let entry = description.encodings[name] else { continue }
        model.blocks[layer].weights[role]?.input = try steps(name, entry, in: checkpoint)
        model.blocks[layer].weights[role]?.output = entry.output
      }
    }
    return model
  }

  /// What follows a weight's name in that of its inputs' factors.
  private static let scaleSuffix = ".input_scale"

  /// What happens to the inputs of the weight `name`.
  package static func steps(_ name: String, _ entry: Entry, in checkpoint: Checkpoint) throws(Problem)
    -> [InputStep]
  {
    var steps: [InputStep] = []
    for step in entry.input ?? [] {
      switch step {
      case .scale: steps.append(.scale(try checkpoint.vector(name + scaleSuffix)))
      case .rotate(let rotation): steps.append(.rotate(rotation))
      case .quantize(let grid): steps.append(.quantize(grid))
      }
    }
    return steps
  }

  /// Refuses a part that the description of its weight does not mention: without it, the weight would be another.
  private static func checkParts(of description: Description, in checkpoint: Checkpoint) throws(Problem) {
    for tensor in checkpoint.tensors {
      guard let dot = tensor.name.lastIndex(of: "."),
        let entry = description.encodings[String(tensor.name[..<dot])]
      else { continue }
      if tensor.name[dot...] == scaleSuffix, entry.input?.contains(.scale) == true { continue }
      let layouts = try layouts(of: entry, named: String(tensor.name[..<dot]))
      guard layouts.contains(where: { $0.suffix == tensor.name[dot...] }) else {
        throw Problem(
          .badData,
          "\(entry.encoding.encoding.label) has no part \"\(tensor.name[dot...].dropFirst().prefix(40))\"",
          at: "weight \"\(tensor.name[..<dot])\"", cure: "config.json and the weights do not belong together")
      }
    }
  }

  static func description(in json: JSONObject) throws(Problem) -> Description {
    guard let data = json.data("quantization_config") else {
      throw Problem(.badData, "quantization_config is missing", at: json.place)
    }
    do {
      let description = try JSONDecoder().decode(Description.self, from: data)
      guard description.version <= version else {
        throw Problem(
          .badData,
          "the folder has layout version \(description.version), this program reads up to \(version)",
          at: json.place, cure: "use a later version")
      }
      return description
    } catch let problem as Problem {
      throw problem.located(at: json.place)
    } catch {
      throw Problem(.badData, "quantization_config cannot be read (\(sentence(for: error)))", at: json.place)
    }
  }

  /// The matrix `entry` describes, over the parts in `checkpoint`.
  package static func matrix(_ name: String, _ entry: Entry, in checkpoint: Checkpoint) throws(Problem)
    -> EncodedMatrix
  {
    do throws(Problem) {
      let encoding = entry.encoding.encoding
      var parts: [String: Bytes] = [:]
      for layout in try layouts(of: entry, named: name) {
        parts[layout.name] = try checkpoint.tensor(name + layout.suffix).data
      }
      return try EncodedMatrix(encoding: encoding, rows: entry.rows, columns: entry.columns, parts: parts)
    } catch {
      throw error.located(at: "weight \"\(name)\"")
    }
  }

  /// What is stored for a weight.
  private static func layouts(of entry: Entry, named name: String) throws(Problem) -> [PartLayout] {
    guard (1..<1 << 31).contains(entry.rows), (1..<1 << 31).contains(entry.columns),
      entry.rows <= (1 << 48) / entry.columns
    else {
      throw Problem(
        .badData, "a weight of \(entry.rows) × \(entry.columns) is out of range", at: "weight \"\(name)\"")
    }
    do throws(Problem) {
      return try entry.encoding.encoding.parts(rows: entry.rows, columns: entry.columns)
    } catch {
      throw error.located(at: "weight \"\(name)\"")
    }
  }

  /// The tensors that hold `matrix` under `name`.
  package static func tensors(_ name: String, _ matrix: EncodedMatrix) -> [TensorSource] {
    zip(matrix.layouts, matrix.parts).map { layout, bytes in
      tensor(name, layout) { () throws(Problem) in bytes }
    }
  }

  /// The tensor that holds one part of the weight `name`.
  package static func tensor(
    _ name: String, _ layout: PartLayout, load: @escaping () throws(Problem) -> Bytes
  ) -> TensorSource {
    TensorSource(
      name: name + layout.suffix, type: StorageType.safetensors(name: layout.type) ?? .u8,
      shape: layout.shape, load: load)
  }

  /// The tensors that hold `linear` under `name`, its bias aside.
  package static func tensors(_ name: String, _ linear: Linear) -> [TensorSource] {
    var all = tensors(name, linear.weight)
    for case .scale(let factors) in linear.input {
      all.append(
        TensorSource(name: name + scaleSuffix, type: .f16, shape: [factors.count]) { () throws(Problem) in
          Bytes(elements: factors.map(HalfPrecision.bits))
        })
    }
    return all
  }

  private static func sentence(for error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .keyNotFound(let key, _): return "\"\(key.stringValue)\" is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      return "\"\(context.codingPath.map(\.stringValue).joined(separator: "."))\" is of the wrong type"
    default: return "it is damaged"
    }
  }
}

extension PartLayout {
  /// What follows the weight's name in the part's.
  var suffix: String { name.isEmpty ? "" : "." + name }
}
