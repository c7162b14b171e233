import LatheEncoding
package import LatheFormats
package import LatheTensor

extension Checkpoint {
  /// The matrix called `name`, encoded as it is stored.
  func matrix(_ name: String) throws(Problem) -> EncodedMatrix {
    let tensor = try tensor(name)
    guard tensor.shape.count == 2 else {
      throw Problem(.badData, "tensor \"\(name)\" has \(tensor.shape.count) dimensions where a weight has 2")
    }
    guard let encoding = StoredBlocks(named: tensor.type.name) else {
      throw Problem(
        .badData, "tensor \"\(name)\" is stored as \(tensor.type.name), which cannot be executed",
        cure: "types executed are \(StoredLayout.all.map(\.name).joined(separator: ", "))")
    }
    do throws(Problem) {
      return try EncodedMatrix(
        encoding: encoding, rows: tensor.shape[0], columns: tensor.shape[1],
        parts: [encoding.isDense ? "" : "blocks": tensor.data])
    } catch {
      throw error.located(at: "tensor \"\(name)\"")
    }
  }

  /// The vector called `name`, in single precision.
  package func vector(_ name: String) throws(Problem) -> [Float] {
    let tensor = try tensor(name)
    guard tensor.shape.count == 1, let layout = StoredLayout.named(tensor.type.name),
      layout.elementsPerBlock == 1
    else {
      throw Problem(.badData, "tensor \"\(name)\" is not a vector of floats")
    }
    var out = [Float](repeating: 0, count: tensor.shape[0])
    out.withUnsafeMutableBufferPointer { out in
      tensor.data.withUnsafeBytes { raw in
        guard let from = raw.baseAddress?.assumingMemoryBound(to: UInt8.self), let to = out.baseAddress else {
          return
        }
        Kernels.best.decode(layout, from, into: to, tensor.shape[0])
      }
    }
    return out
  }

  /// The blocks, norms, embedding and head under `names`.
  func model(
    _ architecture: Architecture, _ configuration: Configuration, names: TensorNames,
    matrix: (String) throws(Problem) -> EncodedMatrix
  ) throws(Problem) -> Model {
    try configuration.validate()
    var blocks: [Block] = []
    for layer in 0..<configuration.layers {
      var weights: [Role: Linear] = [:]
      for role in Role.allCases {
        let name = names.name(of: Site(layer, role))
        weights[role] = Linear(
          weight: try matrix(name + ".weight"),
          bias: self[name + ".bias"] == nil ? nil : try vector(name + ".bias"))
      }
      blocks.append(
        Block(
          attentionNorm: try vector(TensorNames.inLayer(layer, names.attentionNorm) + ".weight"),
          feedForwardNorm: try vector(TensorNames.inLayer(layer, names.feedForwardNorm) + ".weight"),
          weights: weights))
    }
    return Model(
      architecture: architecture, configuration: configuration,
      embedding: try matrix(names.embedding + ".weight"),
      blocks: blocks, finalNorm: try vector(names.finalNorm + ".weight"),
      head: configuration.tiesEmbeddings ? nil : Linear(weight: try matrix(names.head + ".weight")))
  }
}
