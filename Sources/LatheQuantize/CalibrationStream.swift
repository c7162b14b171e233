package import LatheModel
package import LatheTensor

/// The hidden states of the calibration text, before the block at work, in the original and in the quantized model.
public final class CalibrationStream {
  let calibration: Calibration
  private let inference: Inference
  private let cache: KeyValueCache
  /// The block it stands before.
  private var layer = 0
  /// samples × length × hidden size each.
  let original: FloatBuffer
  let quantized: FloatBuffer

  /// The stream before the first block: the embeddings.
  package init(_ calibration: Calibration, inference: Inference) throws(Problem) {
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

  /// What the weights at `input` of the block see.
  ///
  /// - Parameters:
  ///   - block: the block at work, whose weights before `input` may be quantized already.
  ///   - reference: the block that the original stream passes.
  ///   - kinds: what to gather.
  ///   - inOriginal: whether the original stream is observed instead of the quantized one.
  func observe(
    _ input: BlockInput, of block: Block, reference: Block, gathering kinds: EvidenceKinds,
    inOriginal: Bool = false
  ) -> Evidence {
    let configuration = inference.configuration, team = inference.team
    let width = configuration.width(of: input, in: layer), hidden = configuration.hiddenSize
    let compares = !kinds.isDisjoint(with: [.mismatch, .residual])
    let addsToHidden = input == .attentionOutput || input == .feedForwardHidden
    let moment = kinds.contains(.secondMoment) ? SecondMomentSum(width: width, team: team) : nil
    let mismatch = kinds.contains(.mismatch) ? CrossSum(height: width, width: width, team: team) : nil
    let residual =
      kinds.contains(.residual) && addsToHidden ? CrossSum(height: hidden, width: width, team: team) : nil
    var energy =
      kinds.contains(.channelEnergy) && moment == nil ? ChannelEnergySum(width: width) : nil
    var magnitudes = kinds.contains(.magnitudes) ? MagnitudeSums(width: width) : nil
    let copy = FloatBuffer(sampleWidth), exact = FloatBuffer(compares ? sampleWidth : 0)
    let exactInput = FloatBuffer(compares ? calibration.length * width : 0)
    var count = 0
    for i in calibration.samples.indices {
      if compares {
        exact.pointer.update(from: original.pointer + i * sampleWidth, count: sampleWidth)
        inference.run(
          reference, at: layer, on: exact.pointer, tokens: calibration.length, cache: cache, upTo: input
        ) {
          place, x, rows in
          if place == input { exactInput.pointer.update(from: x, count: rows * width) }
        }
      }
      let stream = inOriginal ? original : quantized
      copy.pointer.update(from: stream.pointer + i * sampleWidth, count: sampleWidth)
      inference.run(
        block, at: layer, on: copy.pointer, tokens: calibration.length, cache: cache, upTo: input
      ) {
        place, x, rows in
        guard place == input else { return }
        count += rows
        moment?.add(x, rows)
        energy?.add(x, rows)
        magnitudes?.add(x, rows)
        mismatch?.add(exactInput.pointer, minus: x, by: x, rows)
        // Until the weight's outputs are added, the hidden state is what they will be added to.
        residual?.add(exact.pointer, minus: copy.pointer, by: x, rows)
      }
    }
    return Evidence(
      count: count, secondMoment: moment?.mean(), channelEnergy: energy?.mean,
      meanMagnitude: magnitudes?.mean, maximum: magnitudes?.maximum,
      mismatch: mismatch?.mean(), residual: residual?.mean())
  }

  /// The hidden states after `block` for the first `sequences` of the original stream.
  func outputs(of block: Block, sequences: Int) -> FloatBuffer {
    let count = min(sequences, calibration.samples.count)
    let out = FloatBuffer(count * sampleWidth)
    out.pointer.update(from: original.pointer, count: out.count)
    for i in 0..<count {
      inference.run(
        block, at: layer, on: out.pointer + i * sampleWidth, tokens: calibration.length, cache: cache)
    }
    return out
  }

  /// Carries both streams past the block; returns the relative squared error of the quantized one.
  package func propagate(original block: Block, quantized other: Block) -> Double {
    var error = 0.0, energy = 0.0
    for i in calibration.samples.indices {
      let exact = original.pointer + i * sampleWidth, close = quantized.pointer + i * sampleWidth
      inference.run(block, at: layer, on: exact, tokens: calibration.length, cache: cache)
      inference.run(other, at: layer, on: close, tokens: calibration.length, cache: cache)
      for j in 0..<sampleWidth {
        let difference = Double(exact[j]) - Double(close[j])
        error += difference * difference
        energy += Double(exact[j]) * Double(exact[j])
      }
    }
    layer += 1
    return error / max(energy, .leastNormalMagnitude)
  }

  /// Writes both streams.
  func save(to file: AtomicFile) throws(Problem) {
    for buffer in [original, quantized] {
      try file.write(
        UnsafeRawBufferPointer(start: buffer.pointer, count: buffer.count * MemoryLayout<Float>.stride))
    }
  }

  /// Takes over what `save` wrote before block `layer`; false where it is not of this size.
  func restore(from bytes: Bytes, before layer: Int) -> Bool {
    let half = original.count * MemoryLayout<Float>.stride
    guard bytes.count == 2 * half else { return false }
    self.layer = layer
    bytes.withUnsafeBytes { raw in
      UnsafeMutableRawBufferPointer(start: original.pointer, count: half)
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: raw[..<half]))
      UnsafeMutableRawBufferPointer(start: quantized.pointer, count: half)
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: raw[half...]))
    }
    return true
  }
}
