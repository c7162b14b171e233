internal import LatheTensor

/// How a cache holds keys and values.
public enum CacheType: String, CaseIterable, Codable, Sendable {
  /// Single precision.
  case f32
  /// Half precision.
  case f16
  /// Codes of 8 bits, -127 to 127, under a half-precision scale for each 32 elements of a head.
  case int8
  /// Codes of 4 bits, -8 to 7, under a half-precision scale for each 32 elements of a head.
  case int4

  /// The bits of one value, its share of a scale included.
  public var bitsPerValue: Double {
    switch self {
    case .f32: 32
    case .f16: 16
    case .int8: 8.5
    case .int4: 4.5
    }
  }

  var codeBits: Int {
    switch self {
    case .f32: 32
    case .f16: 16
    case .int8: 8
    case .int4: 4
    }
  }

  /// The number by which kernels know the type.
  var kind: Int {
    switch self {
    case .f32: 0
    case .f16: 1
    case .int8: 2
    case .int4: 3
    }
  }

  /// Elements that share a scale; 0 where there is none.
  var group: Int { codeBits < 16 ? 32 : 0 }
}

/// The keys and values of one block, for positions from 0, head by head.
package final class LayerCache {
  let type: CacheType
  private let heads, dimension: Int
  /// The elements that are stored of a head: whole vectors, whole groups.
  private let width: Int
  private var capacity = 0
  /// Keys, values, and their scales, one after another.
  private var memory = AlignedMemory(0)
  private var placed: [CacheHead] = []

  init(heads: Int, dimension: Int, type: CacheType, capacity: Int) {
    (self.heads, self.dimension, self.type) = (heads, dimension, type)
    let unit = max(type.group, CacheHead.block)
    width = (dimension + unit - 1) / unit * unit
    reserve(max(capacity, 1), keeping: 0)
  }

  /// Keys and values, and where there are scales those of either.
  private var parts: Int { type.group > 0 ? 4 : 2 }

  /// The bytes of one head's codes, or scales, for `positions`.
  private func bytes(_ part: Int, _ positions: Int) -> Int {
    part < 2 ? positions * width * type.codeBits / 8 : positions * width / type.group * 2
  }

  /// Where the first head's part begins in memory for `positions` of all heads; `parts` where all end.
  private func start(_ part: Int, _ positions: Int) -> Int {
    (0..<part).reduce(0) { $0 + (heads * bytes($1, positions) + 63) / 64 * 64 }
  }

  /// The bytes that are held, room for more positions included.
  var byteCount: Int { memory.count }

  /// Head number `index`; valid until room is made for more positions.
  func head(_ index: Int) -> CacheHead { placed[index] }

  private func place(_ index: Int) -> CacheHead {
    func place(_ part: Int) -> UnsafeMutableRawPointer {
      memory.base + start(part, capacity) + index * bytes(part, capacity)
    }
    let hasScales = type.group > 0
    return CacheHead(
      kind: type.kind, dimension: dimension, width: width, keys: place(0), values: place(1),
      keyScales: hasScales ? place(2) : nil, valueScales: hasScales ? place(3) : nil)
  }

  /// Makes room for `count` positions, the first `kept` of them kept.
  func reserve(_ count: Int, keeping kept: Int) {
    guard count > capacity else { return }
    let block = CacheHead.block
    let grown = (max(count, 2 * capacity) + block - 1) / block * block
    let kept = (kept + block - 1) / block * block
    let new = AlignedMemory(start(parts, grown), onLargePages: true)
    if kept > 0 {
      for part in 0..<parts {
        for head in 0..<heads {
          (new.base + start(part, grown) + head * bytes(part, grown)).copyMemory(
            from: memory.base + start(part, capacity) + head * bytes(part, capacity),
            byteCount: bytes(part, kept))
        }
      }
    }
    (memory, capacity) = (new, grown)
    placed = (0..<heads).map(place)
  }

  /// Writes rows of keys and values, heads · dimension floats each, from `position` on.
  func store(
    _ keys: UnsafePointer<Float>, _ values: UnsafePointer<Float>, rows: Int, at position: Int,
    with kernels: Kernels = .best
  ) {
    for index in 0..<heads {
      let head = head(index)
      for row in 0..<rows {
        let at = (row * heads + index) * dimension
        kernels.store(keys + at, values + at, at: position + row, in: head)
      }
    }
  }
}

/// What a model remembers of the tokens it has read.
public final class KeyValueCache {
  private let layers: [LayerCache]
  /// The number of positions held.
  public internal(set) var count = 0
  /// How keys and values are held.
  public let type: CacheType

  /// An empty cache.
  ///
  /// - Parameters:
  ///   - capacity: the positions that room is made for at once; more is made as needed.
  ///   - sharesLayers: one layer's memory serves for all that have as many heads, for reading a text from its start in one go.
  public init(
    _ configuration: Configuration, capacity: Int = 64, type: CacheType = .f32, sharesLayers: Bool = false
  ) {
    self.type = type
    var shared: [Int: LayerCache] = [:]
    layers = configuration.sizes.map { sizes in
      if let cache = shared[sizes.keyValueHeads] { return cache }
      let cache = LayerCache(
        heads: sizes.keyValueHeads, dimension: configuration.headDimension, type: type, capacity: capacity)
      if sharesLayers { shared[sizes.keyValueHeads] = cache }
      return cache
    }
  }

  subscript(layer: Int) -> LayerCache { layers[layer] }

  /// The bytes of memory it holds, room for more positions included.
  public var byteCount: Int {
    var seen: Set<ObjectIdentifier> = []
    return layers.reduce(0) { seen.insert(ObjectIdentifier($1)).inserted ? $0 + $1.byteCount : $0 }
  }

  /// Forgets all positions from `count` on.
  public func truncate(to count: Int) { self.count = max(0, min(count, self.count)) }
}
