internal import LatheTensor
import Foundation

/// Where tests find data that is too large, or not ours, to be kept in the project.
public enum TestData {
  /// The folder of real corpora, tokenizers and models: `LATHE_DATA`, else `../shared/data` beside the package.
  public static let folder: String? = {
    let named = ProcessInfo.processInfo.environment["LATHE_DATA"]
    let path = named ?? packageFolder + "/../shared/data"
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }()

  /// The package's own folder.
  public static let packageFolder: String = {
    var url = URL(fileURLWithPath: #filePath)
    for _ in 0..<3 { url.deleteLastPathComponent() }
    return url.path
  }()

  /// Whether the data folder is there; a test that needs it says so in `.enabled(if:)`.
  public static var isPresent: Bool { folder != nil }

  /// The path of `name` inside the data folder.
  public static func path(_ name: String) throws -> String {
    guard let folder else { throw Problem(.noInput, "no test data", at: name, cure: "set LATHE_DATA") }
    return folder + "/" + name
  }

  /// The path of a committed fixture, `Tests/Fixtures/name`.
  public static func fixture(_ name: String) -> String { packageFolder + "/Tests/Fixtures/" + name }
}
