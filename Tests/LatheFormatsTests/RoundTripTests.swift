import Foundation
import LatheFormats
import LatheTensor
import LatheTestSupport
import Testing

struct RoundTripTests {
  @Test func everyFormatHasASample() { #expect(Sample.all.count == FormatCatalog.all.count) }

  @Test(arguments: Sample.all) func theCatalogRecognises(_ sample: Sample) throws {
    let scratch = try Scratch()
    let path = try scratch.write(sample.bytes, to: sample.fileName)
    #expect(try FormatCatalog.format(of: path) == sample.format)
    let checkpoint = try Checkpoint(reading: path)
    #expect(checkpoint.format == sample.format.name)
    #expect(!checkpoint.tensors.isEmpty)
    #expect(checkpoint.files == [path])
  }

  @Test(arguments: Sample.all) func whatIsWrittenIsRead(_ sample: Sample) throws {
    guard let format = sample.format as? any WritableFormat.Type else { return }
    let scratch = try Scratch()
    let first = try sample.format.read(scratch.write(sample.bytes, to: "first"))
    let tensors = try Sample.tensors(for: sample.format)
    #expect(first.tensors.map(\.name) == tensors.map(\.name))
    for (read, written) in zip(first.tensors, tensors) {
      #expect(read.type == written.type)
      #expect(read.shape == written.shape)
      #expect(read.data == written.data, "\(read.name)")
    }
    let expected = format.name == "GGUF" ? Sample.values : Sample.texts
    #expect(first.metadataKeys == expected.map(\.key))
    for (key, value) in expected { #expect(first.metadata[key] == value, "\(key)") }
    // Written again from what was read, the bytes are the same.
    try format.write(
      first.tensors.map { TensorSource($0) }, metadata: first.orderedMetadata, to: scratch.file("second"))
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: scratch.file("second")))) == sample.bytes)
  }

  @Test func shardsAreReadThroughTheirIndexAndTheirFolder() throws {
    let scratch = try Scratch()
    let tensors = try Sample.tensors(for: Safetensors.self)
    let names = try Safetensors.writeShards(
      tensors.map { TensorSource($0) }, maximumBytes: 100, to: scratch.path)
    #expect(names.count > 3)
    #expect(names.last == "model.safetensors.index.json")
    for path in [scratch.path, scratch.file("model.safetensors.index.json")] {
      let checkpoint = try Checkpoint(reading: path)
      #expect(checkpoint.files.count == names.count - 1)
      #expect(checkpoint.tensors.map(\.name) == tensors.map(\.name))
      for tensor in tensors { #expect(checkpoint[tensor.name]?.data == tensor.data) }
      #expect(checkpoint.totalBytes == tensors.reduce(0) { $0 + $1.data.count })
    }
    try FileManager.default.removeItem(atPath: scratch.file(names[1]))
    #expect(throws: Problem.self) { try Checkpoint(reading: scratch.path) }
  }

  @Test func smallModelsGetOneFile() throws {
    let scratch = try Scratch()
    let tensors = try Sample.tensors(for: Safetensors.self).map { TensorSource($0) }
    #expect(try Safetensors.writeShards(tensors, to: scratch.path) == ["model.safetensors"])
    #expect(try Checkpoint(reading: scratch.path).tensors.count == tensors.count)
  }

  @Test func splitGGUFIsJoined() throws {
    let scratch = try Scratch()
    let tensors = try Sample.tensors(for: GGUF.self)
    for part in 0..<3 {
      var metadata: [(key: String, value: MetadataValue)] = [
        ("split.no", .uint16(UInt16(part))), ("split.count", .uint16(3)),
        ("split.tensors.count", .int32(Int32(tensors.count))),
      ]
      if part == 0 { metadata.insert(("general.name", .string("x")), at: 0) }
      let mine = tensors.enumerated().filter { $0.offset * 3 / tensors.count == part }.map {
        TensorSource($0.element)
      }
      try GGUF.write(mine, metadata: metadata, to: scratch.file("m-0000\(part + 1)-of-00003.gguf"))
    }
    for path in [scratch.path, scratch.file("m-00002-of-00003.gguf")] {
      let checkpoint = try Checkpoint(reading: path)
      #expect(checkpoint.tensors.map(\.name) == tensors.map(\.name))
      #expect(checkpoint.metadataKeys == ["general.name"])
    }
    try FileManager.default.removeItem(atPath: scratch.file("m-00003-of-00003.gguf"))
    let problem = #expect(throws: Problem.self) { try Checkpoint(reading: scratch.path) }
    #expect(problem?.kind == .noInput)
  }

  @Test(arguments: [true, false], [true, false]) func llama2cTensorsLieWhereTheyShould(
    tied: Bool, legacy: Bool
  ) throws {
    let scratch = try Scratch()
    let bytes = legacy ? LlamaBytes.legacy(tied: tied) : LlamaBytes.versioned(tied: tied)
    let checkpoint = try Checkpoint(reading: scratch.write(bytes, to: "model.bin"))
    func first(_ name: String) throws -> Float {
      try checkpoint.tensor(name).data.load(at: 0, as: Float.self)
    }
    #expect(try first("model.embed_tokens.weight") == (legacy ? 0 : 40))
    #expect(try first("model.layers.1.input_layernorm.weight") == (legacy ? 88 : 8))
    #expect(try first("model.layers.1.self_attn.q_proj.weight") == (legacy ? 96 + 64 : 120 + 64))
    #expect(try first("model.layers.1.self_attn.k_proj.weight") == (legacy ? 224 + 32 : 248 + 32))
    #expect(try first("model.layers.0.self_attn.o_proj.weight") == (legacy ? 352 : 376))
    #expect(try first("model.layers.0.mlp.gate_proj.weight") == (legacy ? 496 : 504))
    #expect(try first("model.layers.0.mlp.down_proj.weight") == (legacy ? 688 : 696))
    #expect(try first("model.layers.1.mlp.up_proj.weight") == (legacy ? 880 + 96 : 888 + 96))
    #expect(try first("model.norm.weight") == (legacy ? 1072 : 32))
    #expect(
      checkpoint["lm_head.weight"].map { $0.data.load(at: 0, as: Float.self) }
        == (tied ? nil : legacy ? 1104 : 1080))
    #expect(try checkpoint.tensor("model.layers.0.self_attn.k_proj.weight").shape == [4, 8])
    #expect(try checkpoint.tensor("model.layers.0.mlp.down_proj.weight").shape == [8, 12])
    #expect(checkpoint.metadata["llama2c.n_kv_heads"]?.integer == 1)
    #expect(checkpoint.metadata["llama2c.tied"]?.flag == tied)
  }

  @Test func fourGigabytesOpenAtOnce() throws {
    let scratch = try Scratch()
    let header = "{\"w\":{\"dtype\":\"F16\",\"shape\":[1048576,2048],\"data_offsets\":[0,4294967296]}}"
    let path = try scratch.write(header.safetensors(), to: "sparse.safetensors")
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.truncate(atOffset: UInt64(8 + header.utf8.count) + 4_294_967_296)
    try file.close()
    let start = ProcessorTime.now
    let checkpoint = try Checkpoint(reading: path)
    #expect(ProcessorTime.now - start < .milliseconds(200))
    #expect(checkpoint.totalBytes == 4_294_967_296)
    #expect(checkpoint["w"]?.data[4_294_967_295] == 0)
  }

  @Test func offsetsBeyondFourGigabytesAreFine() throws {
    let scratch = try Scratch()
    let far: UInt64 = 5 << 30
    var header = Array("GGUF".utf8) + UInt32(3).bytes + UInt64(2).bytes + UInt64(0).bytes
    header +=
      "a".gguf + UInt32(2).bytes + Int64(40960).bytes + Int64(32768).bytes + UInt32(0).bytes + UInt64(0).bytes
    header += "b".gguf + UInt32(1).bytes + Int64(2).bytes + UInt32(0).bytes + far.bytes
    header += [UInt8](repeating: 0, count: 128 - header.count)
    let path = try scratch.write(header, to: "sparse.gguf")
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.seek(toOffset: 128 + far)
    try file.write(contentsOf: Data(Float(1).bitPattern.bytes + Float(2).bitPattern.bytes))
    try file.close()
    let start = ProcessorTime.now
    let checkpoint = try Checkpoint(reading: path)
    #expect(ProcessorTime.now - start < .milliseconds(200))
    #expect(checkpoint["a"]?.shape == [32768, 40960])
    #expect(checkpoint["a"]?.data.count == Int(far))
    #expect(checkpoint["b"]?.data.elements(as: Float.self) == [1, 2])
  }

  @Test func writersRefuseWhatTheyCannotHold() throws {
    let scratch = try Scratch()
    let weight = try StoredTensor(
      name: "w", type: .q4_0, shape: [1, 32], data: Bytes([UInt8](repeating: 0, count: 18)))
    let flags = try StoredTensor(name: "w", type: .bool, shape: [1], data: Bytes([1]))
    func sentence(_ body: () throws -> Void) -> String {
      do { try body() } catch { return "\(error)" }
      return "nothing was thrown"
    }
    #expect(
      sentence { try Safetensors.write([TensorSource(weight)], to: scratch.file("a")) }.contains(
        "no type Q4_0"))
    #expect(
      sentence { try GGUF.write([TensorSource(flags)], metadata: [], to: scratch.file("a")) }.contains(
        "no type BOOL"))
    #expect(
      sentence { try Safetensors.write([TensorSource(flags), TensorSource(flags)], to: scratch.file("a")) }
        .contains("\"w\" occurs twice"))
    let short = TensorSource(name: "w", type: .f32, shape: [3]) { () throws(Problem) in Bytes([1, 2]) }
    #expect(
      sentence { try Safetensors.write([short], to: scratch.file("a")) }.contains("takes 12 bytes; 2 came"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
  }
}
