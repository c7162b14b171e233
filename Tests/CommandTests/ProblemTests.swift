import Foundation
import LatheTensor
import LatheTestSupport
import Testing

/// What goes wrong is told in a sentence, with the exit code of its class, and leaves no output behind.
@Suite struct ProblemTests {
  /// Runs in a folder that holds `model` (the repository's), `text`, `short` and `taken`.
  private func check(
    _ status: Int32, says words: String..., from arguments: [String],
    prepare: (Scratch) throws -> Void = { _ in }, place: SourceLocation = #_sourceLocation
  ) throws {
    let scratch = try Scratch()
    try FileManager.default.createSymbolicLink(
      atPath: scratch.path("model"), withDestinationPath: Sample.model)
    _ = try scratch.write("It was the best of times.", to: "short")
    try FileManager.default.createDirectory(atPath: scratch.path("taken"), withIntermediateDirectories: true)
    try prepare(scratch)
    let before = scratch.names
    let outcome = try Command.run(arguments, folder: scratch.folder)
    #expect(!outcome.wasKilled && outcome.status == status, "\(outcome)", sourceLocation: place)
    #expect(outcome.output.isEmpty, sourceLocation: place)
    let sentence = outcome.sentence
    #expect(
      sentence.hasPrefix("lathe: ") || sentence.hasPrefix("Error: "), "\(outcome.errors)",
      sourceLocation: place)
    if sentence.hasPrefix("lathe: ") {
      let lines = outcome.errors.split(separator: "\n").count
      #expect(lines == 1, "\(outcome.errors)", sourceLocation: place)
    }
    for word in words { #expect(sentence.contains(word), "\(sentence)", sourceLocation: place) }
    #expect(scratch.names == before, "nothing is left", sourceLocation: place)
  }

  static let verbs = [
    ["inspect", "M"], ["tokenize", "M", "--text", "a"], ["run", "M", "--prompt", "a"],
    ["quantize", "M", "out"],
    ["eval", "M", "--text", "short"], ["bench", "M"], ["plan", "M"], ["synthesize", "M", "out"],
  ]

  @Test("a missing model", arguments: verbs) func missing(verb: [String]) throws {
    try check(66, says: "nowhere", from: verb.map { $0 == "M" ? "nowhere" : $0 })
  }

  @Test("a folder that is no model", arguments: verbs) func folder(verb: [String]) throws {
    let expected: Int32 = verb[0] == "tokenize" ? 66 : 65
    try check(expected, says: "taken", from: verb.map { $0 == "M" ? "taken" : $0 })
  }

  @Test(
    "an instruction set that is unknown, or of another machine", arguments: verbs + [["recipes"], ["tasks"]])
  func kernels(verb: [String]) throws {
    for name in ["foo", "", "avx512vnni "] {
      let arguments = verb.map { $0 == "M" ? Sample.model : $0 }
      let outcome = try Command(arguments, variables: ["LATHE_KERNELS": name]).finish()
      #expect(outcome.status == 64 && !outcome.wasKilled && outcome.output.isEmpty)
      let known = Kernels.available.map(\.name).joined(separator: ", ")
      #expect(outcome.sentence == "lathe: LATHE_KERNELS is \"\(name)\"; known here are \(known)")
    }
  }

  @Test("every instruction set of this machine, by its names")
  func kernelNames() throws {
    for name in Kernels.available.map(\.name) {
      let outcome = try Command(
        ["inspect", Sample.model, "--json"],
        variables: ["LATHE_KERNELS": name == "avx512vnni" ? "avx512" : name]
      ).finish()
      #expect(outcome.output.contains("\(name), float activations"))
    }
  }

  @Test("a file of no format", arguments: verbs) func garbage(verb: [String]) throws {
    try check(65, says: "garbage", from: verb.map { $0 == "M" ? "garbage" : $0 }) {
      _ = try $0.write(
        Data((0..<5000).map { UInt8(truncatingIfNeeded: $0 * 37 + $0 / 7 + 3) }), to: "garbage")
    }
  }

  static let requests: [(arguments: String, says: String)] = [
    ("run model --prompt a --cache-type int3", "int3"),
    ("run model --prompt a --draft-tokens 0", "--draft-tokens"),
    ("run model --prompt a --prompt b --draft model", "--draft"),
    ("eval model --tasks piqa --cache-type f16", "--cache-type"),
    ("quantize model out --method magic", "unknown method \"magic\""),
    ("quantize model out --method gptq", "--calibration"), ("quantize model out --bits 9", "9 bits"),
    ("quantize model out --bits 0", "0 bits"), ("quantize model out --bits 2.5", "2.5 bits"),
    ("quantize model out --bits nan", "bits"), ("quantize model out --bits x", "x"),
    ("quantize model out --group-size -1", "group"), ("quantize model out --group-size 9999999999", "group"),
    ("quantize model out --set speed=1", "no option \"speed\""),
    ("quantize model out --set clip", "no value"),
    ("quantize model out --set clip=maybe", "\"maybe\""),
    ("quantize model out --method gptq --set damping=nan --calibration text", "\"nan\""),
    ("quantize model out --format gguf --bits 7", "7 bits"),
    ("quantize model out --format gguf --method quip --calibration self", "GGUF cannot hold"),
    ("quantize model out --method billm --bits 2", "encoding of its own"),
    ("quantize model out --method gptq+awq", "only come last"),
    ("quantize model out --method gptq --max-memory 1K --calibration self", "--max-memory"),
    ("quantize model out --format gguf --group-size 64", "--group-size"),
    ("quantize model out --format zip", "zip"), ("quantize model out --recipe r --bits 3", "--recipe"),
    ("quantize model out --recipe r --method rtn", "--recipe"),
    ("quantize model out --recipe r --set clip=true", "--recipe"),
    ("quantize model out --samples 4", "--calibration"), ("quantize model out --seed 4", "--calibration"),
    ("quantize model out --calibration short --samples 0", "--samples"),
    ("quantize model out --calibration short --length 0", "--length"), ("quantize model", "<out>"),
    ("quantize model out --calibration short", "tokens"), ("eval model", "--protocol"),
    ("eval model --protocol p --text short", "--protocol"),
    ("eval model --protocol p --window 8", "--window"),
    ("eval model --protocol p", "unknown protocol \"p\""), ("eval model --text short --window 1", "--window"),
    ("eval model --text short --limit 0", "--limit"), ("eval model --text short --bos some", "some"),
    ("eval model --text short --threads 0", "--threads"), ("inspect model --loud", "--loud"),
    ("bench model --prompt 0 --generate 0", "at least one"), ("bench model --repetitions=-1", "at least one"),
    ("bench model --prompt 8-4", "falls"), ("bench model --depth 1-2-3", "no range"),
    ("bench model --threads 0", "--threads"), ("bench model --prompt 4,8 --json", "jsonl"),
    ("bench model --output pdf", "pdf"),
    ("plan llama-3-8b --device abacus", "abacus"),
    ("plan llama-3-8b --batch 0", "--batch"), ("plan llama-3-8b --cache-bits 5", "--cache-bits"),
    ("synthesize model out --type q4_0", "--format gguf"),
    ("synthesize model out --format gguf", "--type"), ("synthesize model out --bits 9", "9 bits"),
    ("synthesize model out --format gguf --type q9", "q9"),
    ("synthesize model out --encoding magic", "magic"),
    ("run model", "--prompt"), ("run model --prompt a --max-tokens -1", "--max-tokens"),
    ("run model --prompt a --temperature nan", "--temperature"),
    ("run model --prompt a --top-p 2", "--top-p"),
    ("run model --prompt a --top-k -1", "--top-k"), ("run model --prompt a --seed=-1", "-1"),
    ("tokenize model", "--text"), ("tokenize model --text a --file short", "--text"),
    ("polish model", "polish"),
  ]

  @Test("wrong requests", arguments: requests) func request(arguments: String, says: String) throws {
    try check(64, says: says, from: arguments.split(separator: " ").map(String.init))
  }

  @Test func tooShortATextIsBadData() throws {
    try check(65, says: "short", "tokens", from: ["eval", "model", "--text", "short", "--window", "64"])
    try check(65, says: "empty", from: ["eval", "model", "--text", "empty", "--window", "64"]) {
      _ = try $0.write("", to: "empty")
    }
  }

  static let inputs = [
    "eval model --text none", "eval model --text short --window 4 --reference none",
    "tokenize model --file none",
    "quantize model out --calibration none",
    "quantize model out --tokenizer none", "eval model --text short --tokenizer none",
    "run model --prompt a --tokenizer none", "run model --prompt a --draft none",
    "tokenize model --text a --tokenizer none",
  ]

  @Test("missing inputs", arguments: inputs) func input(arguments: String) throws {
    // A calibration text that is no file may be a corpus: an unknown name is a wrong request.
    let status: Int32 = arguments.contains("--calibration") ? 64 : 66
    try check(status, says: "none", from: arguments.split(separator: " ").map(String.init))
  }

  @Test("outputs that cannot be", arguments: ["native", "gguf"]) func output(format: String) throws {
    let rest = ["--format", format, "--bits", "8"]
    try check(73, says: "taken", "exists", from: ["quantize", "model", "taken"] + rest)
    try check(73, says: "exists", from: ["quantize", "model", "short"] + rest)
    try check(73, says: "no/such", from: ["quantize", "model", "no/such/out"] + rest)
    try check(73, says: "short/out", from: ["quantize", "model", "short/out"] + rest)
    try check(73, says: "/proc/out", from: ["quantize", "model", "/proc/out"] + rest)
    try check(73, says: "exists", from: ["quantize", "model", "taken", "--dry-run"] + rest)
  }

  @Test("a GGUF needs a tokenizer, and says so before the work")
  func vocabulary() throws {
    try check(66, says: "bare", from: ["quantize", "bare", "out", "--format", "gguf", "--bits", "8"]) {
      _ = try $0.copy(TestData.fixture("model/gqa"), to: "bare")
    }
  }

  @Test("an option of a tokenizer that is not one")
  func noTokenizer() throws {
    try check(65, says: "short", from: ["quantize", "model", "out", "--tokenizer", "short"])
    try check(66, says: "bare", from: ["run", "bare", "--prompt", "a"]) {
      _ = try $0.copy(TestData.fixture("model/gqa"), to: "bare")
    }
  }

  @Test("files cut short", arguments: [0, 7, 100, 3000, 1_000_000])
  func truncated(length: Int) throws {
    for name in ["model.safetensors", "config.json", "tokenizer.model"] {
      let original = try Data(contentsOf: URL(fileURLWithPath: Sample.model + "/" + name))
      if length >= original.count { continue }
      let cut = { (scratch: Scratch) in
        _ = try scratch.copy(Sample.model, to: "cut")
        _ = try scratch.write(original.prefix(length), to: "cut/" + name)
        // Another tokenizer must not stand in.
        try FileManager.default.removeItem(atPath: scratch.path("cut/tokenizer.json"))
      }
      for verb in [["run", "cut", "--prompt", "a"], ["eval", "cut", "--text", "short"]] {
        try check(65, says: "cut", from: verb, prepare: cut)
      }
      if name != "tokenizer.model" {
        try check(65, says: "cut", from: ["quantize", "cut", "out"], prepare: cut)
      }
    }
  }

  @Test("a GGUF cut short", arguments: [4, 40, 4000, 200_000, 3_000_000])
  func truncatedGGUF(length: Int) throws {
    let scratch = try Scratch()
    let whole = scratch.path("whole.gguf")
    _ = try Command.run("quantize", Sample.model, whole, "--format", "gguf", "--bits", "8", "--json").json()
    let data = try Data(contentsOf: URL(fileURLWithPath: whole)).prefix(length)
    for verb in [
      ["inspect", "cut.gguf"], ["run", "cut.gguf", "--prompt", "a"], ["quantize", "cut.gguf", "out"],
    ] {
      try check(65, says: "cut.gguf", from: verb) { _ = try $0.write(data, to: "cut.gguf") }
    }
  }

  @Test(
    "a llama2.c checkpoint cut short", .enabled(if: TestData.isPresent, "no data: set LATHE_DATA"),
    arguments: [4, 28, 200, 500_000])
  func truncatedBin(length: Int) throws {
    let path = try TestData.path("models/stories260K/stories260K.bin")
    let data = try Data(contentsOf: URL(fileURLWithPath: path)).prefix(length)
    for verb in [
      ["inspect", "cut.bin"], ["run", "cut.bin", "--prompt", "a"], ["quantize", "cut.bin", "out"],
    ] {
      try check(65, says: "cut.bin", from: verb) { _ = try $0.write(data, to: "cut.bin") }
    }
  }

  @Test("a pipe or a device is no model, and nobody waits for it", arguments: verbs)
  func devices(verb: [String]) throws {
    for name in ["pipe", "/dev/zero", "/dev/null"] {
      try check(66, says: name, from: verb.map { $0 == "M" ? name : $0 }) { mkfifo($0.path("pipe"), 0o600) }
    }
  }
}
