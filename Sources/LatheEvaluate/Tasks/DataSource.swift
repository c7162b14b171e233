internal import Foundation
internal import LatheTensor

/// Where the records of a split lie, and in what form.
struct DataSource: Hashable, Sendable {
  enum Form: String, Hashable, Sendable, CaseIterable {
    /// A JSON object a line; `labels` may name a file with the targets, one a line.
    case lines = "jsonl"
    /// Comma-separated values, with or without a row of headings.
    case table = "csv"
    /// WikiText's raw file, a page a record.
    case wikitext
  }

  /// The files that would do, the first choice first.
  var files: [String]
  var form: Form
  /// A file of targets beside the first of `files`, a line a record; they become the member `label`.
  var labels: String?
  /// The columns of a table.
  var columns: [String]
  /// Where the set is to be had.
  var origin: String

  init(_ node: DataNode, file: String) throws(Problem) {
    let reader = try DefinitionReader(node, file: file, known: ["file", "form", "labels", "columns", "from"])
    files = try reader.texts("file") ?? []
    guard !files.isEmpty else { throw reader.problem("file", "is missing") }
    form = try reader.choice("form", Form.self) ?? .lines
    labels = try reader.text("labels")
    columns = try reader.texts("columns") ?? []
    origin = try reader.text("from") ?? ""
    if form == .table, columns.isEmpty { throw reader.problem("columns", "is missing: a table needs it") }
    for path in files + (labels.map { [$0] } ?? []) {
      guard !path.split(separator: "/").contains("..") else {
        throw reader.problem("file", "must not contain \"..\"")
      }
    }
  }

  /// The path of the file that is there.
  ///
  /// - Throws: `Problem` of kind `noInput` that says where to get the set and where to put it.
  func locate(in folder: DataFolder, task: String) throws(Problem) -> String {
    for file in files {
      let path = file.hasPrefix("/") ? file : folder.path + "/" + file
      if FileManager.default.fileExists(atPath: path) { return path }
    }
    let source = origin.isEmpty ? "" : "get it from \(origin) and "
    throw Problem(
      .noInput, "the data of \(task) is not there", at: folder.path,
      cure: "\(source)put it at \(files.joined(separator: " or ")) in that folder")
  }

  /// The records, each with the line it stands on.
  ///
  /// - Throws: `Problem` of kind `badData` with file and line where one is not of the form.
  func records(at path: String, folder: DataFolder, limit: Int) throws(Problem) -> [DataNode] {
    let bytes = try Bytes(mapping: path)
    guard bytes.count <= 1 << 30 else {
      throw Problem(
        .badData, "\(bytes.count) bytes are too many for a task's records", at: path, cure: "split the file")
    }
    switch form {
    case .wikitext:
      return WikitextText.pages(of: bytes.text).prefix(limit).map { page in
        DataNode(
          .object([DataNode.Member(key: "page", line: 1, node: DataNode(.text(page), line: 1))]), line: 1)
      }
    case .table:
      return Array(try CommaSeparated.records(bytes.text, columns: columns, file: path).prefix(limit))
    case .lines:
      var records = try Self.lines(bytes, path, limit)
      if let labels, path == folder.path + "/" + files[0] {
        try Self.attach(folder.path + "/" + labels, to: &records, isPart: records.count == limit)
      }
      return records
    }
  }

  private static func lines(_ bytes: Bytes, _ path: String, _ limit: Int) throws(Problem) -> [DataNode] {
    var records: [DataNode] = []
    let all = bytes.elements(as: UInt8.self)
    var start = 0, number = 0
    while start < all.count, records.count < limit {
      let end = all[start...].firstIndex(of: 0x0A) ?? all.count
      let line = all[start..<end]
      (start, number) = (end + 1, number + 1)
      if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
      let node = try DataParser.parse(line, file: path, line: number)
      guard node.members != nil else {
        throw Problem(.badData, "the record is no JSON object", at: "\(path):\(number)")
      }
      records.append(node)
    }
    return records
  }

  private static func attach(_ path: String, to records: inout [DataNode], isPart: Bool) throws(Problem) {
    guard FileManager.default.fileExists(atPath: path) else {
      throw Problem(
        .noInput, "the file of labels is missing", at: path, cure: "it belongs beside the records")
    }
    let labels = try Bytes(mapping: path).text.split(whereSeparator: \.isNewline).map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    // Where only the first records are read, the other labels are for the rest.
    guard labels.count == records.count || (isPart && labels.count > records.count) else {
      throw Problem(
        .badData, "\(labels.count) labels for \(records.count) records", at: path,
        cure: "the two files do not belong together")
    }
    for (index, label) in labels.prefix(records.count).enumerated() {
      records[index] = records[index].setting("label", .text(label))
    }
  }
}

/// Comma-separated values (RFC 4180).
enum CommaSeparated {
  /// A record for each row, its members named by `columns`. A first row that holds all these names is a heading; without
  /// one the columns are taken in their order.
  ///
  /// - Throws: `Problem` of kind `badData` with file and line where a row has another number of fields.
  static func records(_ text: String, columns: [String], file: String) throws(Problem) -> [DataNode] {
    var places = Array(columns.indices), width = columns.count
    var records: [DataNode] = []
    for (number, row) in try rows(text, file: file).enumerated() {
      if number == 0 {
        let heading = row.fields.map { $0.trimmingCharacters(in: .whitespaces) }
        let found = columns.compactMap { heading.firstIndex(of: $0) }
        if found.count == columns.count {
          (places, width) = (found, heading.count)
          continue
        }
      }
      guard row.fields.count == width else {
        throw Problem(
          .badData, "\(row.fields.count) fields where \(width) are expected", at: "\(file):\(row.line)",
          cure: "the columns are \(columns.joined(separator: ", "))")
      }
      let members = zip(columns, places).map { column, place in
        DataNode.Member(key: column, line: row.line, node: DataNode(.text(row.fields[place]), line: row.line))
      }
      records.append(DataNode(.object(members), line: row.line))
    }
    return records
  }

  private static func rows(_ text: String, file: String) throws(Problem) -> [(fields: [String], line: Int)] {
    var rows: [(fields: [String], line: Int)] = []
    var fields: [String] = [], field: [UInt8] = [], line = 1, start = 1
    var isQuoted = false, hasAny = false
    let bytes = Array(text.utf8)
    var at = 0
    func take() {
      fields.append(String(decoding: field, as: UTF8.self))
      field = []
    }
    while at < bytes.count {
      let byte = bytes[at]
      at += 1
      if byte == 0x0A { line += 1 }
      if isQuoted {
        if byte == UInt8(ascii: "\""), at < bytes.count, bytes[at] == byte {
          field.append(byte)
          at += 1
        } else if byte == UInt8(ascii: "\"") {
          isQuoted = false
        } else {
          field.append(byte)
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\"") where field.isEmpty: (isQuoted, hasAny) = (true, true)
      case UInt8(ascii: ","):
        take()
        hasAny = true
      case 0x0D where at < bytes.count && bytes[at] == 0x0A: break
      case 0x0A:
        if hasAny || !field.isEmpty {
          take()
          rows.append((fields, start))
        }
        (fields, start, hasAny) = ([], line, false)
      default: field.append(byte)
      }
    }
    guard !isQuoted else { throw Problem(.badData, "a quoted field does not end", at: "\(file):\(start)") }
    if hasAny || !field.isEmpty {
      take()
      rows.append((fields, start))
    }
    return rows
  }
}
