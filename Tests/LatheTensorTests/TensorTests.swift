import Foundation
import LatheTensor
import Synchronization
import Testing

@Suite struct TensorTests {
  @Test("half precision survives a round trip, and rounds ties to even")
  func halves() {
    for bits in stride(from: UInt16(0), to: 0x7C00, by: 1) {
      #expect(HalfPrecision.bits(HalfPrecision.value(bits)) == bits)
      #expect(HalfPrecision.bits(-HalfPrecision.value(bits)) == bits | 0x8000)
    }
    #expect(HalfPrecision.bits(1 + 0x1p-11) == HalfPrecision.bits(1))
    #expect(HalfPrecision.bits(1 + 0x1.8p-10) == HalfPrecision.bits(1) + 2)
    #expect(HalfPrecision.bits(70000) == 0x7C00)
    #expect(HalfPrecision.value(HalfPrecision.bits(.nan)).isNaN)
    #expect(HalfPrecision.brainBits(1) == 0x3F80)
  }

  @Test("the factor of the inverse gives the inverse")
  func cholesky() throws {
    let n = 37
    let a = KernelTests.numbers(n * n)
    var h = Matrix(zeros: n, n)
    for i in 0..<n {
      for j in 0..<n { for k in 0..<n { h[i, j] += a[i * n + k] * a[j * n + k] } }
      h[i, i] += 1
    }
    let u = try #require(h.inverseCholesky(threads: 2))
    // H · Uᵀ · U is the identity.
    for i in 0..<n {
      for j in 0..<n {
        var sum = 0.0
        for k in 0..<n {
          var inverse = 0.0
          for l in 0..<n { inverse += Double(u[l, k]) * Double(u[l, j]) }
          sum += Double(h[i, k]) * inverse
        }
        #expect(abs(sum - (i == j ? 1 : 0)) < 1e-3)
      }
    }
    for i in 0..<n { for j in 0..<i { #expect(u[i, j] == 0) } }
  }

  @Test("a matrix that is not positive definite has no factor")
  func notPositive() {
    #expect(Matrix(rows: 2, columns: 2, values: [1, 2, 2, 1]).inverseCholesky() == nil)
  }

  @Test("a team runs every piece once, again and again, nested calls too", arguments: [1, 2, 5])
  func team(count: Int) {
    let team = ThreadTeam(count: count)
    for round in 0..<200 {
      let done = Mutex([Int](repeating: 0, count: 37))
      team.run(37) { piece in
        done.withLock { $0[piece] += 1 }
        if round % 50 == 0 { team.run(3) { _ in } }
      }
      #expect(done.withLock { $0.allSatisfy { $0 == 1 } })
    }
    let covered = Mutex(0)
    team.split(1001, grain: 16) { range in covered.withLock { $0 += range.count } }
    #expect(covered.withLock { $0 } == 1001)
  }

  @Test(
    "shares cover all once, whatever the threads and the grain, also where one thread is slow",
    arguments: [1, 2, 5])
  func shares(count: Int) {
    let team = ThreadTeam(count: count)
    for total in [0, 1, 2, 7, 64, 1001] {
      for grain in [1, 3, 500] {
        let done = Mutex([Int](repeating: 0, count: total))
        team.share(total, grain: grain) { range in
          if range.contains(0) { usleep(2000) }
          done.withLock { done in for index in range { done[index] += 1 } }
          team.share(3, grain: 1) { _ in }
        }
        #expect(done.withLock { $0.allSatisfy { $0 == 1 } })
      }
    }
  }

  @Test("a file appears whole or not at all")
  func atomicFile() throws {
    let path = NSTemporaryDirectory() + "lathe-atomic-\(UUID().uuidString)"
    do {
      let file = try AtomicFile(creating: path)
      try file.write("half")
    }
    #expect(!FileManager.default.fileExists(atPath: path))
    #expect(!FileManager.default.fileExists(atPath: path + ".tmp"))
    try AtomicFile.write("whole", to: path)
    #expect(try Bytes(mapping: path).text == "whole")
    try FileManager.default.removeItem(atPath: path)
    #expect(throws: Problem.self) { try AtomicFile(creating: "/nowhere/at/all") }
  }

  @Test(
    "a full disk is a sentence, and leaves nothing under the final name",
    .enabled(if: FileManager.default.fileExists(atPath: "/dev/full")))
  func fullDisk() throws {
    // Writing to /dev/full fails as a full disk does; a link puts it where the temporary file would be.
    let path = NSTemporaryDirectory() + "lathe-full-\(UUID().uuidString)"
    try FileManager.default.createSymbolicLink(atPath: path + ".tmp", withDestinationPath: "/dev/full")
    let file = try AtomicFile(creating: path)
    let problem = #expect(throws: Problem.self) {
      try file.write(Bytes([UInt8](repeating: 1, count: 1 << 20)))
      try file.commit()
    }
    #expect(problem?.kind == .inputOutput)
    #expect(problem?.description.contains("free space") == true)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test("a missing file and a folder are told apart")
  func mapping() {
    #expect(throws: Problem(.noInput, "no such file", at: "/nowhere", cure: "check the path")) {
      try Bytes(mapping: "/nowhere")
    }
    #expect(throws: Problem.self) { try Bytes(mapping: "/") }
  }
}
