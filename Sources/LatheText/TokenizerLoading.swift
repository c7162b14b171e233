public import LatheTensor
internal import Foundation

extension Tokenizer {
  /// Loads the tokenizer of a model folder, or the one in a file.
  ///
  /// Of a folder with both a `tokenizer.model` and a `tokenizer.json`, the first is read, because it is what the
  /// model was trained with, while its conversion to JSON differs on runs of spaces; the added tokens that
  /// `tokenizer.json`, `tokenizer_config.json` and `added_tokens.json` name are kept. But where `tokenizer.json`
  /// has added tokens beyond the ids of `tokenizer.model` (Phi-3), the model was trained further with the JSON,
  /// and that is read, as `transformers` does.
  ///
  /// - Throws: `Problem` of kind `noInput` where there is no tokenizer, `badData` for one that is damaged or of a
  ///   kind that is not known.
  public static func load(path: String) throws(Problem) -> Tokenizer {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw Problem(.noInput, "no such file or folder", at: path, cure: "check the path")
    }
    guard isFolder.boolValue else {
      let folder = LatheTensor.folder(ofPath: path)
      let name = (path as NSString).lastPathComponent
      // The settings beside a file speak about it only where it has the name they are made for.
      let isNamed = TokenizerFolder.names.contains(name)
      return try load(file: path, isNamed ? TokenizerFolder(folder).settings(for: name) : TokenizerSettings())
    }
    let folder = TokenizerFolder(path)
    guard let name = TokenizerFolder.names.first(where: folder.has) else {
      throw Problem(
        .noInput, "no tokenizer in the folder", at: path,
        cure: "put \(TokenizerFolder.names.joined(separator: " or ")) there")
    }
    let tokenizer = try load(file: folder.path(of: name), try folder.settings(for: name))
    if name == TokenizerFolder.model, folder.has(TokenizerFolder.json) {
      let bare = try load(file: folder.path(of: name), TokenizerSettings())
      if try folder.addedTokens().contains(where: { Int($0.id) >= bare.vocabularySize }) {
        return try load(
          file: folder.path(of: TokenizerFolder.json), try folder.settings(for: TokenizerFolder.json))
      }
    }
    return tokenizer
  }

  /// Reads a tokenizer from the content of a file, whatever its kind.
  ///
  /// - Parameter name: the file's name, which may help to recognize it and is the place that problems name.
  /// - Throws: `Problem` of kind `badData` for one that is damaged or of a kind that is not known.
  public init(_ bytes: Bytes, named name: String) throws(Problem) {
    self = try Tokenizer.read(bytes, name, TokenizerSettings())
  }

  private static func load(file path: String, _ settings: TokenizerSettings) throws(Problem) -> Tokenizer {
    try read(try Bytes(mapping: path), path, settings)
  }

  private static func read(
    _ bytes: Bytes, _ name: String, _ settings: TokenizerSettings
  ) throws(Problem) -> Tokenizer {
    let head = bytes[0..<min(bytes.count, 1024)]
    guard let format = TokenizerFormat.all.first(where: { $0.recognizes(name.lowercased(), head) }) else {
      throw Problem(
        .badData, "not a tokenizer of a known kind", at: name,
        cure: "known are \(TokenizerFormat.all.map(\.name).joined(separator: ", "))")
    }
    do {
      return try format.load(bytes, settings)
    } catch {
      throw Problem(
        error.kind, error.what, at: [name, error.place].compactMap(\.self).joined(separator: ", "),
        cure: error.cure)
    }
  }
}

/// The files of a model folder that say something about its tokenizer.
struct TokenizerFolder {
  static let model = "tokenizer.model"
  static let json = "tokenizer.json"
  /// The files a tokenizer is read from, the one to prefer first.
  static let names = [model, json, "tokenizer.bin"]

  private let path: String

  init(_ path: String) { self.path = path }

  func path(of name: String) -> String { path.isEmpty ? name : path + "/" + name }
  func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(of: name)) }

  /// The added tokens that `tokenizer.json` names.
  func addedTokens() throws(Problem) -> [AddedToken] {
    guard let json = try read(TokenizerFolder.json) else { return [] }
    return try HuggingFaceFile.readAdded(json.member("added_tokens")).map(\.0)
  }

  /// What the other files of the folder say about the tokenizer in `name`.
  func settings(for name: String) throws(Problem) -> TokenizerSettings {
    var settings = TokenizerSettings()
    if name != TokenizerFolder.json { settings.added = try addedTokens() }
    if let config = try read("tokenizer_config.json") {
      let fields = try config.members()
      settings.beginning = try tokenText(fields["bos_token"])
      settings.end = try tokenText(fields["eos_token"])
      settings.addsBeginning = fields["add_bos_token"]?.bool
      settings.addsEnd = fields["add_eos_token"]?.bool
      if let decoder = fields["added_tokens_decoder"], decoder.isObject {
        try decoder.forEachMember { key, value throws(Problem) in
          guard let id = Int32(String(decoding: key, as: UTF8.self)), id >= 0,
            let token = HuggingFaceFile.addedToken(try value.members(), id: id)
          else { return }
          settings.keep(token)
        }
      }
    }
    if let more = try read("added_tokens.json"), more.isObject {
      try more.forEachMember { key, value in
        guard let id = value.int.flatMap({ Int32(exactly: $0) }), id >= 0 else { return }
        settings.keep(AddedToken(text: key, id: id))
      }
    }
    return settings
  }

  /// A token is given as its text, or as an object that has it.
  private func tokenText(_ json: JSON?) throws(Problem) -> [UInt8]? {
    guard let json else { return nil }
    return json.isObject ? try json.member("content")?.string : json.string
  }

  private func read(_ name: String) throws(Problem) -> JSON? {
    guard has(name) else { return nil }
    do {
      return try JSON(try Bytes(mapping: path(of: name)))
    } catch {
      throw error.located(at: path(of: name))
    }
  }
}

extension TokenizerSettings {
  /// Adds a token unless its id is known.
  fileprivate mutating func keep(_ token: AddedToken) {
    if !added.contains(where: { $0.id == token.id }) { added.append(token) }
  }
}
