import Foundation
import LatheTensor
import LatheTestSupport
import LatheText
import Testing

/// Which of a folder's files the tokenizer is read from, and what the files beside it add.
@Suite struct FolderTests {
  @Test func prefersTheModelFile() throws {
    let tokenizer = try Tokenizer.load(path: novella)
    #expect(tokenizer.summary == "SentencePiece BPE, 4096 ids")
    #expect(tokenizer.beginningOfSequence == 1)
    #expect(tokenizer.endOfSequence == [2])
    #expect(tokenizer.addsBeginningOfSequence)
  }

  @Test func keepsAddedTokensOfTheConfiguration() throws {
    let config = """
      {"bos_token": {"content": "<s>"}, "eos_token": "<|end|>", "add_bos_token": false, "added_tokens_decoder": {
      "4096": {"content": "<|user|>", "rstrip": true, "special": true}, "4097": {"content": "<|end|>", "special": true}}}
      """
    try withFolder(["tokenizer.model"], ["tokenizer_config.json": config]) { path in
      let tokenizer = try Tokenizer.load(path: path)
      #expect(tokenizer.vocabularySize == 4098)
      #expect(tokenizer.endOfSequence == [4097])
      #expect(!tokenizer.addsBeginningOfSequence)
      let ids = try tokenizer.encode("<|user|>  <|end|>")
      #expect(ids == [4096, 4097])
      #expect(tokenizer.decode(ids) == "")
      #expect(tokenizer.decode(ids, skippingSpecialTokens: false) == "<|user|><|end|>")
    }
  }

  @Test func prefersTheJSONThatKnowsMore() throws {
    let json = try Bytes(mapping: novella + "/tokenizer.json").text
    let marker = "\"added_tokens\": ["
    let more = json.replacingOccurrences(
      of: marker, with: marker + #"{"id": 4096, "content": "<|user|>", "special": true}, "#)
    #expect(more != json)
    try withFolder(["tokenizer.model"], ["tokenizer.json": more]) { path in
      let tokenizer = try Tokenizer.load(path: path)
      #expect(tokenizer.summary == "Hugging Face BPE, 4097 ids")
      #expect(try tokenizer.encode("<|user|>") == [1, 4096])
    }
    try withFolder(["tokenizer.model", "tokenizer.json"], [:]) { path in
      let tokenizer = try Tokenizer.load(path: path)
      #expect(tokenizer.summary == "SentencePiece BPE, 4096 ids")
    }
  }

  @Test func saysWhatIsMissing() throws {
    let missing = #expect(throws: Problem.self) { try Tokenizer.load(path: novella + "/nowhere") }
    #expect(missing?.kind == .noInput)
    try withFolder([], [:]) { path in
      let empty = #expect(throws: Problem.self) { try Tokenizer.load(path: path) }
      #expect(empty?.kind == .noInput)
    }
    try withFolder([], ["tokenizer.json": "", "tokenizer_config.json": "{"]) { path in
      #expect(throws: Problem.self) { try Tokenizer.load(path: path) }
      let unknown = #expect(throws: Problem.self) { try Tokenizer(Bytes([]), named: "thing") }
      #expect(unknown?.kind == .badData)
    }
  }

  /// Calls `body` with a new folder that has copies of the small model's `files` and the `texts`.
  private func withFolder(_ files: [String], _ texts: [String: String], _ body: (String) throws -> Void)
    throws
  {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for name in files {
      try FileManager.default.copyItem(
        at: URL(fileURLWithPath: novella + "/" + name), to: folder.appendingPathComponent(name))
    }
    for (name, text) in texts {
      try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8)
    }
    try body(folder.path)
  }
}
