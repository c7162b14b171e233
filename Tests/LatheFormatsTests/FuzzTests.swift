import Foundation
import LatheFormats
import LatheTensor
import LatheTestSupport
import Testing

/// Damaged files of every format: each gives a `Problem`, or a checkpoint whose tensors lie in the file.
@Suite(.serialized) struct FuzzTests {
  @Test(arguments: Sample.all) func damageIsToldOrHarmless(_ sample: Sample) throws {
    let scratch = try Scratch()
    var generator = SplitMix(state: 20_240_401)
    let end = ProcessorTime.now + .seconds(3)
    var (refused, read) = (0, 0)
    while ProcessorTime.now < end {
      var bytes = sample.bytes
      for _ in 0...Int(generator.next() % 3) { damage(&bytes, &generator) }
      let path = try scratch.write(bytes, to: sample.fileName)
      do {
        let checkpoint = try sample.format.read(path)
        try inspect(checkpoint, fileSize: bytes.count)
        read += 1
      } catch {
        #expect((error as? Problem)?.kind == .badData, "\(error)")
        #expect((error as? Problem)?.description.count ?? 0 < 1000)
        refused += 1
      }
    }
    #expect(refused > 100)
    #expect(read > 0)
  }

  /// Reads everything a checkpoint offers.
  private func inspect(_ checkpoint: Checkpoint, fileSize: Int) throws {
    #expect(checkpoint.totalBytes <= fileSize)
    for tensor in checkpoint.tensors {
      try #require(tensor.data.count == tensor.type.byteCount(ofShape: tensor.shape))
      if tensor.data.count > 0 { _ = tensor.data[0] &+ tensor.data[tensor.data.count - 1] }
    }
    for value in checkpoint.metadata.values {
      _ = (value.integer, value.number, value.text, value.flag)
      let counts = [value.array?.texts?.count, value.array?.floats?.count, value.integers?.count]
      if let count = value.array?.count { #expect(counts.allSatisfy { $0 == nil || $0 == count }) }
    }
  }

  private static let numbers: [UInt64] = [
    0, 1, 2, 4, 5, 255, 65535, 1 << 20, 1 << 31, 1 << 32 - 1, 1 << 32, 1 << 60, 1 << 62, 1 << 63 - 1, 1 << 63,
    .max - 31, .max,
  ]
  private static let words = [
    "{", "}", "[", "]", "\"", ",", ":", "\\", "\\ud800", "-1", "1e9", "0.5", "18446744073709551615", "null",
    "GGUF",
    "\"shape\":[1,2],", "data_offsets", "\u{0}", "é",
  ]

  /// One change: a bit, a cut, an insertion, a removal, an extreme number, or a piece moved elsewhere.
  private func damage(_ bytes: inout [UInt8], _ generator: inout SplitMix) {
    guard !bytes.isEmpty else { return }
    // Headers stand in front: most changes go there.
    let reach = generator.next() % 4 == 0 ? bytes.count : min(bytes.count, 1500)
    let at = Int(generator.next() % UInt64(reach))
    switch generator.next() % 7 {
    case 0: bytes[at] ^= 1 << UInt8(generator.next() % 8)
    case 1: bytes.removeLast(Int(generator.next() % UInt64(bytes.count)))
    case 2:
      bytes.insert(
        contentsOf: Array(Self.words[Int(generator.next() % UInt64(Self.words.count))].utf8), at: at)
    case 3: bytes.removeSubrange(at..<min(bytes.count, at + 1 + Int(generator.next() % 16)))
    case 4, 5:
      let value = Self.numbers[Int(generator.next() % UInt64(Self.numbers.count))]
      let size = [1, 2, 4, 8][Int(generator.next() % 4)]
      for (i, byte) in value.bytes.prefix(size).enumerated() where at + i < bytes.count {
        bytes[at + i] = byte
      }
    default:
      let from = Int(generator.next() % UInt64(reach))
      bytes.insert(contentsOf: Array(bytes[from..<min(bytes.count, from + 24)]), at: at)
    }
  }
}

/// A small generator with a fixed start, so that a failure comes back.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
