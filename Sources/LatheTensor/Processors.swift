#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The processors that this program may use.
package enum Processors {
  /// The threads that serve arithmetic best: one for each core, since two threads of one core share its arithmetic; no more
  /// than the program may run at once.
  package static let count: Int = {
    #if canImport(Darwin)
    // The fast cores; where all are alike, there is no such number.
    return number("hw.perflevel0.physicalcpu") ?? number("hw.physicalcpu") ?? 1
    #else
    return coresInUse(under: "") ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    #endif
  }()

  #if canImport(Darwin)
  private static func number(_ name: String) -> Int? {
    var value: Int32 = 0, size = MemoryLayout<Int32>.size
    return sysctlbyname(name, &value, &size, nil, 0) == 0 && value > 0 ? Int(value) : nil
  }
  #endif

  /// What Linux says: the cores of the processors the program is bound to, and at most the time its control groups give it,
  /// in processors, rounded up.
  ///
  /// - Parameter root: what stands before `/proc` and `/sys`.
  /// - Returns: nil where Linux does not say.
  package static func coresInUse(under root: String) -> Int? {
    guard
      let allowed = lines(root + "/proc/self/status").first(where: { $0.hasPrefix("Cpus_allowed_list:") }),
      let processors = list(allowed.drop { $0 != ":" }.dropFirst().drop { $0 == "\t" || $0 == " " })
    else { return nil }
    // Processors of one core name the same siblings.
    let cores = Set(
      processors.map { processor in
        lines("\(root)/sys/devices/system/cpu/cpu\(processor)/topology/thread_siblings_list").first
          ?? "\(processor)"
      })
    return max(1, min(cores.count, share(under: root) ?? cores.count))
  }

  /// The processors' time that the program's control group and those it belongs to allow.
  private static func share(under root: String) -> Int? {
    guard let own = lines(root + "/proc/self/cgroup").first(where: { $0.hasPrefix("0::/") }) else {
      return nil
    }
    var group = String(own.dropFirst(3)), least: Int?
    while true {
      // "quota period" in microseconds, or "max period".
      let parts = (lines(root + "/sys/fs/cgroup" + group + "/cpu.max").first ?? "").split(separator: " ")
      if parts.count == 2, let quota = Int(parts[0]), let period = Int(parts[1]), quota > 0, period > 0 {
        least = min(least ?? .max, 1 + (quota - 1) / period)
      }
      if group.isEmpty || group == "/" { return least }
      group = folder(ofPath: group)
    }
  }

  /// The numbers of a list such as "0-3,8,10-11"; nil where it is none.
  private static func list(_ text: Substring) -> [Int]? {
    var numbers: [Int] = []
    for part in text.split(separator: ",") {
      let ends = part.split(separator: "-").map { Int($0) }
      guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2, first >= 0,
        first <= last, last < 1 << 16
      else { return nil }
      numbers += first...last
    }
    return numbers.isEmpty ? nil : numbers
  }

  /// The lines of a file of the system's, whose size is known only when it is read; none where it cannot be.
  private static func lines(_ path: String) -> [String] {
    guard let file = fopen(path, "r") else { return [] }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: "\n").map(String.init)
  }
}
