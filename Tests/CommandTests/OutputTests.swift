import Foundation
import LatheTestSupport
import Testing

/// What each command prints: one object with `--json`, lines that fit a terminal without.
@Suite struct OutputTests {
  /// Expects positive, finite numbers under `keys`.
  private func expectNumbers(_ keys: String..., in object: [String: Any]) {
    for key in keys {
      let number = object[key] as? Double
      #expect(number.map { $0 > 0 && $0.isFinite } == true, "\(key): \(object[key] ?? "missing")")
    }
  }

  @Test func inspectTellsTheSizes() throws {
    let object = try Command.run("inspect", Sample.model, "--json").json()
    expectNumbers("bits_per_weight", "file_bytes", "parameters", "layers", "vocabulary", in: object)
    #expect(object["parameters"] as? Int == 5_770_496)
    let size = try FileManager.default.attributesOfItem(atPath: Sample.model + "/model.safetensors")[.size]
    #expect(object["file_bytes"] as? Int == size as? Int)
    #expect((object["tensors"] as? [Any])?.count == 1 + 6 * 7)
  }

  @Test(
    "every small model can be inspected, measured and quantized",
    arguments: ["gqa", "mha", "mqa", "tied", "biases", "float16", "bfloat16", "head-dim", "sharded"])
  func fixtures(name: String) throws {
    let model = TestData.fixture("model/" + name)
    expectNumbers("bits_per_weight", "file_bytes", in: try Command.run("inspect", model, "--json").json())
    let bench = try Command.run(
      "bench", model, "--prompt", "8", "--generate", "2", "--repetitions", "1", "--json"
    ).json()
    expectNumbers("prefill_tokens_per_second", "decode_tokens_per_second", in: bench)
    let scratch = try Scratch()
    let out = scratch.path("out")
    let done = try Command.run("quantize", model, out, "--bits", "8", "--group-size", "32", "--json").json()
    expectNumbers("bits_per_weight", "file_bytes", in: done)
    let after = try Command.run("inspect", out, "--json").json()
    #expect(after["bits_per_weight"] as? Double == done["bits_per_weight"] as? Double)
  }

  @Test func tokenizeTellsTheIds() throws {
    let object = try Command.run("tokenize", Sample.model, "--text", "It was the best", "--json").json()
    let ids = try #require(object["ids"] as? [Int])
    #expect(ids.first == 1 && ids.count > 3)
    #expect(object["count"] as? Int == ids.count)
    let plain = try Command.run(
      "tokenize", Sample.model, "--text", "It was the best", "--ids", "--no-special")
    #expect(plain.output == ids.dropFirst().map(String.init).joined(separator: " ") + "\n")
    let scratch = try Scratch()
    let file = try scratch.write("It was the best", to: "text")
    let read = try Command.run("tokenize", Sample.model + "/tokenizer.model", "--file", file, "--json").json()
    #expect(read["ids"] as? [Int] == ids)
  }

  @Test func runContinues() throws {
    let arguments = ["run", Sample.model, "--prompt", "It was", "--max-tokens", "12", "--seed", "3"]
    let object = try Command.run(arguments + ["--json"]).json()
    let text = try #require(object["text"] as? String)
    #expect(!text.hasPrefix("It was") && !text.isEmpty)
    #expect((object["ids"] as? [Int])?.count ?? 99 <= 12)
    expectNumbers("decode_tokens_per_second", in: object)
    let plain = try Command.run(arguments)
    #expect(plain.output == "It was" + text + "\n")
    let greedy = try (0..<2).map { seed in
      try Command.run(
        "run", Sample.model, "--prompt", "It was", "--max-tokens", "8", "--temperature", "0", "--seed",
        "\(seed)", "--json"
      ).json()["text"] as? String
    }
    #expect(greedy[0] == greedy[1])
    let nothing = try Command.run("run", Sample.model, "--prompt", "", "--max-tokens", "0", "--json").json()
    #expect(nothing["text"] as? String == "")
  }

  @Test("several prompts are continued together, each as it would be alone")
  func runContinuesTogether() throws {
    let options = ["--max-tokens", "10", "--temperature", "0", "--json"]
    let prompts = ["It was", "The king", "I"]
    let outcome = try Command.run(["run", Sample.model] + prompts.flatMap { ["--prompt", $0] } + options)
    let objects = try #require(
      try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [[String: Any]])
    let alone = try prompts.map { try Command.run(["run", Sample.model, "--prompt", $0] + options).json() }
    #expect(objects.map { $0["text"] as? String } == alone.map { $0["text"] as? String })
    #expect(objects.map { $0["prompt"] as? String } == prompts)
    let plain = try Command.run(
      ["run", Sample.model] + prompts.flatMap { ["--prompt", $0] } + options.dropLast())
    for (index, text) in objects.enumerated() {
      let whole = prompts[index] + (text["text"] as? String ?? "")
      #expect(plain.output.contains("==> text \(index + 1), 10 tokens, limit reached <==\n\(whole)\n"))
    }
  }

  @Test("a draft of few bits leaves a greedy text as it is", arguments: ["2", "4"])
  func runWithDraft(bits: String) throws {
    let scratch = try Scratch(), draft = scratch.path("draft")
    #expect(try Command.run("quantize", Sample.model, draft, "--bits", bits).status == 0)
    let arguments = ["run", Sample.model, "--prompt", "It was", "--max-tokens", "64", "--temperature", "0"]
    let plain = try Command.run(arguments + ["--json"]).json()
    let drafted = try Command.run(arguments + ["--draft", draft, "--json"]).json()
    #expect(plain["ids"] as? [Int] == drafted["ids"] as? [Int])
    let share = try #require(drafted["draft_acceptance"] as? Double)
    #expect(share > (bits == "4" ? 0.7 : 0.1) && share <= 1)
    let told = try Command.run(arguments + ["--draft", draft, "--draft-tokens", "6"])
    #expect(told.errors.contains("% of the draft accepted"))
  }

  @Test("keys and values may be held in fewer bits", arguments: ["f32", "f16", "int8", "int4"])
  func cacheTypes(type: String) throws {
    let run = try Command.run(
      "run", Sample.model, "--prompt", "It was", "--max-tokens", "8", "--cache-type", type, "--json"
    ).json()
    #expect((run["ids"] as? [Int])?.count == 8)
    let measured = try Sample.evaluate(Sample.model, "--reference", Sample.model, "--cache-type", type)
    let allowed: [String: Double] = ["f32": 1e-6, "f16": 1e-6, "int8": 1e-3, "int4": 0.05]
    let found = try #require(measured["kl_mean"] as? Double)
    #expect(abs(found) <= allowed[type, default: 0])
  }

  @Test func evalMeasures() throws {
    let object = try Sample.evaluate(Sample.model, "--reference", Sample.model)
    expectNumbers("perplexity", "nll", "tokens", "bits_per_weight", "file_bytes", in: object)
    let (nll, perplexity) = (object["nll"] as? Double ?? 0, object["perplexity"] as? Double ?? 0)
    #expect(abs(exp(nll) - perplexity) < 1e-9 * perplexity)
    #expect(object["protocol"] as? String == "text-256-bos-first")
    #expect(object["tokens"] as? Int == 4 * 255)
    #expect(abs(object["kl_mean"] as? Double ?? 1) < 1e-6)
    #expect(object["top1_agreement"] as? Double == 1)
    for rule in ["every", "none"] {
      let other = try Sample.evaluate(Sample.model, "--bos", rule)
      #expect(other["protocol"] as? String == "text-256-bos-\(rule)")
    }
  }

  @Test func benchMeasures() throws {
    let object = try Command.run(
      "bench", Sample.model, "--prompt", "32", "--generate", "4", "--repetitions", "2", "--json"
    ).json()
    expectNumbers(
      "prefill_tokens_per_second", "decode_tokens_per_second", "file_bytes", "stream_gigabytes_per_second",
      "stream_share", "threads", "first_token_seconds", "peak_memory_bytes", "memory_bytes", "weights",
      "weights_without_tiles", in: object)
    #expect(object["kernel"] as? String != nil && object["processor"] as? String != nil)
    #expect(object["prompt"] as? Int == 32 && object["generated"] as? Int == 4)
  }

  @Test("a sweep has a row for each test, alike in CSV and JSON lines")
  func benchSweeps() throws {
    let arguments = ["bench", Sample.model, "-p", "4-16*2", "-n", "2", "-d", "0,3", "-t", "1", "-r", "1"]
    let csv = try Command.run(arguments + ["-o", "csv"]).output.split(separator: "\n")
    #expect(csv.count == 1 + 2 * 4)
    let lines = try Command.run(arguments + ["-o", "jsonl"]).output.split(separator: "\n")
    #expect(lines.count == 2 * 4)
    let heading = Set(csv[0].split(separator: ",").map(String.init))
    for line in lines {
      let row = try #require(
        try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      #expect(
        Set(row.keys).isSubset(of: heading) && heading.subtracting(row.keys).isSubset(of: ["stream_share"]))
      expectNumbers("tokens_per_second", "median", "stream_gigabytes_per_second", in: row)
    }
  }

  @Test func planForetells() throws {
    let object = try Command.run("plan", "llama-3-8b", "--device", "a100", "--json").json()
    let rows = try #require(object["rows"] as? [[String: Any]])
    #expect(rows.count == 9)
    for row in rows {
      expectNumbers("weight_bytes", "decode_tokens_per_second", "prefill_tokens_per_second", in: row)
    }
    let own = try Command.run("plan", Sample.model + "/config.json", "--device", "this", "--json").json()
    let device = try #require((own["devices"] as? [[String: Any]])?.first)
    expectNumbers(
      "bytes_per_second", "memory_bytes", "half_operations_per_second", "integer_operations_per_second",
      in: device)
  }

  @Test func synthesizeWritesModels() throws {
    let scratch = try Scratch()
    let arguments = ["synthesize", Sample.model, scratch.path("out"), "--bits", "3", "--json"]
    expectNumbers("file_bytes", "bits_per_weight", "parameters", in: try Command.run(arguments).json())
    #expect(try Command.run(arguments).status == 73)
    #expect(try Command.run(arguments + ["--force"]).status == 0)
    let file = scratch.path("out.gguf")
    let gguf = try Command.run(
      "synthesize", Sample.model, file, "--format", "gguf", "--type", "tq2_0", "--json"
    ).json()
    expectNumbers("file_bytes", in: gguf)
    #expect(try Command.run("inspect", file).status == 0)
    #expect(scratch.names == ["out", "out.gguf"])
  }

  @Test func quantizeTells() throws {
    let scratch = try Scratch()
    let object = try Command.run("quantize", Sample.model, scratch.path("out"), "--bits", "3", "--json")
      .json()
    expectNumbers("bits_per_weight", "file_bytes", in: object)
    #expect(scratch.names == ["out"])
  }

  @Test(
    "lines fit a terminal of 80 columns",
    arguments: [
      [], ["--help"], ["inspect", "--help"], ["tokenize", "--help"], ["run", "--help"],
      ["quantize", "--help"], ["eval", "--help"], ["bench", "--help"], ["eval"], ["run"], ["tokenize"],
      ["plan", "--help"], ["synthesize", "--help"], ["plan"], ["synthesize"],
      ["plan", "llama-3-8b", "--context", "8192", "--batch", "16"],
      ["bench", "Models/novella-6m", "-p", "8", "-n", "2", "-r", "1", "--roofline"],
      ["bench"], ["quantize"], ["inspect"], ["inspect", "Models/novella-6m"],
      ["bench", "Models/novella-6m", "--prompt", "8", "--generate", "2", "--repetitions", "1"],
      ["quantize", "Models/novella-6m", "unwritten", "--dry-run"],
      ["quantize", "Models/novella-6m", "unwritten", "--dry-run", "--format", "gguf", "--bits", "8"],
    ])
  func width(arguments: [String]) throws {
    let widest = try Command.run(arguments, folder: TestData.packageFolder).widest
    #expect(widest.count <= 80, "\(widest)")
  }

  @Test("lines of results fit too")
  func widthOfResults() throws {
    let scratch = try Scratch()
    _ = try scratch.copy(try Sample.text(), to: "text")
    _ = try scratch.copy(Sample.model, to: "model")
    let commands = [
      [
        "quantize", "model", "out", "--method", "gptq", "--calibration", "text", "--samples", "4",
        "--length", "64", "--bits", "3",
      ],
      ["inspect", "out"],
      ["eval", "out", "--text", "text", "--window", "128", "--limit", "2", "--reference", "model"],
      ["eval", "out", "--text", "text", "--window", "600", "--limit", "1"],
    ]
    for command in commands {
      let outcome = try Command.run(command, folder: scratch.folder)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(outcome.widest.count <= 80, "\(outcome.widest)")
    }
  }
}
