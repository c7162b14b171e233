import Foundation
import LatheFormats
import LatheTensor
import Testing

/// A file that must be refused, and words of the sentence that refuses it.
struct Hostile: CustomTestStringConvertible, Sendable {
  let what: String
  let bytes: [UInt8]
  let sentence: String

  init(_ what: String, _ bytes: [UInt8], _ sentence: String) {
    (self.what, self.bytes, self.sentence) = (what, bytes, sentence)
  }

  var testDescription: String { what }

  /// Reads the file as `format` and demands the sentence.
  func check(as format: any CheckpointFormat.Type) throws {
    let scratch = try Scratch()
    let path = try scratch.write(bytes, to: "hostile")
    let problem = #expect(throws: Problem.self) { try format.read(path) }
    #expect(problem?.kind == .badData)
    #expect(problem?.place == path)
    #expect(problem?.what.contains(sentence) == true, "\(problem?.description ?? "nothing")")
  }
}

struct HostileGGUFTests {
  /// Magic, version 3 and the counts.
  private static func head(tensors: UInt64, pairs: UInt64 = 0, version: UInt32 = 3) -> [UInt8] {
    Array("GGUF".utf8) + version.bytes + tensors.bytes + pairs.bytes
  }

  /// The info of a tensor.
  private static func info(
    _ name: String = "w", _ ne: [Int64] = [8], type: UInt32 = 0, offset: UInt64 = 0, rank: UInt32? = nil
  ) -> [UInt8] {
    name.gguf + (rank ?? UInt32(ne.count)).bytes + ne.flatMap { $0.bytes } + type.bytes + offset.bytes
  }

  /// A file of these infos, with `data` bytes after the padding.
  private static func file(_ infos: [[UInt8]], data: Int = 32) -> [UInt8] {
    var bytes = head(tensors: UInt64(infos.count)) + infos.flatMap { $0 }
    bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32 + data)
    return bytes
  }

  /// A file of one metadata pair.
  private static func pair(_ type: UInt32, _ value: [UInt8], key: String = "k") -> [UInt8] {
    head(tensors: 0, pairs: 1) + key.gguf + type.bytes + value
  }

  static let cases: [Hostile] = [
    Hostile("an empty file", [], "the file ends inside header"),
    Hostile("another magic", Array("GGML".utf8) + [0, 0, 0, 0], "does not start with GGUF"),
    Hostile("version 1", head(tensors: 0, version: 1), "GGUF version 1 is unknown"),
    Hostile("big-endian", head(tensors: 0, version: 0x0300_0000), "big-endian"),
    Hostile(
      "43 bytes", Array(head(tensors: 1 << 60, pairs: 1) + "key".gguf + UInt32(8).bytes + UInt32(9).bytes),
      "header claims 1152921504606846976 tensors, and only 27 bytes follow"),
    Hostile("all pairs", head(tensors: 0, pairs: .max), "claims 18446744073709551615 key-value pairs"),
    Hostile(
      "cut in the counts", Array(head(tensors: 0).prefix(20)),
      "ends inside header: 8 bytes wanted at 16, 4 left"),
    Hostile(
      "cut in a key", head(tensors: 0, pairs: 1) + UInt64(40).bytes + [UInt8](repeating: 65, count: 20),
      "40 bytes wanted"),
    Hostile(
      "a long key", head(tensors: 0, pairs: 1) + UInt64(1 << 40).bytes + [UInt8](repeating: 65, count: 20),
      "holds a string of 1099511627776 bytes"),
    Hostile(
      "a key that is no UTF-8", head(tensors: 0, pairs: 1) + UInt64(1).bytes + [0xFF] + UInt32(0).bytes + [1],
      "not UTF-8"),
    Hostile("an unknown value type", pair(13, [0, 0]), "the value of \"k\" has the unknown type 13"),
    Hostile("a long string", pair(8, UInt64(1 << 40).bytes), "holds a string of 1099511627776 bytes"),
    Hostile("a string beyond the end", pair(8, UInt64(1 << 20).bytes), "1048576 bytes wanted"),
    Hostile(
      "an array beyond the end", pair(9, UInt32(4).bytes + UInt64(1 << 62).bytes),
      "claims 4611686018427387904 elements"),
    Hostile(
      "strings beyond the end", pair(9, UInt32(8).bytes + UInt64(2).bytes + "a".gguf), "claims 2 elements"),
    Hostile(
      "a string array cut short", pair(9, UInt32(8).bytes + UInt64(2).bytes + "abcdefgh".gguf),
      "ends inside the value"),
    Hostile(
      "arrays of arrays", pair(9, UInt32(9).bytes + UInt64(1).bytes + [UInt8](repeating: 0, count: 24)),
      "array of arrays"),
    Hostile("alignment 0", pair(4, UInt32(0).bytes, key: "general.alignment"), "general.alignment is 0"),
    Hostile("alignment 33", pair(4, UInt32(33).bytes, key: "general.alignment"), "general.alignment is 33"),
    Hostile(
      "alignment 2^31", pair(4, UInt32(1 << 31).bytes, key: "general.alignment"),
      "general.alignment is 2147483648"),
    Hostile(
      "alignment of text", pair(8, "32".gguf, key: "general.alignment"), "general.alignment is no integer"),
    Hostile(
      "a key twice",
      head(tensors: 0, pairs: 2) + "k".gguf + UInt32(0).bytes + [1] + "k".gguf + UInt32(0).bytes + [2],
      "the key \"k\" occurs twice"),
    Hostile("5 dimensions", file([info("w", [1, 1, 1, 1, 1])]), "has 5 dimensions"),
    Hostile("2^32-1 dimensions", file([info(rank: .max)]), "has 4294967295 dimensions"),
    Hostile("a negative dimension", file([info("w", [-8])]), "has the dimension -8"),
    Hostile("a product that overflows", file([info("w", [1 << 40, 1 << 40])]), "impossible shape"),
    Hostile("bytes that overflow", file([info("w", [1 << 62])]), "impossible shape"),
    Hostile("removed type 4", file([info(type: 4)]), "type 4, which GGUF has removed"),
    Hostile("removed type 36", file([info(type: 36)]), "type 36, which GGUF has removed"),
    Hostile("type 200", file([info(type: 200)]), "type 200, which is unknown"),
    Hostile(
      "half a block", file([info("w", [40], type: 2)]), "rows of 40 elements, and Q4_0 stores blocks of 32"),
    Hostile("rows of half blocks", file([info("w", [16, 4], type: 2)], data: 64), "rows of 16 elements"),
    Hostile("an odd offset", file([info(offset: 7)], data: 64), "starts at 7, not a multiple of 32"),
    Hostile("an offset near 2^64", file([info(offset: .max - 31)]), "outside the file's"),
    Hostile("an offset near 2^63", file([info(offset: 1 << 63 - 32)]), "outside the file's"),
    Hostile("data cut short", file([info("w", [64])], data: 255), "at 0 of the data with 256 bytes, outside"),
    Hostile("data absent", head(tensors: 1) + info(), "outside the file's"),
    Hostile(
      "overlap", file([info("a", [16]), info("b", [16], offset: 32)], data: 128), "\"a\" and \"b\" overlap"),
    Hostile("a name twice", file([info(), info(offset: 32)], data: 64), "the tensor \"w\" occurs twice"),
    Hostile(
      "another program's type 41", file([info("a", [128], type: 41), info("b", [8], offset: 64)], data: 96),
      "takes 64 bytes, Q1_0 needs 18"),
  ]

  @Test(arguments: cases) func isRefused(_ hostile: Hostile) throws { try hostile.check(as: GGUF.self) }

  @Test func everyPrefixIsRefusedOrRead() throws {
    let sample = try #require(Sample.all.first { $0.format.name == "GGUF" })
    let scratch = try Scratch()
    let whole = try GGUF.read(scratch.write(sample.bytes, to: "whole")).tensors.count
    for length in stride(from: 0, to: sample.bytes.count, by: 13) {
      let path = try scratch.write(Array(sample.bytes.prefix(length)), to: "prefix")
      do {
        #expect(try GGUF.read(path).tensors.count == whole)
      } catch {
        #expect(error.kind == .badData)
      }
    }
  }

  @Test func partsMustAgree() throws {
    let scratch = try Scratch()
    for part in 1...2 {
      try GGUF.write(
        [], metadata: [("split.no", .uint16(0)), ("split.count", .uint16(2))],
        to: scratch.file("m-0000\(part)-of-00002.gguf"))
    }
    let problem = #expect(throws: Problem.self) { try Checkpoint(reading: scratch.path) }
    #expect(problem?.what == "part 2 says it is part 1")
  }
}
