import LatheTensor
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct LargeMemoryTests {
  @Test(
    "neighbors are zero, keep what is theirs, and begin on pages", arguments: [1, 4096, 100_001, 9 << 20])
  func neighbors(count: Int) throws {
    // More than a region holds of the larger ones.
    var all = try (0..<32).map { _ in try #require(LargeMemory(count, isNeighbor: true)) }
    for (i, memory) in all.enumerated() {
      #expect(Int(bitPattern: memory.base) % Int(getpagesize()) == 0)
      let bytes = UnsafeMutableRawBufferPointer(start: memory.base, count: count)
      #expect(bytes.allSatisfy { $0 == 0 })
      memset(memory.base, Int32(i + 1), count)
    }
    for i in stride(from: 30, through: 0, by: -3) { all.remove(at: i) }
    let marks = (0..<32).filter { $0 % 3 != 0 }.map { UInt8($0 + 1) }
    #expect(all.count == marks.count)
    for (memory, mark) in zip(all, marks) {
      let bytes = UnsafeMutableRawBufferPointer(start: memory.base, count: count)
      #expect(bytes.allSatisfy { $0 == mark })
    }
  }

  @Test("what is larger than a region has one") func large() throws {
    let count = (256 << 20) + 1
    let memory = try #require(LargeMemory(count, isNeighbor: true))
    memset(memory.base + count - 1, 1, 1)
    #expect(memory.base.load(as: UInt8.self) == 0)
  }

  #if canImport(Glibc)
  @Test("the system gets back what a neighbor leaves") func leaves() throws {
    let count = 4 << 20, page = Int(getpagesize())
    // Others may allocate at the same time: two that follow one another are found soon.
    for _ in 0..<100 {
      let first = try #require(LargeMemory(count, isNeighbor: true))
      var second = LargeMemory(count, isNeighbor: true)
      let base = try #require(second?.base)
      guard base == first.base + count else { continue }
      memset(first.base, 1, count)
      memset(base, 1, count)
      second = nil
      var resident = [UInt8](repeating: 1, count: count / page)
      #expect(mincore(base, count, &resident) == 0)
      #expect(resident.allSatisfy { $0 & 1 == 0 })
      #expect(mincore(first.base, count, &resident) == 0)
      #expect(resident.allSatisfy { $0 & 1 == 1 })
      return
    }
    Issue.record("no two neighbors were beside each other")
  }
  #endif
}
