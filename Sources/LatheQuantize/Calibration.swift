internal import Crypto
internal import LatheModel
public import LatheTensor
internal import Foundation

/// The text a model is calibrated on: runs of tokens of equal length.
public struct Calibration: Sendable {
  /// The runs.
  public let samples: [[Int32]]
  /// Where they come from, for provenance.
  public let source: String

  /// Calibration on the given runs.
  ///
  /// - Throws: `Problem` of kind `usage` where there is none, or they differ in length.
  public init(samples: [[Int32]], source: String) throws(Problem) {
    guard let length = samples.first?.count, length > 0 else {
      throw Problem(
        .usage, "there is no calibration text", at: source, cure: "give a longer text, or a smaller --length")
    }
    guard samples.allSatisfy({ $0.count == length }) else {
      throw Problem(.internal, "calibration samples differ in length", at: source)
    }
    (self.samples, self.source) = (samples, source)
  }

  /// `count` runs of `length` tokens out of a text's.
  ///
  /// - Parameters:
  ///   - seed: nil takes them from the start, one after another; a number takes as many random crops.
  /// - Throws: `Problem` of kind `usage` where the text is too short.
  public init(tokens: [Int32], count: Int, length: Int, seed: UInt64? = nil, source: String) throws(Problem) {
    guard count > 0, length > 0 else {
      throw Problem(.usage, "\(count) samples of \(length) tokens are none")
    }
    guard tokens.count >= length, seed != nil || tokens.count >= count * length else {
      throw Problem(
        .usage,
        "the calibration text has \(tokens.count) tokens where \(count) samples of \(length) need \(count * length)",
        at: source, cure: "give a longer text, fewer --samples or a smaller --length")
    }
    var samples: [[Int32]] = []
    if let seed {
      var random = SeededGenerator(seed: seed)
      for _ in 0..<count {
        let start = Int.random(in: 0...tokens.count - length, using: &random)
        samples.append(Array(tokens[start..<start + length]))
      }
    } else {
      for i in 0..<count { samples.append(Array(tokens[i * length..<(i + 1) * length])) }
    }
    try self.init(
      samples: samples, source: "\(source), \(count) × \(length) tokens" + (seed.map { ", seed \($0)" } ?? "")
    )
  }

  /// The tokens in each run.
  public var length: Int { samples[0].count }

  /// A digest of the tokens.
  public var digest: String {
    var hash = SHA256()
    for sample in samples { sample.withUnsafeBytes { hash.update(bufferPointer: $0) } }
    return hash.finalize().prefix(12).map { String(format: "%02x", $0) }.joined()
  }
}
