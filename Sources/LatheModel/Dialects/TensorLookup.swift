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
      var block = Block(attentionNorm: [], feedForwardNorm: [], weights: [:])
      for roles in names.tensors {
        let name = names.name(of: Site(layer, roles[0]))
        let whole = try matrix(name + ".weight")
        let bias = self[name + ".bias"] == nil ? nil : try vector(name + ".bias")
        if roles.count == 1 {
          block.weights[roles[0]] = Linear(weight: whole, bias: bias)
          continue
        }
        // A fused projection's parts lie where they are; nothing is copied.
        for (role, part) in try configuration.parts(of: roles, layer, rows: whole.rows, bias?.count) {
          block.weights[role] = Linear(weight: try whole.rows(part), bias: bias.map { Array($0[part]) })
        }
      }
      try readNorms(of: &block, in: layer, names: names, ofHeads: configuration.normalizesHeads)
      blocks.append(block)
    }
    return Model(
      architecture: architecture, configuration: configuration,
      embedding: try matrix(names.embedding + ".weight"),
      blocks: blocks, finalNorm: try vector(names.finalNorm + ".weight"),
      head: configuration.tiesEmbeddings ? nil : Linear(weight: try matrix(names.head + ".weight")))
  }

  /// Puts the norms of block `layer` in their places.
  package func readNorms(
    of block: inout Block, in layer: Int, names: TensorNames, ofHeads: Bool
  ) throws(Problem) {
    for norm in ofHeads ? BlockNorm.allCases : [.attention, .feedForward] {
      block[norm] = try vector(names.tensor(of: norm, in: layer) ?? "")
    }
  }
}

extension Configuration {
  /// The rows that each of some weights has in the tensor they share.
  fileprivate func parts(of roles: [Role], _ layer: Int, rows: Int, _ biasCount: Int?) throws(Problem)
    -> [(role: Role, rows: Range<Int>)]
  {
    var first = 0
    let parts = roles.map { role in
      defer { first += shape(of: Site(layer, role)).rows }
      return (role, first..<first + shape(of: Site(layer, role)).rows)
    }
    for count in [rows, biasCount ?? rows] where count != first {
      let names = roles.map(\.rawValue).joined(separator: ", ")
      throw Problem(
        .badData, "\(names) of layer \(layer) have \(count) rows where the configuration demands \(first)",
        cure: "the checkpoint and its configuration do not belong together")
    }
    return parts
  }
}
