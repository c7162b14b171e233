import Foundation
import LatheFormats
import LatheTensor
import LatheTestSupport
import Testing

/// Where files for other readers go; unset in an ordinary run.
private let foreignFolder = ProcessInfo.processInfo.environment["LATHE_FOREIGN"]

/// Writes files for `Scripts/fixtures/formats_check.py`, which opens them with the formats' own Python packages.
@Suite(.enabled(if: foreignFolder != nil)) struct ForeignReaderTests {
  @Test func samplesOfEveryFormat() throws {
    let folder = try #require(foreignFolder)
    for sample in Sample.all {
      try Data(sample.bytes).write(to: URL(fileURLWithPath: folder + "/" + sample.fileName))
    }
    // The package gguf 0.19 does not know the newest type, and then opens nothing.
    let known = try Sample.tensors(for: GGUF.self).filter { $0.type != .q2_0 }
    try GGUF.write(known.map { TensorSource($0) }, metadata: Sample.values, to: folder + "/known.gguf")
  }

  @Test(.enabled(if: TestData.isPresent)) func aModelInShardsAndInGGUF() throws {
    let folder = try #require(foreignFolder)
    let model = try Checkpoint(reading: TestData.path("models/novella-6m"))
    let tensors = model.tensors.map { TensorSource($0) }
    try FileManager.default.createDirectory(atPath: folder + "/shards", withIntermediateDirectories: true)
    try Safetensors.writeShards(
      tensors, metadata: model.orderedMetadata, maximumBytes: 3_000_000, to: folder + "/shards")
    try GGUF.write(
      tensors, metadata: [("general.architecture", .string("llama"))], to: folder + "/model.gguf")
  }
}
