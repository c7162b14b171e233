import Foundation
import LatheFormats
public import LatheTensor

/// What files say about a model beside its weights.
public enum ModelSize {
  /// The bytes of the files that hold the model's weights.
  ///
  /// - Throws: `Problem` where they cannot be read.
  public static func fileBytes(at path: String) throws(Problem) -> Int {
    var total = 0
    for file in try Checkpoint(reading: path).files { total += try Bytes(mapping: file).count }
    return total
  }

  /// The end tokens that `generation_config.json` or `config.json` name.
  public static func endTokens(at path: String) throws(Problem) -> Set<Int32> {
    for name in ["generation_config.json", "config.json"] {
      let file = path + "/" + name
      guard FileManager.default.fileExists(atPath: file) else { continue }
      let ids = try JSONObject(reading: file).integers("eos_token_id").compactMap { Int32(exactly: $0) }
      if !ids.isEmpty { return Set(ids) }
    }
    return []
  }
}
