import ArgumentParser
import LatheEncoding
import LatheFormats
import LatheModel
import LatheTensor

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Show what a model is: architecture, parameters, tensors, real bits a weight, what executes each.")

  @Argument(help: "The model.") var model: String
  @OptionGroup var common: CommonOptions

  func run() throws {
    let model = try Model(reading: self.model)
    let summary = Summary(model, path: self.model, fileBytes: try ModelSize.fileBytes(at: self.model))
    if common.json {
      try Output.json(summary)
    } else {
      summary.print()
    }
  }

  /// What the command tells.
  struct Summary: Encodable {
    let path, architecture: String
    let parameters, layers, hiddenSize, heads, keyValueHeads, feedForward, vocabulary, context: Int
    let bitsPerWeight, bitsPerQuantizedWeight: Double
    let fileBytes: Int
    /// Heads, key/value heads and feed-forward width of each layer, where they differ.
    let layerSizes: [[Int]]?
    let tensors: [Tensor]

    struct Tensor: Encodable {
      let name, encoding: String
      let rows, columns: Int
      let nominalBits, bitsPerWeight: Double
      let execution: String
      enum CodingKeys: String, CodingKey {
        case name, encoding, rows, columns, execution
        case nominalBits = "nominal_bits"
        case bitsPerWeight = "bits_per_weight"
      }
    }

    enum CodingKeys: String, CodingKey {
      case path, architecture, parameters, layers, heads, vocabulary, context, tensors
      case hiddenSize = "hidden_size"
      case layerSizes = "layer_sizes"
      case keyValueHeads = "key_value_heads"
      case feedForward = "feed_forward_size"
      case bitsPerWeight = "bits_per_weight"
      case bitsPerQuantizedWeight = "bits_per_block_weight"
      case fileBytes = "file_bytes"
    }

    init(_ model: Model, path: String, fileBytes: Int) {
      let c = model.configuration
      self.path = path
      architecture = model.architecture.names.sorted().joined(separator: ", ")
      parameters = model.parameterCount
      (layers, hiddenSize, heads, keyValueHeads) = (c.layers, c.hiddenSize, c.heads, c.keyValueHeads)
      (feedForward, vocabulary, context) = (c.feedForwardSize, c.vocabularySize, c.contextLength)
      (bitsPerWeight, bitsPerQuantizedWeight) = (model.bitsPerWeight, model.bitsPerQuantizedWeight)
      layerSizes =
        c.layerSizes.isEmpty
        ? nil : c.layerSizes.map { [$0.heads, $0.keyValueHeads, $0.feedForwardSize] }
      self.fileBytes = fileBytes
      var tensors = [Tensor("embedding", Linear(weight: model.embedding))]
      for (layer, block) in model.blocks.enumerated() {
        for role in Role.allCases {
          if let linear = block.weights[role] {
            tensors.append(Tensor(Site(layer, role).description, linear))
          }
        }
      }
      if let head = model.head { tensors.append(Tensor("head", head)) }
      self.tensors = tensors
    }

    func print() {
      Output.line("\(path): \(architecture), \(parameters) parameters, \(Format.bytes(fileBytes))")
      Output.line(
        "\(layers) layers, hidden \(hiddenSize), heads \(range(heads, 0)):\(range(keyValueHeads, 1)),"
          + " feed-forward \(range(feedForward, 2)), vocabulary \(vocabulary), context \(context)")
      Output.line(
        "\(Format.number(bitsPerQuantizedWeight, 3)) bits a weight in the blocks,"
          + " \(Format.number(bitsPerWeight, 3)) over the whole model")
      Output.line()
      // Runs of tensors that are alike take one line.
      Output.line("tensors                shape         encoding     nom. real   executed by")
      var index = 0
      while index < tensors.count {
        let first = tensors[index]
        var end = index + 1
        while end < tensors.count, first.isLike(tensors[end]) { end += 1 }
        let execution = first.execution.replacing(" activations", with: "")
        let name = end - index == 1 ? first.name : "\(first.name) … \(tensors[end - 1].name) (\(end - index))"
        Output.line(
          pad(name, 22) + " " + pad("\(first.rows) × \(first.columns)", 13) + " " + pad(first.encoding, 12)
            + " " + pad(Format.number(first.nominalBits, first.nominalBits < 10 ? 2 : 1), 4) + " "
            + pad(Format.number(first.bitsPerWeight, 3), 6) + " " + execution)
        index = end
      }
    }

    /// The largest of a size, and the smallest before it where layers differ.
    private func range(_ largest: Int, _ size: Int) -> String {
      let least = layerSizes?.map { $0[size] }.min() ?? largest
      return least == largest ? "\(largest)" : "\(least)…\(largest)"
    }

    private func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.count))
    }
  }
}

extension Inspect.Summary.Tensor {
  init(_ name: String, _ linear: Linear) {
    let matrix = linear.weight
    let rotations = linear.input.count { if case .rotate = $0 { true } else { false } }
    let turned = rotations > 0 || linear.output != nil ? "+rotation" : ""
    self.init(
      name: name, encoding: matrix.encoding.label, rows: matrix.rows, columns: matrix.columns,
      nominalBits: matrix.encoding.nominalBits,
      bitsPerWeight: Double(8 * linear.byteCount) / Double(matrix.count),
      execution: "\(Kernels.best.name), \(linear.activations?.label ?? "float activations")\(turned)")
  }

  func isLike(_ other: Self) -> Bool {
    (rows, columns, encoding, execution) == (other.rows, other.columns, other.encoding, other.execution)
  }
}
