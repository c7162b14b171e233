import Benchmark
import LatheEncoding
import LatheModel
import LatheTensor

/// What each instruction set makes of each encoding: packed bytes decoded, and multiplied by a vector, on one thread.
///
/// The weight fits no cache of the second level: figures are near those of a model's weights.
func kernelBenchmarks() {
  let size = 4096
  for (name, encoding) in encodings() {
    guard let matrix = try? filled(encoding, rows: size, columns: size) else { continue }
    let amount = Double(matrix.byteCount) / 1e6
    let input = [Float](repeating: 0.5, count: size)
    for kernels in Kernels.available {
      let configuration = Benchmark.Configuration(
        metrics: [.wallClock, Rate.megabytes], warmupIterations: 3, maxDuration: .milliseconds(500))
      Benchmark("decode \(name) \(kernels.name)", configuration: configuration) { benchmark in
        var out = [Float](repeating: 0, count: size * size)
        out.withUnsafeMutableBufferPointer { out in
          guard let out = out.baseAddress else { return }
          benchmark.measure(Rate.megabytes, amount: amount) {
            matrix.encoding.decode(matrix, rows: 0..<size, into: out, with: kernels)
          }
        }
        blackHole(out)
      }
      Benchmark("dot \(name) \(kernels.name)", configuration: configuration) { benchmark in
        var out = [Float](repeating: 0, count: size)
        out.withUnsafeMutableBufferPointer { out in
          input.withUnsafeBufferPointer { x in
            guard let out = out.baseAddress, let x = x.baseAddress else { return }
            benchmark.measure(Rate.megabytes, amount: amount) {
              matrix.encoding.multiply(matrix, rows: 0..<size, by: x, into: out, with: kernels)
            }
          }
        }
        blackHole(out)
      }
    }
  }
}

/// The encodings a model's weights are most often in.
private func encodings() -> [(String, any Encoding)] {
  var all: [(String, any Encoding)] = []
  for bits in [2, 3, 4, 5, 8] {
    if let grid = try? IntegerGrid(bits: bits, groupSize: 128) { all.append(("int\(bits)-g128", grid)) }
  }
  if let grid = try? TernaryGrid(groupSize: 128) { all.append(("ternary-g128", grid)) }
  for name in ["F32", "F16", "BF16", "Q4_0", "Q8_0", "Q4_K", "Q6_K"] {
    if let stored = StoredBlocks(named: name) { all.append((name, stored)) }
  }
  return all
}

/// A matrix whose parts hold small numbers, whatever they mean.
private func filled(_ encoding: some Encoding, rows: Int, columns: Int) throws -> EncodedMatrix {
  var parts: [String: Bytes] = [:]
  for layout in try encoding.parts(rows: rows, columns: columns) {
    parts[layout.name] = Bytes(
      (0..<layout.byteCount).map { $0 % 2 == 0 ? UInt8(truncatingIfNeeded: $0 / 2 * 7) : 0x18 })
  }
  return try EncodedMatrix(encoding: encoding, rows: rows, columns: columns, parts: parts)
}
