import Foundation
import LatheTensor
import Testing

@Suite struct ProcessorTests {
  /// What Linux would say of a machine, and the threads that serve it.
  struct Machine: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var allowed: String
    /// Each processor's siblings.
    var siblings: [String] = []
    var group = "0::/"
    /// What control groups allow.
    var limits: [String: String] = [:]
    var threads: Int?
  }

  static let machines = [
    Machine(testDescription: "two cores", allowed: "0-1", siblings: ["0", "1"], threads: 2),
    Machine(
      testDescription: "four cores of two threads", allowed: "0-7",
      siblings: (0..<8).map { "\($0 % 4),\($0 % 4 + 4)" }, threads: 4),
    Machine(
      testDescription: "neighbours are one core", allowed: "0-3", siblings: ["0-1", "0-1", "2-3", "2-3"],
      threads: 2),
    Machine(
      testDescription: "bound to both threads of a core and to one of another", allowed: "1,5,6",
      siblings: (0..<8).map { "\($0 % 4),\($0 % 4 + 4)" }, threads: 2),
    Machine(testDescription: "no topology", allowed: "0,2-3", threads: 3),
    Machine(
      testDescription: "a container's time", allowed: "0-15", limits: ["/": "250000 100000"], threads: 3),
    Machine(testDescription: "no limit", allowed: "0-3", limits: ["/": "max 100000"], threads: 4),
    Machine(
      testDescription: "less than a processor", allowed: "0-3", limits: ["/": "5000 100000"], threads: 1),
    Machine(
      testDescription: "the narrowest group binds", allowed: "0-15", group: "0::/a/b",
      limits: ["/a": "200000 100000", "/a/b": "800000 100000"], threads: 2),
    Machine(
      testDescription: "a limit that is none", allowed: "0-3", limits: ["/": "0 100000"], threads: 4),
    Machine(testDescription: "groups of the first kind", allowed: "0-3", group: "4:cpu:/a", threads: 4),
    Machine(testDescription: "no list", allowed: "none", threads: nil),
    Machine(testDescription: "a list that runs backwards", allowed: "3-0", threads: nil),
    Machine(testDescription: "a list without end", allowed: "0-99999999999", threads: nil),
    Machine(testDescription: "an empty list", allowed: "", threads: nil),
  ]

  @Test("a thread for each core that may be used", arguments: machines)
  func cores(machine: Machine) throws {
    let root = NSTemporaryDirectory() + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: root) }
    func write(_ text: String, _ path: String) throws {
      let url = URL(fileURLWithPath: root + path)
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try (text + "\n").write(to: url, atomically: true, encoding: .utf8)
    }
    try write("Name:\tlathe\nCpus_allowed:\tff\nCpus_allowed_list:\t\(machine.allowed)", "/proc/self/status")
    try write("9:name=systemd:/\n\(machine.group)", "/proc/self/cgroup")
    for (processor, list) in machine.siblings.enumerated() {
      try write(list, "/sys/devices/system/cpu/cpu\(processor)/topology/thread_siblings_list")
    }
    for (group, limit) in machine.limits { try write(limit, "/sys/fs/cgroup\(group)/cpu.max") }
    #expect(Processors.coresInUse(under: root) == machine.threads)
  }

  @Test("a machine that does not say is asked otherwise")
  func silence() {
    #expect(Processors.coresInUse(under: "/nowhere") == nil)
    #expect(ThreadTeam.hardwareCount >= 1)
  }
}
