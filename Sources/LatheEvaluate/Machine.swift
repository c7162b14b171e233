internal import Foundation

/// The machine at work, and the program.
public enum Machine {
  /// The processor's model name.
  public static var processor: String {
    let description = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    for line in description.split(separator: "\n") where line.hasPrefix("model name") {
      if let colon = line.firstIndex(of: ":") {
        return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      }
    }
    #if arch(arm64)
    return "arm64 processor"
    #else
    return "unknown processor"
    #endif
  }

  /// The operating system.
  public static var system: String {
    let release = (try? String(contentsOfFile: "/etc/os-release", encoding: .utf8)) ?? ""
    for line in release.split(separator: "\n") where line.hasPrefix("PRETTY_NAME=") {
      return line.dropFirst("PRETTY_NAME=".count).trimmingCharacters(in: CharacterSet(charactersIn: "\""))
    }
    return ProcessInfo.processInfo.operatingSystemVersionString
  }

  /// The time, in UTC.
  public static var now: String {
    let formatter = ISO8601DateFormatter()
    return formatter.string(from: Date())
  }

  /// The memory, in bytes.
  public static var memory: Int { Int(clamping: ProcessInfo.processInfo.physicalMemory) }

  /// The processors that can run at once.
  public static var cores: Int { ProcessInfo.processInfo.activeProcessorCount }

  /// How this program was compiled.
  public static var build: String {
    #if DEBUG
    "debug"
    #else
    "release"
    #endif
  }
}
