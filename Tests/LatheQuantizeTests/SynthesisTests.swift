import Foundation
import LatheEncoding
import LatheModel
import LatheQuantize
import LatheTensor
import LatheTestSupport
import Testing

@Suite struct SynthesisTests {
  static func shape() throws -> ModelShape {
    try ModelShape(named: TestData.packageFolder + "/Models/novella-6m/config.json")
  }

  static let team = ThreadTeam(count: 2)

  /// A folder or file of its own, removed with it.
  final class Place {
    let path = NSTemporaryDirectory() + "lathe-synthesis-\(UUID().uuidString)"
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  static func request(_ bits: Double, _ group: Int? = 64, symmetric: Bool = false, family: String? = nil)
    throws
    -> any Encoding
  {
    var request = GridRequest(bits: bits, groupSize: group, isSymmetric: symmetric)
    request.family = family
    return try EncodingCatalog.grid(for: request)
  }

  /// Every block has the statistics of a model that has just begun: mean near 0, deviation near 0.02.
  private func check(_ model: Model) {
    for (layer, block) in model.blocks.enumerated() where layer % 5 == 0 {
      for role in Role.allCases {
        guard let values = block.weights[role]?.weight.decoded().values else { continue }
        let count = Double(values.count), mean = values.reduce(0) { $0 + Double($1) } / count
        let square = values.reduce(0) { $0 + Double($1) * Double($1) } / count
        #expect(abs(square.squareRoot() - 0.02) < 0.002, "\(role): \(square.squareRoot())")
        #expect(abs(mean) < 0.003, "\(role): \(mean)")
      }
    }
    #expect(model.finalNorm.allSatisfy { $0 == 1 })
  }

  @Test("native models of every width open, and mean nothing in the same way each time", arguments: 1...8)
  func widths(bits: Int) throws {
    let shape = try Self.shape(), encoding = try Self.request(Double(bits))
    let places = [Place(), Place(), Place()]
    for (place, seed) in zip(places, [7, 7, 8] as [UInt64]) {
      try Synthesis(shape, encoding: encoding, seed: seed).writeFolder(to: place.path, team: Self.team)
    }
    let model = try Model(reading: places[0].path)
    #expect(model.configuration == shape.configuration)
    #expect(model.blocks[1].weights[.up]?.weight.encoding.label == encoding.label)
    check(model)
    let files = try places.map { try Bytes(mapping: $0.path + "/model.safetensors") }
    #expect(files[0] == files[1] && files[0] != files[2])
    let logits = Inference(model, team: Self.team)
    let values = logits.logits(after: [1, 2, 3], cache: logits.makeCache(capacity: 3))
    #expect(values.allSatisfy { $0.isFinite })
    #expect(Set(values).count > 100)
  }

  static let families: [(Double, String?)] = [(1.58, nil), (4, "nf4_single"), (4, "q4_k")]

  @Test("other encodings, and another width for the ends", arguments: families)
  func others(bits: Double, family: String?) throws {
    let shape = try Self.shape(), place = Place()
    let encoding = try Self.request(bits, family: family)
    let made = try Synthesis(shape, encoding: encoding, ends: try Self.request(8), seed: 1)
    try made.writeFolder(to: place.path, team: Self.team)
    let model = try Model(reading: place.path)
    check(model)
    #expect(model.embedding.encoding.label == "int8 g64")
    #expect(try model.byteCount == made.byteCount())
  }

  @Test(
    "GGUF of every type a program may meet",
    arguments: ["F16", "Q4_0", "Q8_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"])
  func gguf(type: String) throws {
    let shape = try Self.shape(), place = Place()
    let grid = try? Self.request(4, family: type.lowercased())
    let encoding = try #require(grid ?? StoredBlocks(named: type))
    try Synthesis(shape, encoding: encoding, seed: 1).writeGGUF(to: place.path, team: Self.team)
    let model = try Model(reading: place.path)
    check(model)
    #expect(model.blocks[0].weights[.down]?.weight.encoding.label == type)
  }

  @Test("what cannot be is refused before anything is written")
  func refusals() throws {
    let shape = try Self.shape(), place = Place()
    let encoding = try Self.request(4)
    let made = try Synthesis(shape, encoding: encoding, seed: 1)
    #expect(throws: Problem.self) { try made.writeGGUF(to: place.path, team: Self.team) }
    #expect(throws: Problem.self) { try made.writeFolder(to: place.path + "/none/out", team: Self.team) }
    #expect(!FileManager.default.fileExists(atPath: place.path))
    try made.writeFolder(to: place.path, team: Self.team)
    #expect(throws: Problem.self) { try made.writeFolder(to: place.path, team: Self.team) }
    try made.writeFolder(to: place.path, replacing: true, team: Self.team)
  }
}
