import ArgumentParser
import Foundation
import LatheEncoding
import LatheEvaluate
import LatheFormats
import LatheModel
import LatheQuantize
import LatheStudy
import LatheTensor
import LatheText

struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a model smaller.",
    usage: "lathe quantize <model> <out> [<options>]",
    discussion: "Methods:\n"
      + MethodCatalog.all.map { explain($0.card) }.joined(separator: "\n")
      + "\nTransforms, joined to a method by \"+\" (awq+gptq); alone, each brings its paper's method:\n"
      + TransformCatalog.all.map { explain($0.card) }.joined(separator: "\n"))

  private static func explain(_ card: MethodCard) -> String {
    let options = card.options.sorted { $0.key < $1.key }.map { "  --set \($0.key)=…  \($0.value)" }
    return (["\(card.name): \(card.title) (\(card.paper)). \(card.summary)"] + options).joined(
      separator: "\n")
  }

  @Argument(help: "The model.") var model: String
  @Argument(help: "The folder (or, with --format gguf, the file) to write.") var out: String
  @Option(
    help: ArgumentHelp(
      "How codes are chosen: \((MethodCatalog.names + TransformCatalog.names).joined(separator: ", ")),"
        + " or several joined by \"+\" (default: rtn).",
      valueName: "name"))
  var method: String?
  @Option(
    help: ArgumentHelp(
      "The width of a code, 1 to 8; 1.58 for ternary; 16 or 32 to convert to GGUF (default: 4).",
      valueName: "b"))
  var bits: Double?
  @Option(
    help: ArgumentHelp("Neighbours that share a scale; 0 for whole rows (default: 128).", valueName: "n"))
  var groupSize: Int?
  @Flag(help: "Scales without zero points.") var symmetric = false
  @Option(
    help: ArgumentHelp(
      "What is stored, by name, in place of --bits: \(EncodingCatalog.families.joined(separator: ", ")).",
      valueName: "name"))
  var encoding: String?
  @Option(name: .customLong("set"), help: ArgumentHelp("An option of the method.", valueName: "key=value"))
  var settings: [String] = []
  @OptionGroup var calibration: CalibrationOptions
  @Option(
    help: ArgumentHelp(
      "A recipe in YAML, or a mix of GGUF's by name: \(GGUFMix.names.joined(separator: ", ")).",
      valueName: "file|name"))
  var recipe: String?
  @Option(
    help: ArgumentHelp(
      "What errors count for, as llama-imatrix wrote it, in place of --calibration.", valueName: "file"))
  var imatrix: String?
  @Option(help: "native, or gguf for llama.cpp and its kin.") var format = OutputFormat.native
  @Flag(help: "Say what would be done, how large the result would be, and what memory it takes.")
  var dryRun = false
  @Option(
    help: ArgumentHelp("Refuse to begin what would take more memory: 8G, 500M.", valueName: "size"))
  var maxMemory: String?
  @OptionGroup var tokenizer: TokenizerOptions
  @OptionGroup var common: CommonOptions

  enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case native, gguf }

  func validate() throws {
    if encoding != nil, bits != nil || groupSize != nil || symmetric {
      throw ValidationError("--encoding takes the place of --bits, --group-size and --symmetric")
    }
    if recipe != nil,
      encoding != nil || method != nil || bits != nil || groupSize != nil || symmetric || !settings.isEmpty
    {
      throw ValidationError(
        "--recipe takes the place of --method, --bits, --group-size, --symmetric and --set")
    }
    if imatrix != nil, calibration.calibration != nil {
      throw ValidationError("--imatrix takes the place of --calibration")
    }
    if format == .gguf, let groupSize, groupSize != 32 {
      throw ValidationError("with --format gguf, --group-size can only be 32")
    }
    if let groupSize, groupSize < 0 { throw ValidationError("--group-size takes 0 or more") }
  }

  func run() throws {
    try checkOutput()
    let model = try Model(reading: self.model)
    if format == .gguf, recipe == nil, let bits, bits == 16 || bits == 32 {
      return try convert(model, bits: bits)
    }
    let recipe = try makeRecipe(for: model)
    try recipe.validate(for: model)
    try checkUse(of: recipe)
    let memory = MemoryEstimate(
      model, recipe: recipe, samples: calibration.plannedSamples, length: calibration.plannedLength(model))
    if dryRun { return try preview(model, recipe, memory) }
    try checkMemory(memory)
    // All that can be refused is refused before the work.
    var vocabulary: [(key: String, value: MetadataValue)] = []
    if format == .gguf {
      vocabulary = try GGUFVocabulary.metadata(
        forModelAt: self.model, size: model.configuration.vocabularySize, override: tokenizer.tokenizer)
    } else if let tokenizer = tokenizer.tokenizer {
      _ = try Tokenizer.load(path: tokenizer)
    }
    let team = common.makeTeam()
    let text = try calibration.load(
      model: model, path: self.model, tokenizer: tokenizer.tokenizer, team: team)
    let importance = try imatrix.map { (path) throws(Problem) in try ImportanceMatrix(reading: path) }
    let quantizer = try Quantizer(
      model, recipe: recipe, calibration: text, importance: importance, team: team)
    if format == .gguf, quantizer.isDataFree {
      let reporter = QuantizationReporter(blocks: model.blocks.count, done: 0)
      try quantizer.writeGGUF(
        to: out, vocabulary: vocabulary, name: URL(fileURLWithPath: self.model).lastPathComponent
      ) { reporter.show($0) }
      reporter.finish()
      return try summarize(recipe)
    }
    var fingerprint = try Fingerprint(model: self.model, recipe: recipe, calibration: text)
    if let importance { fingerprint.calibration += ", importance matrix \(importance.digest)" }
    let ended = try recipe.quantizingEnds(of: quantizer.model, team: team)
    let store = try FolderStore(at: out + ".partial", model: ended, fingerprint: fingerprint)
    if store.finishedBlocks > 0 {
      Output.note("continuing after \(store.finishedBlocks) of \(model.blocks.count) blocks")
    }
    let reporter = QuantizationReporter(blocks: model.blocks.count, done: store.finishedBlocks)
    try quantizer.run(into: store) { reporter.show($0) }
    reporter.finish()
    switch format {
    case .native: try store.finish(as: out, source: self.model, tokenizer: tokenizer.tokenizer)
    case .gguf:
      try store.finishGGUF(
        as: out, vocabulary: vocabulary, name: URL(fileURLWithPath: self.model).lastPathComponent)
    }
    try summarize(recipe)
  }

  /// Writes the weights as floats: at 16 bits as BF16 where that is what they are, else as F16.
  private func convert(_ model: Model, bits: Double) throws {
    let source = model.embedding.encoding.storedLayout?.name
    let name = bits == 32 ? "F32" : source == "BF16" ? "BF16" : "F16"
    let vocabulary = try GGUFVocabulary.metadata(
      forModelAt: self.model, size: model.configuration.vocabularySize, override: tokenizer.tokenizer)
    if dryRun {
      Output.line("\(name): \(Format.bytes(model.parameterCount * Int(bits) / 8))")
      return
    }
    try GGUFDialect.write(
      model, vocabulary: vocabulary, name: URL(fileURLWithPath: self.model).lastPathComponent,
      as: StoredLayout.named(name), to: out)
    try summarize(Recipe(name: name, rules: []))
  }

  /// Refuses what the output's format cannot hold, and an importance matrix that nothing would read.
  private func checkUse(of recipe: Recipe) throws(Problem) {
    if format == .gguf, let first = recipe.transforms.first(where: { $0.transform.leavesSteps }) {
      throw Problem(
        .usage,
        "\(type(of: first.transform).card.name) leaves steps to the running model, which GGUF cannot hold",
        cure: "choose awq, a method alone, or --format native")
    }
    if imatrix != nil, !recipe.evidence.contains(.channelEnergy) {
      throw Problem(
        .usage, "\(recipe.name) makes no use of --imatrix", cure: "set importance=true, or leave it out")
    }
  }

  /// Refuses work that would take more memory than was allowed.
  private func checkMemory(_ memory: MemoryEstimate) throws(Problem) {
    guard let maxMemory else { return }
    let units: [Character: Double] = ["K": 0x1p10, "M": 0x1p20, "G": 0x1p30, "T": 0x1p40]
    let text = maxMemory.uppercased().replacing("IB", with: "").replacing("B", with: "")
    let unit = text.last.flatMap { units[$0] }
    guard let number = Double(unit == nil ? text : String(text.dropLast())), number > 0 else {
      throw Problem(.usage, "--max-memory \(maxMemory) is no size", cure: "say 8G, or 500M")
    }
    let allowed = number * (unit ?? 1)
    guard Double(memory.total) > allowed else { return }
    throw Problem(
      .usage, "the work would take about \(Format.bytes(memory.total)), more than --max-memory \(maxMemory)",
      cure: memory.stream > memory.moments + memory.block
        ? "give fewer --samples or a smaller --length" : "choose a method without second moments, such as rtn"
    )
  }

  /// Refuses a name that is taken, or lies in no folder, before any work is done for it.
  private func checkOutput() throws(Problem) {
    if FileManager.default.fileExists(atPath: out) {
      throw Problem(.cannotCreate, "exists already", at: out, cure: "choose another name, or remove it")
    }
    // Foundation's own way to the parent traps on names of one letter.
    let parent = out.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    var isFolder: ObjCBool = false
    guard
      parent.isEmpty
        || FileManager.default.fileExists(atPath: parent, isDirectory: &isFolder) && isFolder.boolValue
    else {
      throw Problem(.cannotCreate, "\(parent) is no folder", at: out, cure: "create it first")
    }
  }

  private func makeRecipe(for model: Model) throws(Problem) -> Recipe {
    if let recipe {
      if let preset = PresetCatalog[recipe] {
        return try preset.recipe(for: model, isWeighed: imatrix != nil || calibration.calibration != nil)
      }
      guard FileManager.default.fileExists(atPath: recipe) else {
        throw Problem(
          .noInput, "there is no recipe of this name, and no such file", at: recipe,
          cure: "`lathe recipes` lists the names")
      }
      return try Recipe(reading: recipe)
    }
    var options: [(key: String, value: String)] = []
    for setting in settings {
      guard let sign = setting.firstIndex(of: "=") else {
        throw Problem(.usage, "--set \(setting) has no value", cure: "say --set key=value")
      }
      options.append((String(setting[..<sign]), String(setting[setting.index(after: sign)...])))
    }
    // What an importance matrix is given for goes without saying where the method is rounding.
    if imatrix != nil, method ?? "rtn" == "rtn", !options.contains(where: { $0.key == "importance" }) {
      options.append(("importance", "true"))
    }
    let chain = try Chain(method ?? "rtn", setting: options)
    var request = chain.defaults
    if let bits { request.bits = bits }
    if let groupSize { request.groupSize = groupSize == 0 ? nil : groupSize }
    if symmetric { request.isSymmetric = true }
    request.isForGGUF = format == .gguf
    if let encoding { request.family = encoding }
    if chain.bringsEncoding, bits != nil || groupSize != nil || symmetric {
      throw Problem(
        .usage, "\(chain.name) stores an encoding of its own",
        cure: "leave out --bits, --group-size and --symmetric")
    }
    let whole = chain.recipe(try EncodingCatalog.grid(for: request))
    guard format == .gguf else { return whole }
    let (fitting, misfits) = whole.leavingOutMisfits(of: model)
    for (role, columns) in misfits {
      Output.note(
        "note: \(role.rawValue) stays as it is: its \(columns) columns are no whole number of blocks")
    }
    return fitting
  }

  private struct Preview: Encodable {
    let recipe: String
    let bitsPerWeight, bitsPerBlockWeight: Double
    /// The bytes of the weights; files add a header of a few kilobytes.
    let bytes: Int
    let memory: Int
    enum CodingKeys: String, CodingKey {
      case recipe
      case memory = "memory_bytes"
      case bitsPerWeight = "bits_per_weight"
      case bitsPerBlockWeight = "bits_per_block_weight"
      case bytes = "weight_bytes"
    }
  }

  /// Sizes are exact: an encoding states its parts for a shape.
  private func preview(_ model: Model, _ recipe: Recipe, _ memory: MemoryEstimate) throws {
    var blockBytes = 0, weights = 0, originalBytes = 0
    for (layer, block) in model.blocks.enumerated() {
      for role in Role.allCases {
        guard let matrix = block.weights[role]?.weight else { continue }
        weights += matrix.count
        originalBytes += matrix.byteCount
        blockBytes +=
          try recipe.storedBytes(at: Site(layer, role), rows: matrix.rows, columns: matrix.columns)
          ?? matrix.byteCount
      }
    }
    var bytes = model.byteCount - originalBytes + blockBytes
    for end in ModelEnd.allCases {
      guard let matrix = end.weight(of: model), let encoding = recipe.rule(for: end)?.storage else {
        continue
      }
      let parts = try encoding.parts(rows: matrix.rows, columns: matrix.columns)
      bytes += parts.reduce(0) { $0 + $1.byteCount } - matrix.byteCount
    }
    let preview = Preview(
      recipe: recipe.name, bitsPerWeight: Double(8 * bytes) / Double(model.parameterCount),
      bitsPerBlockWeight: Double(8 * blockBytes) / Double(weights), bytes: bytes,
      memory: memory.total)
    if common.json { return try Output.json(preview) }
    Output.line(
      "\(recipe.name): \(Format.number(preview.bitsPerBlockWeight, 3)) bits a weight in the blocks,"
        + " \(Format.number(preview.bitsPerWeight, 3)) in all")
    Output.line("  \(Format.bytes(bytes)) of weights (now \(Format.bytes(model.byteCount)))")
    Output.line(
      "  about \(Format.bytes(memory.total)) of memory beside the mapped model: stream"
        + " \(Format.bytes(memory.stream)), moments \(Format.bytes(memory.moments)),")
    Output.line("    block \(Format.bytes(memory.block)), scratch \(Format.bytes(memory.scratch))")
    for transform in recipe.transforms { Output.line("  first: \(type(of: transform.transform).card.title)") }
    for rule in recipe.rules {
      Output.line(
        "  \(rule.sites): \(type(of: rule.method.method).card.title), \(rule.storage.label)")
    }
  }

  private struct Summary: Encodable {
    let out, recipe: String
    let bitsPerWeight, bitsPerBlockWeight: Double
    let weightBytes, fileBytes: Int
    enum CodingKeys: String, CodingKey {
      case out, recipe
      case weightBytes = "weight_bytes"
      case bitsPerWeight = "bits_per_weight"
      case bitsPerBlockWeight = "bits_per_block_weight"
      case fileBytes = "file_bytes"
    }
  }

  private func summarize(_ recipe: Recipe) throws {
    let model = try Model(reading: out)
    let bytes = try ModelSize.fileBytes(at: out)
    if common.json {
      return try Output.json(
        Summary(
          out: out, recipe: recipe.name, bitsPerWeight: model.bitsPerWeight,
          bitsPerBlockWeight: model.bitsPerQuantizedWeight, weightBytes: model.byteCount, fileBytes: bytes))
    }
    Output.line(
      "\(out): \(Format.number(model.bitsPerQuantizedWeight, 3)) bits a weight in the blocks,"
        + " \(Format.number(model.bitsPerWeight, 3)) over the whole model, \(Format.bytes(bytes))")
  }
}

/// Prints a line for each weight, and how long the rest will take.
final class QuantizationReporter {
  private let progress: ProgressLine
  private let done: Int
  private var header = false

  init(blocks: Int, done: Int) {
    self.done = done
    progress = ProgressLine("block", total: blocks - done)
  }

  func show(_ event: QuantizationEvent) {
    switch event {
    case .weight(let weight):
      progress.finish()
      if !header {
        Output.note("weight     method  encoding      bits   weight error  output error  seconds")
      }
      header = true
      Output.note(
        pad(weight.site.description, 10) + " " + pad(weight.method, 7) + " "
          + pad(weight.encoding.encoding.label, 13) + " "
          + pad(Format.number(weight.bitsPerWeight, 3), 6) + " " + pad(Format.error(weight.weightError), 13)
          + " "
          + pad(weight.outputError.map(Format.error) ?? "-", 13) + " " + Format.number(weight.seconds, 2))
    case .block(let block, _):
      progress.update(
        block.layer + 1 - done, block.streamError.map { "stream error \(Format.error($0))" } ?? "")
    }
  }

  func finish() { progress.finish() }

  private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
