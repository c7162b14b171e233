import ArgumentParser
import Foundation
import LatheEvaluate
import LatheModel
import LatheTensor

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Foretell where a model fits and how fast it would run, without its weights.",
    usage: "lathe plan <shape> [<options>]",
    discussion: """
      Shapes known by name: \(ModelShape.all.map(\.name).joined(separator: ", ")).

      For each width of a code: the real bits, the bytes of the weights, and for each device whether weights and \
      cache fit its memory, the tokens a second when it reads or computes as fast as its data sheet says, and which \
      of the two it waits for. A token is written with the whole context in the cache. The machine at work is \
      measured, and its figures are what this program's kernels reach; the others' are bounds no program passes, \
      and --json tells under "source" where each device's figures are from.
      """)

  @Argument(
    help: "A config.json, a model, or a shape by name.")
  var shape: String
  @Option(
    help: ArgumentHelp(
      "The tokens of each sequence (default: 4096, or what the model takes).", valueName: "n"))
  var context: Int?
  @Option(help: "The sequences decoded together.") var batch = 1
  @Option(help: "The tokens of a prompt.") var prompt = 512
  @Option(help: ArgumentHelp("Neighbours that share a scale; 0 for whole rows.", valueName: "n"))
  var groupSize = 128
  @Option(help: ArgumentHelp("The width of embedding and head, where another.", valueName: "b"))
  var headBits: Double?
  @Option(help: ArgumentHelp("The bits of an element of keys and values: 4, 8, 16, 32.", valueName: "b"))
  var cacheBits = 16
  @Option(
    help: ArgumentHelp(
      "A device: \(([Device.ownName] + Device.known.map(\.name)).joined(separator: ", ")) (default: all).",
      valueName: "name"))
  var device: [String] = []
  @OptionGroup var common: CommonOptions

  private static let widths = [16, 8, 6, 5, 4, 3, 2, 1.58, 1]

  func validate() throws {
    if groupSize < 0 { throw ValidationError("--group-size takes 0 or more") }
  }

  func run() throws {
    let shape = try ModelShape(named: self.shape)
    let request = try PlanRequest(
      context: context ?? min(4096, shape.configuration.contextLength), batch: batch, prompt: prompt,
      cacheBits: Double(cacheBits))
    let footprints = try Self.widths.map {
      try Footprint(shape, bits: $0, groupSize: groupSize == 0 ? nil : groupSize, headBits: headBits)
    }
    let devices = try Device.devices(named: device, team: common.makeTeam())
    if common.json { return try Output.json(report(shape, request, footprints, devices)) }
    let cache =
      Double(batch)
      * Footprint.cacheBytes(shape.configuration, context: request.context, bits: Double(cacheBits))
    Output.line(
      "\(self.shape): context \(request.context), \(batch) sequence\(batch == 1 ? "" : "s"), prompt \(prompt);"
        + " cache \(Format.bytes(Int(min(cache, 1e18))))")
    for device in devices { show(device, shape, request, footprints) }
  }

  private func show(_ device: Device, _ shape: ModelShape, _ request: PlanRequest, _ footprints: [Footprint])
  {
    Output.line()
    Output.line(
      "\(device.title): \(Format.number(device.memory / 1e9, 0)) GB, "
        + "\(Format.number(device.bandwidth / 1e9, device.bandwidth < 1e11 ? 1 : 0)) GB/s, "
        + "\(Self.rate(device.halfRate)) at 16 bits, \(Self.rate(device.integerRate)) at 8")
    if let rate = device.byteRate, rate < 0.9 * device.integerRate {
      Output.line("  \(Self.rate(rate)) at 8 where weights are whole bytes")
    }
    Output.line("   bits   real     weights  fits  decode/s  waits for   prefill/s  waits for")
    for footprint in footprints {
      let prediction = Prediction(footprint, shape.configuration, on: device, for: request)
      let head =
        Self.pad(Self.bits(footprint.bits), 7) + Self.pad(Format.number(footprint.bitsPerWeight, 3), 7)
        + Self.pad(Format.bytes(footprint.weightBytes), 12)
      guard prediction.fits else {
        Output.line(head + "    no")
        continue
      }
      Output.line(
        head + "   yes" + Self.pad(Self.speed(prediction.decode), 10) + "  "
          + Self.word(prediction.decodeBound.rawValue, 10) + Self.pad(Self.speed(prediction.prefill), 11)
          + "  " + prediction.prefillBound.rawValue)
    }
  }

  private struct Report: Encodable {
    struct Row: Encodable {
      let device: String
      let bits, bitsPerWeight: Double
      let weightBytes: Int
      let cacheBytes, totalBytes: Double
      let fits: Bool
      let decode: Double
      let decodeBound: Prediction.Bound
      let prefill: Double
      let prefillBound: Prediction.Bound
      enum CodingKeys: String, CodingKey {
        case device, bits, fits
        case bitsPerWeight = "bits_per_weight"
        case weightBytes = "weight_bytes"
        case cacheBytes = "cache_bytes"
        case totalBytes = "total_bytes"
        case decode = "decode_tokens_per_second"
        case decodeBound = "decode_bound"
        case prefill = "prefill_tokens_per_second"
        case prefillBound = "prefill_bound"
      }
    }
    let shape: String
    let context, batch, prompt: Int
    let devices: [Device]
    let rows: [Row]
  }

  private func report(
    _ shape: ModelShape, _ request: PlanRequest, _ footprints: [Footprint], _ devices: [Device]
  ) -> Report {
    let rows = devices.flatMap { device in
      footprints.map { footprint in
        let made = Prediction(footprint, shape.configuration, on: device, for: request)
        return Report.Row(
          device: device.name, bits: footprint.bits, bitsPerWeight: footprint.bitsPerWeight,
          weightBytes: footprint.weightBytes, cacheBytes: made.cacheBytes, totalBytes: made.totalBytes,
          fits: made.fits, decode: made.decode, decodeBound: made.decodeBound, prefill: made.prefill,
          prefillBound: made.prefillBound)
      }
    }
    return Report(
      shape: self.shape, context: request.context, batch: batch, prompt: prompt, devices: devices, rows: rows)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }

  private static func word(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func bits(_ bits: Double) -> String { Int(exactly: bits).map(String.init) ?? "\(bits)" }

  private static func speed(_ value: Double) -> String { Format.number(value, value < 100 ? 1 : 0) }

  private static func rate(_ value: Double) -> String {
    value < 1e12 ? "\(Format.number(value / 1e9, 0)) G/s" : "\(Format.number(value / 1e12, 1)) T/s"
  }
}
