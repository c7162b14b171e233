internal import LatheEncoding
public import LatheModel
public import LatheTensor

/// What a model of a shape weighs under an encoding, and what work a token makes: counted, not measured.
public struct Footprint: Hashable, Sendable {
  /// The width of a code; 1.58 for ternary ones.
  public let bits: Double
  /// The bytes of all weights: scales, zero points, norms and all.
  public let weightBytes: Int
  /// The bytes of weights read for a token that is written: an embedding that is not the head counts one row.
  public let bytesPerToken: Int
  /// The bytes a weight matrix's element costs in the mean, in bits.
  public let bitsPerWeight: Double
  /// The products that one token makes with weights of blocks, and with the head.
  public let blockProducts, headProducts: Int

  /// The footprint of `shape` with weights of `bits` bits in groups of `groupSize`.
  ///
  /// - Parameter headBits: the width of embedding and head; nil for the same.
  /// - Throws: `Problem` of kind `usage` where there is no such encoding, or it cannot hold a weight.
  public init(_ shape: ModelShape, bits: Double, groupSize: Int?, headBits: Double? = nil) throws(Problem) {
    self.bits = bits
    let body = try Self.encoding(bits, groupSize), ends = try Self.encoding(headBits ?? bits, groupSize)
    let c = shape.configuration
    let names = shape.architecture.nativeTensorNames
    let norms = shape.norms(names).reduce(0) { $0 + 4 * $1.count }
    var all = 0, embedding = 0, count = 0, products = 0
    for weight in shape.weights(names) {
      let encoding = weight.site == nil ? ends : body
      let bytes = try encoding.parts(rows: weight.rows, columns: weight.columns).reduce(0) {
        $0 + $1.byteCount
      }
      all += bytes
      count += weight.rows * weight.columns
      if weight.site != nil { products += weight.rows * weight.columns } else { embedding = bytes }
    }
    bitsPerWeight = Double(8 * all) / Double(count)
    weightBytes = all + norms
    let unread = c.tiesEmbeddings ? 0 : embedding - embedding / c.vocabularySize
    bytesPerToken = weightBytes - unread
    (blockProducts, headProducts) = (products, c.vocabularySize * c.hiddenSize)
  }

  private static func encoding(_ bits: Double, _ groupSize: Int?) throws(Problem) -> any Encoding {
    if bits == 16, let half = StoredBlocks(named: "F16") { return half }
    return try EncodingCatalog.grid(for: GridRequest(bits: bits, groupSize: groupSize, isSymmetric: false))
  }

  /// The bytes of keys and values of `context` tokens of one sequence, `bits` bits an element.
  public static func cacheBytes(_ c: Configuration, context: Int, bits: Double) -> Double {
    Double(c.cacheWidth) * bits / 8 * Double(context)
  }
}

/// What is asked of a plan beside the shape.
public struct PlanRequest: Hashable, Sendable {
  /// The tokens of each sequence, the sequences decoded together, the tokens of a prompt.
  public var context, batch, prompt: Int
  /// The bits of an element of keys and values.
  public var cacheBits: Double

  /// A request of the given numbers.
  ///
  /// - Throws: `Problem` of kind `usage` where one is out of range.
  public init(context: Int, batch: Int = 1, prompt: Int = 512, cacheBits: Double = 16) throws(Problem) {
    for (name, value, most) in [
      ("context", context, 1 << 24), ("batch", batch, 1 << 16), ("prompt", prompt, 1 << 24),
    ] where !(1...most).contains(value) {
      throw Problem(.usage, "--\(name) takes 1 to \(most), not \(value)")
    }
    guard [4, 8, 16, 32].contains(cacheBits) else {
      throw Problem(.usage, "--cache-bits takes 4, 8, 16 or 32")
    }
    (self.context, self.batch, self.prompt, self.cacheBits) = (context, batch, prompt, cacheBits)
  }
}

/// How fast a model would run on a device: the slower of reading and computing, at the device's rates.
///
/// A step of decoding reads the weights once and each sequence's cache to its full context; a prompt reads the weights
/// once for all its tokens. Products with weights of up to 8 bits are taken in whole numbers.
public struct Prediction: Hashable, Sendable {
  /// What is waited for.
  public enum Bound: String, Codable, Sendable {
    /// Reading.
    case memory
    /// Products.
    case arithmetic
  }

  /// The bytes of the caches of all sequences, and of weights and caches.
  public let cacheBytes, totalBytes: Double
  /// Whether they fit the memory.
  public let fits: Bool
  /// Tokens a second of all sequences together, and what binds them.
  public let decode: Double
  /// What is waited for in decoding.
  public let decodeBound: Bound
  /// Tokens a second of a prompt.
  public let prefill: Double
  /// What is waited for in reading a prompt.
  public let prefillBound: Bound

  /// The prediction for `footprint` on `device`.
  public init(
    _ footprint: Footprint, _ c: Configuration, on device: Device, for request: PlanRequest
  ) {
    let efficiency = device.efficiency
    let rate =
      switch footprint.bits {
      case ...7: device.integerRate * efficiency.integer
      case ...8: (device.byteRate ?? device.integerRate) * efficiency.integer
      default: device.halfRate * efficiency.half
      }
    let bandwidth = device.bandwidth * efficiency.memory
    cacheBytes =
      Double(request.batch)
      * Footprint.cacheBytes(c, context: request.context, bits: request.cacheBits)
    totalBytes = Double(footprint.weightBytes) + cacheBytes
    fits = totalBytes <= device.memory
    // A query meets every key and weighs every value of its context: two products for each.
    func attention(_ context: Double) -> Double { 4 * Double(c.totalQueryWidth) * context }

    let reading = (Double(footprint.bytesPerToken) + cacheBytes) / bandwidth
    let computing =
      Double(request.batch)
      * (2 * Double(footprint.blockProducts + footprint.headProducts) + attention(Double(request.context)))
      / rate
    decode = Double(request.batch) / max(reading, computing)
    decodeBound = reading >= computing ? .memory : .arithmetic

    // Of a prompt only the last token meets the head; the mean token sees half of it.
    let tokens = Double(request.prompt)
    let products = 2 * Double(footprint.blockProducts) + attention(tokens / 2)
    let promptComputing = (tokens * products + 2 * Double(footprint.headProducts)) / rate
    let promptReading = Double(footprint.bytesPerToken) / bandwidth
    prefill = tokens / max(promptReading, promptComputing)
    prefillBound = promptReading >= promptComputing ? .memory : .arithmetic
  }
}
