import Foundation
import LatheFormats
import LatheTensor
import Testing

struct HostileSafetensorsTests {
  /// A header of one F32 tensor with these fields.
  private static func tensor(shape: String = "[2]", offsets: String = "[0,8]", dtype: String = "\"F32\"")
    -> String
  {
    "{\"w\":{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)}}"
  }

  private static func member(_ name: String, _ shape: Int, _ begin: Int, _ end: Int) -> String {
    "\"\(name)\":{\"dtype\":\"F32\",\"shape\":[\(shape)],\"data_offsets\":[\(begin),\(end)]}"
  }

  static let cases: [Hostile] = [
    Hostile("an empty file", [], "the file has 0 bytes"),
    Hostile("7 bytes", [UInt8](repeating: 1, count: 7), "the file has 7 bytes"),
    Hostile(
      "an endless header", UInt64.max.bytes + Array("{}".utf8), "the header claims 18446744073709551615 bytes"
    ),
    Hostile(
      "a header beyond the end", UInt64(64).bytes + Array("{}".utf8), "claims 64 bytes and the file has 10"),
    Hostile("a header of nothing", UInt64(0).bytes + [123], "does not start with {"),
    Hostile("a list", "[]".safetensors(), "does not start with {"),
    Hostile("an open brace", "{".safetensors(), "'\"' expected, and it ends"),
    Hostile("an open string", "{\"a".safetensors(), "a string does not end"),
    Hostile("two objects", "{}{}".safetensors(), "something follows the end"),
    Hostile("a trailing comma", "{\"__metadata__\":{},}".safetensors(), "'\"' expected, '}' found"),
    Hostile("metadata of numbers", "{\"__metadata__\":{\"a\":1}}".safetensors(), "'\"' expected, '1' found"),
    Hostile(
      "a name twice", "{\(member("w", 2, 0, 8)),\(member("w", 2, 8, 16))}".safetensors(data: 16),
      "the key \"w\" occurs twice"),
    Hostile("metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}".safetensors(), "occurs twice"),
    Hostile("an unknown dtype", tensor(dtype: "\"Q9\"").safetensors(data: 8), "unknown dtype \"Q9\""),
    Hostile("a dtype that is a number", tensor(dtype: "9").safetensors(data: 8), "'\"' expected, '9' found"),
    Hostile(
      "no dtype", "{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}".safetensors(data: 8), "lacks a dtype"),
    Hostile(
      "one offset", tensor(offsets: "[0]").safetensors(data: 8), "lacks a dtype, a shape or two data_offsets"),
    Hostile("three offsets", tensor(offsets: "[0,8,9]").safetensors(data: 8), "more than two numbers"),
    Hostile(
      "a negative dimension", tensor(shape: "[-2]").safetensors(data: 8),
      "-2 is not a whole, non-negative number"),
    Hostile(
      "a fraction", tensor(shape: "[2.0]").safetensors(data: 8), "2.0 is not a whole, non-negative number"),
    Hostile("an exponent", tensor(shape: "[2e0]").safetensors(data: 8), "2e0 is not a whole"),
    Hostile(
      "a huge dimension", tensor(shape: "[18446744073709551618]").safetensors(data: 8),
      "18446744073709551618 is too large"),
    Hostile("a number that starts with 0", tensor(shape: "[02]").safetensors(data: 8), "starts with 0"),
    Hostile(
      "a product that overflows", tensor(shape: "[4294967296,4294967296]").safetensors(data: 8),
      "impossible shape"),
    Hostile(
      "bytes that overflow", tensor(shape: "[4611686018427387904]").safetensors(data: 8), "impossible shape"),
    Hostile(
      "another size", tensor(shape: "[3]").safetensors(data: 8), "needs 12 bytes, its data_offsets span 8"),
    Hostile("backwards", tensor(offsets: "[8,0]").safetensors(data: 8), "ends at 0, before its start at 8"),
    Hostile("cut short", tensor().safetensors(data: 7), "ends at 8, and the file has 7 bytes of data"),
    Hostile(
      "an offset near 2^63",
      tensor(offsets: "[9223372036854775800,9223372036854775807]").safetensors(data: 8),
      "and the file has 8 bytes of data"),
    Hostile(
      "a hole", tensor(offsets: "[8,16]").safetensors(data: 16),
      "8 bytes before tensor \"w\" belong to no tensor"),
    Hostile("a tail", tensor().safetensors(data: 9), "1 bytes at the end of the file belong to no tensor"),
    Hostile(
      "overlap", "{\(member("a", 2, 0, 8)),\(member("b", 2, 4, 12))}".safetensors(data: 12), "\"b\" overlaps"),
    Hostile(
      "many dimensions", tensor(shape: "[" + String(repeating: "1,", count: 40) + "1]").safetensors(data: 8),
      "more than 32 dimensions"),
    Hostile(
      "deep nesting", ("{\"w\":{\"x\":" + String(repeating: "[", count: 100_000)).safetensors(),
      "nested more than 32 deep"),
    Hostile("bytes that are no UTF-8", UInt64(6).bytes + [123, 34, 0xFF, 34, 58, 125], "not UTF-8"),
    Hostile("half a surrogate pair", "{\"\\ud800\":{}}".safetensors(), "half a surrogate pair"),
    Hostile("an unknown escape", "{\"\\x\":{}}".safetensors(), "unknown escape"),
    Hostile("a control character", "{\"\u{1}\":{}}".safetensors(), "control character"),
  ]

  @Test(arguments: cases) func isRefused(_ hostile: Hostile) throws {
    try hostile.check(as: Safetensors.self)
  }

  @Test func spacesEscapesAndUnknownFieldsAreFine() throws {
    let scratch = try Scratch()
    let header = """
      {"\\u0077\\ud83e\\udd99" : { "shape":[ 1 ,2], "note": [null, true, false, {"x": -1.5e-3}, "\\n"],
        "data_offsets":[0,8],"dtype":"F32"}, "empty":{"dtype":"I8","shape":[0,3],"data_offsets":[8,8]}}
      """
    let checkpoint = try Safetensors.read(scratch.write((header + "   ").safetensors(data: 8), to: "x"))
    #expect(checkpoint.tensors.map(\.name) == ["w🦙", "empty"])
    #expect(checkpoint["empty"]?.data.count == 0)
  }

  static let indexes: [(String, String)] = [
    (
      "{\"weight_map\":{\"w\":\"../secret.safetensors\"}}",
      "not the name of a safetensors file beside the index"
    ),
    ("{\"weight_map\":{\"w\":\"/etc/passwd\"}}", "not the name of a safetensors file"),
    ("{\"weight_map\":{\"w\":7}}", "'\"' expected"),
    ("{\"metadata\":{}}", "has no weight_map"),
    (
      "{\"weight_map\":{\"other\":\"a.safetensors\"}}",
      "places tensor \"other\" in a.safetensors, which lacks it"
    ),
    ("{\"weight_map\":{\"w\":\"a.safetensors\",\"w\":\"a.safetensors\"}}", "occurs twice"),
    ("{\"weight_map\":{\"w\":\"a.safetensors\",\"v\":\"b.safetensors\"}}", "the tensor \"w\" occurs twice"),
  ]

  @Test(arguments: indexes) func indexIsRefused(_ json: String, _ sentence: String) throws {
    let scratch = try Scratch()
    let two = "{\(Self.member("w", 2, 0, 8)),\(Self.member("v", 2, 8, 16))}"
    _ = try scratch.write("{\(Self.member("w", 2, 0, 8))}".safetensors(data: 8), to: "a.safetensors")
    _ = try scratch.write(two.safetensors(data: 16), to: "b.safetensors")
    _ = try scratch.write(Array(json.utf8), to: "model.safetensors.index.json")
    let problem = #expect(throws: Problem.self) { try Checkpoint(reading: scratch.path) }
    #expect(problem?.kind == .badData)
    #expect(problem?.what.contains(sentence) == true, "\(problem?.description ?? "")")
  }
}
