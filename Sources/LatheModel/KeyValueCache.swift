internal import LatheTensor

/// The keys and values of one block, for positions from 0, in single precision.
package final class LayerCache {
  private var keyBuffer: FloatBuffer
  private var valueBuffer: FloatBuffer
  private let width: Int
  private var capacity: Int

  init(width: Int, capacity: Int) {
    (self.width, self.capacity) = (width, capacity)
    keyBuffer = FloatBuffer(width * capacity)
    valueBuffer = FloatBuffer(width * capacity)
  }

  var keys: UnsafeMutablePointer<Float> { keyBuffer.pointer }
  var values: UnsafeMutablePointer<Float> { valueBuffer.pointer }

  /// Makes room for `count` positions, the first `kept` of them kept.
  func reserve(_ count: Int, keeping kept: Int) {
    guard count > capacity else { return }
    let grown = max(count, 2 * capacity)
    for path in [\LayerCache.keyBuffer, \LayerCache.valueBuffer] {
      let buffer = FloatBuffer(width * grown)
      buffer.pointer.update(from: self[keyPath: path].pointer, count: width * kept)
      self[keyPath: path] = buffer
    }
    capacity = grown
  }
}

/// What a model remembers of the tokens it has read.
public final class KeyValueCache {
  private let layers: [LayerCache]
  /// The number of positions held.
  public internal(set) var count = 0

  /// An empty cache.
  ///
  /// - Parameter sharesLayers: one layer's memory serves for all, for reading a text once from its start.
  public init(_ configuration: Configuration, capacity: Int = 64, sharesLayers: Bool = false) {
    layers = (0..<(sharesLayers ? 1 : configuration.layers)).map { _ in
      LayerCache(width: configuration.keyValueWidth, capacity: capacity)
    }
  }

  subscript(layer: Int) -> LayerCache { layers[layers.count == 1 ? 0 : layer] }

  /// Forgets all positions from `count` on.
  public func truncate(to count: Int) { self.count = min(count, self.count) }
}
