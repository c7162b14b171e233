internal import Foundation
internal import LatheTensor

/// Where a figure comes from: enough to get it again.
public struct Provenance: Codable, Hashable, Sendable {
  /// The model's path and digest.
  public var model, modelDigest: String
  /// The kind and size of the tokenizer.
  public var tokenizer: String
  /// The calibration text, or "none".
  public var calibration: String
  /// The seeds of all texts involved.
  public var seeds: String
  /// The number of threads.
  public var threads: Int
  /// The instruction set of the kernels.
  public var kernels: String
  /// The processor.
  public var processor: String
  /// The operating system.
  public var system: String
  /// When it was measured, in UTC.
  public var date: String
  /// The program's version.
  public var version: String
  /// A command that gives the figure again.
  public var command: String
}

/// The machine at work.
enum Machine {
  static var system: String {
    let release = (try? String(contentsOfFile: "/etc/os-release", encoding: .utf8)) ?? ""
    for line in release.split(separator: "\n") where line.hasPrefix("PRETTY_NAME=") {
      return line.dropFirst("PRETTY_NAME=".count).trimmingCharacters(in: CharacterSet(charactersIn: "\""))
    }
    return ProcessInfo.processInfo.operatingSystemVersionString
  }

  static var processor: String {
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

  static var now: String {
    let formatter = ISO8601DateFormatter()
    return formatter.string(from: Date())
  }
}
