import Foundation
import LatheFormats
import LatheTensor
import Testing

struct HostileLlama2CTests {
  /// A valid file with field `index` of the header replaced.
  private static func with(_ index: Int, _ value: Int32) -> [UInt8] {
    var bytes = LlamaBytes.legacy(tied: true)
    bytes.replaceSubrange(4 * index..<4 * index + 4, with: value.bytes)
    return bytes
  }

  static let cases: [Hostile] = [
    Hostile("an empty file", [], "the file has 0 bytes"),
    Hostile("no layers", with(2, 0), "the header gives n_layers 0"),
    Hostile("a negative width", with(0, .min), "the header gives dim -2147483648"),
    Hostile("a huge vocabulary", with(5, .min), "the header gives vocab_size 2147483648"),
    Hostile("all layers", with(2, .max), "the header gives n_layers 2147483647"),
    Hostile("3 heads", with(3, 3), "3 heads and 1 key-value heads do not divide a width of 8 evenly"),
    Hostile("cut short", Array(LlamaBytes.legacy(tied: true).dropLast()), "the header describes a model of"),
    Hostile("a tail", LlamaBytes.legacy(tied: true) + [0], "the header describes a model of"),
    Hostile(
      "version 2", UInt32(0x616b_3432).bytes + Int32(2).bytes + [UInt8](repeating: 0, count: 300),
      "version 2 is not read"),
    Hostile("version 1, cut", Array(LlamaBytes.versioned(tied: true).prefix(100)), "the file has 100 bytes"),
  ]

  @Test(arguments: cases) func isRefused(_ hostile: Hostile) throws { try hostile.check(as: Llama2C.self) }

  @Test func whatNobodyKnowsIsRefusedByName() throws {
    let scratch = try Scratch()
    let path = try scratch.write(
      Array("PK and more than thirty bytes of nothing".utf8), to: "pytorch_model.bin")
    let problem = #expect(throws: Problem.self) { try Checkpoint(reading: path) }
    #expect(
      problem?.description
        == "\(path): not a checkpoint of a known format; formats read are safetensors, GGUF, llama2.c")
    #expect(#expect(throws: Problem.self) { try Checkpoint(reading: scratch.file("none")) }?.kind == .noInput)
    #expect(
      #expect(throws: Problem.self) { try Checkpoint(reading: scratch.path) }?.what
        == "the folder holds no checkpoint")
  }
}
