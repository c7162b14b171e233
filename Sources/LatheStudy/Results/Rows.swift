internal import Foundation
internal import GRDB

// The rows of the database: the records of the library, each with its table.

struct VariantRow: Codable, FetchableRecord, PersistableRecord {
  static let databaseTableName = "variant"
  let variant: Variant
  init(variant: Variant) { self.variant = variant }
  init(from decoder: any Decoder) throws { variant = try Variant(from: decoder) }
  func encode(to encoder: any Encoder) throws { try variant.encode(to: encoder) }
}

struct ScoreRow: Codable, FetchableRecord, PersistableRecord {
  static let databaseTableName = "score"
  let score: Score
  init(score: Score) { self.score = score }
  init(from decoder: any Decoder) throws { score = try Score(from: decoder) }
  func encode(to encoder: any Encoder) throws { try score.encode(to: encoder) }
}

struct WeightRow: Codable, FetchableRecord, PersistableRecord {
  static let databaseTableName = "weight"
  let weight: WeightRecord
  init(weight: WeightRecord) { self.weight = weight }
  init(from decoder: any Decoder) throws { weight = try WeightRecord(from: decoder) }
  func encode(to encoder: any Encoder) throws { try weight.encode(to: encoder) }
}

struct ProvenanceRow: Codable, FetchableRecord, PersistableRecord {
  static let databaseTableName = "provenance"
  private enum Key: String, CodingKey { case cell }
  let cell: String
  let provenance: Provenance
  init(cell: String, provenance: Provenance) { (self.cell, self.provenance) = (cell, provenance) }
  init(from decoder: any Decoder) throws {
    cell = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .cell)
    provenance = try Provenance(from: decoder)
  }
  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(cell, forKey: .cell)
    try provenance.encode(to: encoder)
  }
}

struct CellRow: Codable, FetchableRecord, PersistableRecord {
  static let databaseTableName = "cell"
  let key, variant, kind, protocolName: String
  let seconds: Double
  init(_ cell: CellRecord) {
    (key, variant, kind, protocolName) = (cell.key, cell.variant, cell.kind, cell.protocolName)
    seconds = cell.seconds
  }
  func cell(_ provenance: Provenance) -> CellRecord {
    CellRecord(
      key: key, variant: variant, kind: kind, protocolName: protocolName, seconds: seconds,
      provenance: provenance)
  }
}

struct AnswerRow: Codable, FetchableRecord, PersistableRecord {
  static let databaseTableName = "answer"
  let cell, task, metric: String
  /// Single precision, little-endian.
  let data: Data
  init(_ answer: AnswerRecord) {
    (cell, task, metric) = (answer.cell, answer.task, answer.metric)
    data = answer.values.reduce(into: Data()) { data, value in
      withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
    }
  }
  var answer: AnswerRecord {
    let bytes = [UInt8](data)
    let values = stride(from: 0, to: bytes.count - 3, by: 4).map { at in
      Float(bitPattern: bytes[at..<at + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    }
    return AnswerRecord(cell: cell, task: task, metric: metric, values: values)
  }
}
