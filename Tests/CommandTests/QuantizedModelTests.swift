import Foundation
import LatheTestSupport
import Testing

/// Models that `quantize` wrote are models: as large as foretold, and about as good as their bits allow.
@Suite struct QuantizedModelTests {
  /// Quantizes, checks the sizes that were foretold, and returns the perplexity.
  @discardableResult
  private func quantize(
    _ model: String = Sample.model, to out: String, _ options: [String], evaluating: Bool = true
  ) throws -> Double {
    let command = ["quantize", model, out, "--json"] + options
    let foretold = try Command.run(command + ["--dry-run"]).json()
    #expect(!FileManager.default.fileExists(atPath: out))
    let done = try Command.run(command).json()
    let (expected, bits) = (foretold["bits_per_weight"] as? Double, done["bits_per_weight"] as? Double)
    #expect(abs((expected ?? 0) - (bits ?? 99)) < 1e-9, "\(options): \(String(describing: expected))")
    #expect(foretold["weight_bytes"] as? Int == done["weight_bytes"] as? Int)
    #expect((done["file_bytes"] as? Int ?? 0) > (done["weight_bytes"] as? Int ?? .max))
    guard evaluating else { return 0 }
    let result = try Sample.evaluate(out)
    #expect(result["bits_per_weight"] as? Double == bits)
    #expect(result["file_bytes"] as? Int == done["file_bytes"] as? Int)
    return try #require(result["perplexity"] as? Double, "\(options)")
  }

  @Test("fewer bits never help", arguments: [[], ["--symmetric"]])
  func bits(symmetry: [String]) throws {
    let scratch = try Scratch()
    let baseline = try Sample.baseline.get()
    var last = baseline
    for bits in (1...8).reversed() {
      let found = try quantize(to: scratch.path("\(bits)"), ["--bits", "\(bits)"] + symmetry)
      if bits == 8 { #expect(abs(found - baseline) < 0.001 * baseline, "\(found), not \(baseline)") }
      // Near the original, chance decides within a fraction of a percent; far from it, all is noise.
      if bits >= 3 { #expect(found > 0.995 * last, "\(bits) bits: \(found) after \(last)") }
      if bits == 1 { #expect(found > 2 * baseline, "\(bits) bits: \(found)") }
      if bits >= 4 { #expect(found < 1.25 * baseline, "\(bits) bits: \(found)") }
      last = found
    }
    let run = try Command.run("run", scratch.path("4"), "--prompt", "It was", "--max-tokens", "6", "--json")
      .json()
    #expect((run["text"] as? String)?.isEmpty == false)
    let inspect = try Command.run("inspect", scratch.path("4"), "--json").json()
    let tensors = try #require(inspect["tensors"] as? [[String: Any]])
    #expect(tensors[1]["encoding"] as? String == (symmetry.isEmpty ? "int4 g128" : "int4s g128"))
  }

  @Test("any group size", arguments: [0, 32, 64, 256, 1000, 96])
  func groups(size: Int) throws {
    let scratch = try Scratch()
    let found = try quantize(to: scratch.path("out"), ["--bits", "4", "--group-size", "\(size)"])
    #expect(found < 1.3 * (try Sample.baseline.get()), "\(found)")
  }

  @Test("ternary codes", arguments: [0, 64]) func ternary(group: Int) throws {
    let scratch = try Scratch()
    let found = try quantize(to: scratch.path("out"), ["--bits", "1.58", "--group-size", "\(group)"])
    #expect(found > 2 * (try Sample.baseline.get()))
  }

  @Test(
    "act-order, with and without static groups",
    arguments: [
      ["actOrder=false"], ["actOrder=true"], ["actOrder=true", "staticGroups=false"],
      ["actOrder=true", "clip=true"],
    ])
  func gptq(options: [String]) throws {
    let scratch = try Scratch()
    let found = try quantize(
      to: scratch.path("out"),
      ["--method", "gptq", "--bits", "3", "--group-size", "64", "--calibration", try Sample.text()]
        + ["--samples", "6", "--length", "128"] + options.flatMap { ["--set", $0] })
    // Calibrated on the very text, three bits cost little.
    #expect(found < 1.3 * (try Sample.baseline.get()), "\(found)")
  }

  @Test(
    "GGUF blocks",
    arguments: [("4", false), ("4", true), ("5", false), ("5", true), ("8", false), ("8", true)])
  func gguf(bits: String, symmetric: Bool) throws {
    let scratch = try Scratch()
    let out = scratch.path("out.gguf")
    let found = try quantize(
      to: out, ["--format", "gguf", "--bits", bits] + (symmetric ? ["--symmetric"] : []))
    let baseline = try Sample.baseline.get()
    #expect(abs(found - baseline) < (bits == "8" ? 0.001 : 0.15) * baseline, "\(found), not \(baseline)")
    let run = try Command.run("run", out, "--prompt", "It was", "--max-tokens", "6", "--json").json()
    #expect((run["text"] as? String)?.isEmpty == false)
  }

  @Test("from a GGUF to both formats, and on from there")
  func fromGGUF() throws {
    let scratch = try Scratch()
    let source = scratch.path("a.gguf")
    let first = try quantize(to: source, ["--format", "gguf", "--bits", "8"])
    let native = try quantize(source, to: scratch.path("native"), ["--bits", "8", "--group-size", "64"])
    let again = try quantize(source, to: scratch.path("b.gguf"), ["--format", "gguf", "--bits", "8"])
    let onward = try quantize(scratch.path("native"), to: scratch.path("on"), ["--bits", "8"])
    for found in [native, again, onward] {
      #expect(abs(found - first) < 0.002 * first, "\(found), not \(first)")
    }
  }

  @Test("from a llama2.c checkpoint to both formats")
  func fromBin() throws {
    let scratch = try Scratch()
    let source = try scratch.write(try Llama2CFile.make(from: Sample.model), to: "a.bin")
    _ = try scratch.copy(Sample.model + "/tokenizer.model", to: "tokenizer.model")
    let baseline = try Sample.baseline.get()
    #expect(abs(try Sample.perplexity(source) - baseline) < 1e-4 * baseline)
    let native = try quantize(source, to: scratch.path("native"), ["--bits", "8"])
    let gguf = try quantize(source, to: scratch.path("a.gguf"), ["--bits", "8", "--format", "gguf"])
    for found in [native, gguf] {
      #expect(abs(found - baseline) < 0.001 * baseline, "\(found), not \(baseline)")
    }
    let ids = try [Sample.model, source, scratch.path("native"), scratch.path("a.gguf")].map {
      try Command.run("tokenize", $0, "--file", try Sample.text(), "--ids").output
    }
    #expect(Set(ids).count == 1)
  }

  @Test(
    "a trained llama2.c checkpoint", .enabled(if: TestData.isPresent, "no data: set LATHE_DATA"))
  func stories() throws {
    let scratch = try Scratch()
    let text = try scratch.write(
      String(
        repeating: "Once upon a time, there was a little girl named Lily. She liked to play.\n", count: 20),
      to: "text")
    let folder = scratch.path("stories")
    _ = try scratch.copy(try TestData.path("models/stories260K"), to: "stories")
    func perplexity(_ model: String) throws -> Double {
      let result = try Command.run(
        "eval", model, "--text", text, "--window", "128", "--limit", "4", "--json", folder: folder)
      return try #require(try result.json()["perplexity"] as? Double)
    }
    let baseline = try perplexity("stories260K.bin")
    let done = try Command.run(
      "quantize", "stories260K.bin", scratch.path("out"), "--bits", "8", "--json", folder: folder)
    _ = try done.json()
    let found = try perplexity(scratch.path("out"))
    #expect(abs(found - baseline) < 0.005 * baseline, "\(found), not \(baseline)")
    // Rows of 172 weights are no whole blocks: those stay as they are, which is told.
    let blocks = try Command.run(
      "quantize", "stories260K.bin", scratch.path("blocks.gguf"), "--bits", "8", "--format", "gguf",
      folder: folder)
    #expect(blocks.status == 0 && blocks.errors.contains("172 columns"), "\(blocks)")
    #expect(abs(try perplexity(scratch.path("blocks.gguf")) - baseline) < 0.005 * baseline)
    #expect(scratch.names == ["blocks.gguf", "out", "stories", "text"])
    for text in ["Once upon a time, Tom's \"dog\" ran.", "naïve 東京 🙂\n\n\tend"] {
      let ids = try ["stories260K.bin", scratch.path("out"), "tok512.model", "tok512.bin"].map {
        try Command.run("tokenize", $0, "--text", text, "--ids", folder: folder).output
      }
      #expect(Set(ids).count == 1 && !ids[0].isEmpty, "\(ids)")
    }
  }

  @Test("a model converts to floats in GGUF without loss", arguments: [16, 32])
  func floats(bits: Int) throws {
    let scratch = try Scratch()
    let out = scratch.path("floats.gguf")
    let done = try Command.run(
      "quantize", Sample.model, out, "--bits", "\(bits)", "--format", "gguf", "--json"
    ).json()
    #expect(done["bits_per_block_weight"] as? Double == Double(bits))
    let text = try scratch.write(String(repeating: "It was the best of times. ", count: 60), to: "text")
    let found = try [Sample.model, out].map {
      try Command.run("eval", $0, "--text", text, "--window", "64", "--limit", "3", "--json").json()["nll"]
        as? Double ?? 0
    }
    #expect(abs(found[0] - found[1]) < 1e-5)
    // A tokenizer of more tokens than the model has is another model's.
    let other = try Command.run(
      "quantize", TestData.fixture("model/mha"), scratch.path("other.gguf"), "--bits", "\(bits)", "--format",
      "gguf", "--tokenizer", Sample.model + "/tokenizer.model")
    #expect(other.status == 64 && other.sentence.contains("4096"), "\(other)")
    #expect(scratch.names == ["floats.gguf", "text"])
  }

  @Test("every form of a model has one tokenization")
  func tokenization() throws {
    let scratch = try Scratch()
    let paths = [
      Sample.model, Sample.model + "/tokenizer.model", scratch.path("out.gguf"), scratch.path("native"),
      scratch.path("from-gguf"),
    ]
    _ = try Command.run("quantize", paths[0], paths[2], "--format", "gguf", "--bits", "8", "--json").json()
    _ = try Command.run("quantize", paths[0], paths[3], "--bits", "4", "--json").json()
    _ = try Command.run("quantize", paths[2], paths[4], "--bits", "4", "--json").json()
    let book = try String(contentsOfFile: try Sample.text(), encoding: .utf8)
    for (index, text) in [book, "  two  spaces ", "naïve 東京 🙂\n\n\tend\u{0}", "<s>It</s>", "ﬁ\u{301}"]
      .enumerated()
    {
      let file = try scratch.write(text, to: "text-\(index)")
      for special in [[], ["--no-special"]] {
        let ids = try paths.map {
          try Command.run(["tokenize", $0, "--file", file, "--ids"] + special).output
        }
        #expect(Set(ids).count == 1 && ids[0].count > 2, "text \(index): \(ids.map { $0.prefix(60) })")
      }
    }
  }

  @Test("a tokenizer given apart takes the place of the model's")
  func otherTokenizer() throws {
    let scratch = try Scratch()
    let other = try scratch.copy(Sample.model + "/tokenizer.json", to: "other.json")
    for tokenizer in [other, Sample.model] {
      let out = scratch.path("out-" + (tokenizer as NSString).lastPathComponent)
      _ = try Command.run("quantize", Sample.model, out, "--tokenizer", tokenizer, "--json").json()
      let ids = try [["tokenize", Sample.model, "--tokenizer", tokenizer], ["tokenize", out]].map {
        try Command.run($0 + ["--text", "  two  spaces", "--ids"]).output
      }
      #expect(ids[0] == ids[1])
    }
  }
}
