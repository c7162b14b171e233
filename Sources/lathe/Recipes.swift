import ArgumentParser
import LatheQuantize

struct Recipes: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the recipes that `quantize --recipe` and plans know by name.",
    discussion: """
      Bits are those of a weight of 4096 × 4096: nominal as the paper counts them, real with scales, zero points,
      bitmaps and all. Mixes of GGUF types depend on the model: `quantize --recipe NAME --dry-run` tells.
      """)

  @Flag(help: "Print JSON.") var json = false

  private struct Line: Encodable {
    let name, title, paper: String
    let encoding: String?
    let nominalBits, realBits: Double?
    enum CodingKeys: String, CodingKey {
      case name, title, paper, encoding
      case nominalBits = "nominal_bits"
      case realBits = "real_bits"
    }
  }

  func run() throws {
    if json {
      return try Output.json(
        PresetCatalog.all.map {
          Line(
            name: $0.name, title: $0.title, paper: $0.paper, encoding: $0.encoding,
            nominalBits: $0.bits?.nominal,
            realBits: $0.bits?.real)
        })
    }
    Output.line("name              nominal   real  encoding         what")
    for preset in PresetCatalog.all {
      let nominal = preset.bits.map { Format.number($0.nominal, 2) } ?? "-"
      let real = preset.bits.map { Format.number($0.real, 3) } ?? "-"
      let name = preset.name + String(repeating: " ", count: max(1, 19 - preset.name.count))
      Output.line(
        name + left(nominal, 6) + left(real, 7) + "  " + right(preset.encoding ?? "mixed types", 17)
          + preset.title)
    }
  }

  private func right(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private func left(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
