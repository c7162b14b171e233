import ArgumentParser
import LatheEncoding
import LatheFormats
import LatheModel
import LatheQuantize
import LatheTensor

struct Synthesize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model of random weights and a real shape, to measure speed and memory with.",
    usage: "lathe synthesize <shape> <out> [<options>]",
    discussion: """
      Shapes known by name: \(ModelShape.all.map(\.name).joined(separator: ", ")).

      The weights mean nothing; their sizes, layouts and statistics are a real model's. Nothing but one weight is \
      held in memory.
      """)

  @Argument(
    help: "A shape by name, a config.json, or a model.")
  var shape: String
  @Argument(help: "The folder (or, with --format gguf, the file) to write.") var out: String
  @Option(
    help: ArgumentHelp("The width of a code, 1 to 8; 1.58 for ternary; 16 (default: 4).", valueName: "b"))
  var bits: Double?
  @Option(
    help: ArgumentHelp("Neighbours that share a scale; 0 for whole rows (default: 128).", valueName: "n"))
  var groupSize: Int?
  @Flag(help: "Scales without zero points.") var symmetric = false
  @Option(
    help: ArgumentHelp(
      "What is stored, by name, in place of --bits: ternary, \(EncodingCatalog.families.joined(separator: ", ")).",
      valueName: "name"))
  var encoding: String?
  @Option(
    help: ArgumentHelp("The width of embedding and head, where another.", valueName: "b")) var headBits:
    Double?
  @Option(help: "native, or gguf for llama.cpp and its kin.") var format = Quantize.OutputFormat.native
  @Option(
    help: ArgumentHelp("With --format gguf: q4_0, q8_0, q4_k, q2_k, tq2_0, f16 and so on.", valueName: "t"))
  var type: String?
  @Option(
    help: ArgumentHelp("With --format gguf: the type of embedding and head, where another.", valueName: "t"))
  var headType: String?
  @Option(help: "What the weights are drawn from.") var seed: UInt64 = 1
  @Flag(help: "Take the place of what is there.") var force = false
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if format == .gguf {
      if bits != nil || groupSize != nil || symmetric || encoding != nil || headBits != nil {
        throw ValidationError("with --format gguf, --type and --head-type say what is stored")
      }
      if type == nil { throw ValidationError("--format gguf needs a --type, such as q4_0") }
    } else if type != nil || headType != nil {
      throw ValidationError("--type and --head-type need --format gguf")
    }
    if encoding != nil, bits != nil || symmetric {
      throw ValidationError("--encoding takes the place of --bits and --symmetric")
    }
    if let groupSize, groupSize < 0 { throw ValidationError("--group-size takes 0 or more") }
  }

  func run() throws {
    let shape = try ModelShape(named: self.shape), team = common.makeTeam()
    let progress: ProgressLine
    switch format {
    case .native:
      let body = try native(bits ?? 4, named: encoding)
      let synthesis = try Synthesis(
        shape, encoding: body, ends: try headBits.map { try native($0, named: nil) }, seed: seed)
      progress = ProgressLine("MiB", total: try synthesis.byteCount() >> 20)
      try synthesis.writeFolder(to: out, replacing: force, team: team) { progress.update($0 >> 20) }
    case .gguf:
      let synthesis = try Synthesis(
        shape, encoding: try stored(type ?? ""), ends: try headType.map(stored), seed: seed)
      progress = ProgressLine("MiB", total: try synthesis.byteCount() >> 20)
      try synthesis.writeGGUF(to: out, replacing: force, team: team) { progress.update($0 >> 20) }
    }
    progress.finish()
    try summarize()
  }

  private func native(_ bits: Double, named family: String?) throws(Problem) -> any Encoding {
    if bits == 16, family == nil { return try stored("f16") }
    let size = groupSize ?? 128
    var request = GridRequest(
      bits: family == "ternary" ? 1.58 : bits, groupSize: size == 0 ? nil : size, isSymmetric: symmetric)
    if family != "ternary" { request.family = family }
    return try EncodingCatalog.grid(for: request)
  }

  /// The encoding that GGUF calls `name`: a grid where there is one, so that it can be rounded to.
  private func stored(_ name: String) throws(Problem) -> any Encoding {
    var request = GridRequest(bits: 4, groupSize: nil, isSymmetric: false)
    request.family = name
    if EncodingCatalog.families.contains(name), let grid = try? EncodingCatalog.grid(for: request) {
      return grid
    }
    if let blocks = StoredBlocks(named: name.uppercased()) { return blocks }
    throw Problem(
      .usage, "unknown type \"\(name)\"",
      cure: "known are \(StoredLayout.all.map { $0.name.lowercased() }.joined(separator: ", "))")
  }

  private struct Summary: Encodable {
    let out: String
    let parameters, fileBytes: Int
    let bitsPerWeight, bitsPerBlockWeight: Double
    enum CodingKeys: String, CodingKey {
      case out, parameters
      case fileBytes = "file_bytes"
      case bitsPerWeight = "bits_per_weight"
      case bitsPerBlockWeight = "bits_per_block_weight"
    }
  }

  private func summarize() throws {
    let model = try Model(reading: out)
    let summary = Summary(
      out: out, parameters: model.parameterCount, fileBytes: try ModelSize.fileBytes(at: out),
      bitsPerWeight: model.bitsPerWeight, bitsPerBlockWeight: model.bitsPerQuantizedWeight)
    if common.json { return try Output.json(summary) }
    Output.line(
      "\(out): \(summary.parameters) random parameters, \(Format.number(summary.bitsPerWeight, 3)) bits a weight,"
    )
    Output.line("  \(Format.bytes(summary.fileBytes))")
  }
}
