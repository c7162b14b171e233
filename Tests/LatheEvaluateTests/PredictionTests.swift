import LatheEvaluate
import LatheModel
import LatheTensor
import LatheTestSupport
import Testing

/// Figures of LLaMA-3-8B worked out by hand from its sizes.
@Suite struct PredictionTests {
  /// Weights of the 32 blocks: 2 · 4096² + 2 · 1024 · 4096 + 3 · 14336 · 4096 each; of the embedding, and of the head.
  static let blocks = 6_979_321_856, end = 525_336_576
  /// 65 norms of 4096 numbers, in single precision.
  static let norms = 1_064_960

  static let weights: [(bits: Double, bytes: Int)] = [
    // 128 weights at 4 bits: 64 bytes, a scale of two bytes, half a byte of zero point.
    (16, 2 * 8_029_995_008), (4, 62_734_336 * 133 / 2), (8, 62_734_336 * 131), (2, 62_734_336 * 137 / 4),
  ]

  @Test("bytes of the weights", arguments: weights)
  func footprint(bits: Double, bytes: Int) throws {
    let made = try Footprint(try ModelShape(named: "llama-3-8b"), bits: bits, groupSize: 128)
    #expect(made.weightBytes == bytes + Self.norms)
    #expect(made.blockProducts == Self.blocks && made.headProducts == Self.end)
    #expect(abs(made.bitsPerWeight - Double(8 * bytes) / 8_029_995_008) < 1e-12)
    // Of the embedding one row of 4096 weights is read.
    let share = bytes / 8_029_995_008
    if bits == 16 { #expect(made.bytesPerToken == bytes + Self.norms - share * Self.end + share * 4096) }
  }

  @Test("a tied head is read, and counted once")
  func tied() throws {
    let made = try Footprint(try ModelShape(named: "llama-3.2-1b"), bits: 16, groupSize: nil)
    #expect(made.weightBytes == 2 * 1_235_746_816 + 4 * 33 * 2048)
    #expect(made.bytesPerToken == made.weightBytes)
  }

  @Test("the head has its own width")
  func head() throws {
    let shape = try ModelShape(named: "llama-3-8b")
    let made = try Footprint(shape, bits: 4, groupSize: 128, headBits: 16)
    #expect(made.weightBytes == Self.blocks / 128 * 133 / 2 + 4 * Self.end + Self.norms)
  }

  @Test("keys and values: 2 · layers · width · bytes · context")
  func cache() throws {
    let c = try ModelShape(named: "llama-3-8b").configuration
    #expect(Footprint.cacheBytes(c, context: 8192, bits: 16) == 1_073_741_824)
    #expect(Footprint.cacheBytes(c, context: 8192, bits: 4) == 268_435_456)
  }

  @Test("rates at the roofline of an A100")
  func prediction() throws {
    let shape = try ModelShape(named: "llama-3-8b"),
      device = try #require(Device.known.first { $0.name == "a100" })
    let made = try Footprint(shape, bits: 16, groupSize: nil)
    let one = Prediction(
      made, shape.configuration, on: device, for: try PlanRequest(context: 8192, prompt: 512))
    // 15,010,390,016 bytes of weights and 1 GiB of cache at 2039 GB/s.
    #expect(abs(one.decode - 2039e9 / 16_084_131_840) < 1e-6)
    #expect(one.decodeBound == .memory && one.fits)
    let attention: Double = 4 * 32 * 4096 * 256, weights: Double = 2 * 6_979_321_856
    let operations: Double = 512 * (weights + attention) + 1_050_673_152
    #expect(abs(one.prefill - 512 * 312e12 / operations) < 1e-6 * one.prefill)
    #expect(one.prefillBound == .arithmetic)
    let many = Prediction(
      made, shape.configuration, on: device, for: try PlanRequest(context: 1, batch: 1024, prompt: 1))
    #expect(many.decodeBound == .arithmetic && many.prefillBound == .memory)
    #expect(many.decode > 100 * one.decode)
    let full = Prediction(
      made, shape.configuration, on: device, for: try PlanRequest(context: 8192, batch: 64))
    #expect(!full.fits && full.cacheBytes == 64 * 1_073_741_824)
  }

  @Test("whole bytes go at a rate of their own, where a device has one")
  func bytes() throws {
    let shape = try ModelShape(named: "llama-3-8b")
    var device = try #require(Device.known.first { $0.name == "a100" })
    func prefill(bits: Double) throws -> Double {
      let made = try Footprint(shape, bits: bits, groupSize: 128)
      return Prediction(made, shape.configuration, on: device, for: try PlanRequest(context: 1)).prefill
    }
    let few = try prefill(bits: 4), whole = try prefill(bits: 8)
    #expect(few == whole)
    device.byteRate = device.integerRate / 2
    #expect(try prefill(bits: 4) == few)
    #expect(abs(try prefill(bits: 8) - whole / 2) < 1e-9 * whole)
  }

  @Test("where blocks differ, caches and attention are those of each block")
  func layers() throws {
    let c = try ModelShape(named: "openelm-1.1b").configuration
    // 3 blocks of 16 heads, 7 of 20, 8 of 24, 6 of 28, 4 of 32; a quarter of them for keys and values.
    #expect(c.totalQueryWidth == 64 * 676 && c.cacheWidth == 2 * 64 * 169)
    #expect(Footprint.cacheBytes(c, context: 2048, bits: 16) == Double(2 * 2048 * 2 * 64 * 169))
  }

  @Test("devices have what a plan needs, and a source")
  func devices() throws {
    #expect(Set(Device.known.map(\.name)).count == Device.known.count)
    for device in Device.known {
      #expect(device.memory > 1e9 && device.bandwidth > 1e9 && device.integerRate >= device.halfRate)
      #expect(!device.source.isEmpty)
    }
    #expect(throws: Problem.self) { try Device.devices(named: ["abacus"], team: ThreadTeam(count: 1)) }
    #expect(throws: Problem.self) { try PlanRequest(context: 0) }
    #expect(throws: Problem.self) { try PlanRequest(context: 1, cacheBits: 5) }
  }

  @Test("a shape is read from a name, a configuration, a folder or a file of weights")
  func shapes() throws {
    let folder = TestData.packageFolder + "/Models/novella-6m"
    let configuration = try Model(reading: folder).configuration
    for path in [folder, folder + "/config.json"] {
      #expect(try ModelShape(named: path).configuration.hiddenSize == configuration.hiddenSize)
    }
    #expect(throws: Problem.self) { try ModelShape(named: "openelm-7b") }
    #expect(throws: Problem.self) { try ModelShape(named: folder + "/none") }
  }
}
