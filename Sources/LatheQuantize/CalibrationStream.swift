internal import LatheModel
internal import LatheTensor

/// The hidden states of the calibration text, before the block at work, in the original and in the quantized model.
public final class CalibrationStream {
  let calibration: Calibration
  private let inference: Inference
  private let cache: KeyValueCache
  /// samples × length × hidden size each.
  let original: FloatBuffer
  let quantized: FloatBuffer

  /// The stream before the first block: the embeddings.
  init(_ calibration: Calibration, inference: Inference) throws(Problem) {
    (self.calibration, self.inference) = (calibration, inference)
    cache = KeyValueCache(inference.configuration, capacity: calibration.length, sharesLayers: true)
    let width = calibration.length * inference.configuration.hiddenSize
    original = FloatBuffer(calibration.samples.count * width)
    quantized = FloatBuffer(calibration.samples.count * width)
    for (i, sample) in calibration.samples.enumerated() {
      try inference.checkTokens(sample)
      inference.embed(sample, into: original.pointer + i * width)
    }
    quantized.pointer.update(from: original.pointer, count: original.count)
  }

  private var sampleWidth: Int { calibration.length * inference.configuration.hiddenSize }

  /// What the weights at `input` of the block see in the quantized stream.
  func observe(_ input: BlockInput, of block: Block, gathering kinds: EvidenceKinds) -> Evidence {
    let width = inference.configuration.width(of: input)
    let sum: any EvidenceSum =
      kinds == [.channelEnergy]
      ? ChannelEnergySum(width: width) : SecondMomentSum(width: width, team: inference.team)
    let copy = FloatBuffer(sampleWidth)
    for i in calibration.samples.indices {
      copy.pointer.update(from: quantized.pointer + i * sampleWidth, count: sampleWidth)
      inference.run(block, on: copy.pointer, tokens: calibration.length, cache: cache, upTo: input) {
        place, x, rows in
        if place == input { sum.add(x, rows) }
      }
    }
    return sum.evidence()
  }

  /// Carries both streams past the block; returns the relative squared error of the quantized one.
  func propagate(original block: Block, quantized other: Block) -> Double {
    var error = 0.0, energy = 0.0
    for i in calibration.samples.indices {
      let exact = original.pointer + i * sampleWidth, close = quantized.pointer + i * sampleWidth
      inference.run(block, on: exact, tokens: calibration.length, cache: cache)
      inference.run(other, on: close, tokens: calibration.length, cache: cache)
      for j in 0..<sampleWidth {
        let difference = Double(exact[j]) - Double(close[j])
        error += difference * difference
        energy += Double(exact[j]) * Double(exact[j])
      }
    }
    return error / max(energy, .leastNormalMagnitude)
  }

  /// Writes both streams.
  func save(to file: AtomicFile) throws(Problem) {
    for buffer in [original, quantized] {
      try file.write(
        UnsafeRawBufferPointer(start: buffer.pointer, count: buffer.count * MemoryLayout<Float>.stride))
    }
  }

  /// Takes over what `save` wrote; false where it is not of this size.
  func restore(from bytes: Bytes) -> Bool {
    let half = original.count * MemoryLayout<Float>.stride
    guard bytes.count == 2 * half else { return false }
    bytes.withUnsafeBytes { raw in
      UnsafeMutableRawBufferPointer(start: original.pointer, count: half)
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: raw[..<half]))
      UnsafeMutableRawBufferPointer(start: quantized.pointer, count: half)
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: raw[half...]))
    }
    return true
  }
}
