internal import Foundation
internal import GRDB
public import LatheTensor

/// The results of a run directory, in one SQLite file: cells, figures, weights, and the plans that asked for them.
///
/// Rows are found by digests of everything they depend on. A plan only lists the cells it wants: another plan in the
/// same directory finds what they share, and adds the rest.
public final class ResultStore {
  /// The database's file.
  public let path: String
  private let database: DatabaseQueue

  /// Opens the database at `path`, or makes one.
  ///
  /// - Throws: `Problem` of kind `badData` where the file is damaged, or of a later version of the program.
  public init(at path: String) throws(Problem) {
    self.path = path
    do {
      database = try DatabaseQueue(path: path)
      let migrator = Self.migrator
      try database.read { db in
        if try migrator.hasBeenSuperseded(db) {
          throw Problem(
            .badData, "the results were written by a later version of this program", at: path,
            cure: "use that version")
        }
        guard try String.fetchOne(db, sql: "PRAGMA quick_check(1)") == "ok" else {
          throw Self.damaged(path)
        }
      }
      try migrator.migrate(database)
    } catch {
      throw Self.problem(error, path)
    }
  }

  /// Opens the database at `path`, which must exist.
  ///
  /// - Throws: `Problem` of kind `noInput` where it does not.
  public convenience init(existingAt path: String) throws(Problem) {
    guard FileManager.default.fileExists(atPath: path) else {
      throw Problem(.noInput, "no results there", at: path, cure: "give the directory that lathe study wrote")
    }
    try self.init(at: path)
  }

  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { db in
      try db.execute(
        sql: """
          CREATE TABLE variant (
            key TEXT PRIMARY KEY, model TEXT NOT NULL, modelDigest TEXT NOT NULL, label TEXT NOT NULL,
            family TEXT NOT NULL, isOriginal BOOLEAN NOT NULL, nominalBits DOUBLE, recipe TEXT NOT NULL);
          CREATE TABLE cell (
            key TEXT PRIMARY KEY, variant TEXT NOT NULL REFERENCES variant(key), kind TEXT NOT NULL,
            protocolName TEXT NOT NULL, seconds DOUBLE NOT NULL);
          CREATE TABLE provenance (
            cell TEXT PRIMARY KEY REFERENCES cell(key), model TEXT NOT NULL, modelDigest TEXT NOT NULL,
            tokenizer TEXT NOT NULL, calibration TEXT NOT NULL, seeds TEXT NOT NULL, threads INTEGER NOT NULL,
            kernels TEXT NOT NULL, processor TEXT NOT NULL, system TEXT NOT NULL, date TEXT NOT NULL,
            version TEXT NOT NULL, command TEXT NOT NULL);
          CREATE TABLE score (
            cell TEXT NOT NULL REFERENCES cell(key), metric TEXT NOT NULL, value DOUBLE NOT NULL,
            standardError DOUBLE, count INTEGER, protocolName TEXT NOT NULL, PRIMARY KEY (cell, metric));
          CREATE TABLE weight (
            variant TEXT NOT NULL REFERENCES variant(key), layer INTEGER NOT NULL, role TEXT NOT NULL,
            method TEXT NOT NULL, encoding TEXT NOT NULL, bitsPerWeight DOUBLE NOT NULL, weightError DOUBLE NOT NULL,
            outputError DOUBLE, seconds DOUBLE NOT NULL, PRIMARY KEY (variant, layer, role));
          CREATE TABLE plan (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, text TEXT NOT NULL, isCurrent BOOLEAN NOT NULL);
          CREATE TABLE plannedCell (
            plan INTEGER NOT NULL REFERENCES plan(id), position INTEGER NOT NULL, cell TEXT NOT NULL,
            variant TEXT NOT NULL, PRIMARY KEY (plan, position));
          """)
    }
    migrator.registerMigration("2") { db in
      try db.execute(
        sql: """
          CREATE TABLE answer (
            cell TEXT NOT NULL REFERENCES cell(key), task TEXT NOT NULL, metric TEXT NOT NULL,
            data BLOB NOT NULL, PRIMARY KEY (cell, task, metric));
          """)
    }
    return migrator
  }

  // MARK: Failures

  private static func damaged(_ path: String) -> Problem {
    Problem(
      .badData, "the results database is damaged", at: path,
      cure: "restore the file from a copy, or remove it to measure everything again")
  }

  private static func problem(_ error: any Error, _ path: String) -> Problem {
    if let problem = error as? Problem { return problem }
    guard let error = error as? DatabaseError else { return damaged(path) }
    switch error.resultCode {
    case .SQLITE_FULL, .SQLITE_IOERR:
      return Problem(
        .inputOutput, "the results cannot be stored", at: path,
        cure: "free space on the disk and run the same command again")
    case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
      return Problem(
        .cannotCreate, "the results database cannot be opened", at: path,
        cure: "check that the folder can be written")
    case .SQLITE_BUSY, .SQLITE_LOCKED:
      return Problem(
        .tryAgain, "another process has the results database", at: path, cure: "wait for it to end")
    default: return damaged(path)
    }
  }

  private func read<T>(_ body: (Database) throws -> T) throws(Problem) -> T {
    do { return try database.read(body) } catch { throw Self.problem(error, path) }
  }

  private func write(_ body: (Database) throws -> Void) throws(Problem) {
    do { try database.write(body) } catch { throw Self.problem(error, path) }
  }

  // MARK: Plans

  /// Makes `study` the plan of the directory: reports show its cells first.
  func begin(_ study: String, digest: String, cells: [(cell: String, variant: Variant)]) throws(Problem) {
    try write { db in
      for (_, variant) in cells { try VariantRow(variant: variant).upsert(db) }
      try db.execute(sql: "UPDATE plan SET isCurrent = FALSE")
      try db.execute(
        sql: """
          INSERT INTO plan (digest, text, isCurrent) VALUES (?, ?, TRUE)
          ON CONFLICT (digest) DO UPDATE SET text = excluded.text, isCurrent = TRUE
          """, arguments: [digest, study])
      guard let plan = try Int.fetchOne(db, sql: "SELECT id FROM plan WHERE digest = ?", arguments: [digest])
      else { return }
      try db.execute(sql: "DELETE FROM plannedCell WHERE plan = ?", arguments: [plan])
      for (position, cell) in cells.enumerated() {
        try db.execute(
          sql: "INSERT INTO plannedCell VALUES (?, ?, ?, ?)",
          arguments: [plan, position, cell.cell, cell.variant.key])
      }
    }
  }

  /// The current plan as JSON, and its cells in their order.
  func currentPlan() throws(Problem) -> (text: String, cells: [(cell: String, variant: String)])? {
    try read { db in
      guard let row = try Row.fetchOne(db, sql: "SELECT id, text FROM plan WHERE isCurrent") else {
        return nil
      }
      let plan: Int = row["id"]
      let cells = try Row.fetchAll(
        db, sql: "SELECT cell, variant FROM plannedCell WHERE plan = ? ORDER BY position", arguments: [plan])
      return (row["text"], cells.map { ($0["cell"], $0["variant"]) })
    }
  }

  // MARK: Results

  /// The keys of the cells that are finished.
  public func finishedCells() throws(Problem) -> Set<String> {
    try read { db in try Set(String.fetchAll(db, sql: "SELECT key FROM cell")) }
  }

  /// Stores a finished cell, all of it or, if the process dies, nothing.
  public func store(
    _ cell: CellRecord, scores: [Score], weights: [WeightRecord] = [], answers: [AnswerRecord] = []
  ) throws(Problem) {
    try write { db in
      try CellRow(cell).upsert(db)
      try ProvenanceRow(cell: cell.key, provenance: cell.provenance).upsert(db)
      for score in scores { try ScoreRow(score: score).upsert(db) }
      for weight in weights { try WeightRow(weight: weight).upsert(db) }
      for answer in answers { try AnswerRow(answer).upsert(db) }
    }
  }

  /// Everything stored, cells and variants in the order they were first stored.
  func everything() throws(Problem) -> Everything {
    try read { db in
      let provenance = Dictionary(
        uniqueKeysWithValues: try ProvenanceRow.fetchAll(db).map { ($0.cell, $0.provenance) })
      return Everything(
        variants: try VariantRow.fetchAll(db, sql: "SELECT * FROM variant ORDER BY rowid").map(\.variant),
        cells: try CellRow.fetchAll(db, sql: "SELECT * FROM cell ORDER BY rowid").compactMap { row in
          provenance[row.key].map { row.cell($0) }
        },
        scores: try ScoreRow.fetchAll(db, sql: "SELECT * FROM score ORDER BY rowid").map(\.score),
        weights: try WeightRow.fetchAll(db, sql: "SELECT * FROM weight ORDER BY variant, layer").map(
          \.weight),
        answers: try AnswerRow.fetchAll(db, sql: "SELECT * FROM answer ORDER BY rowid").map(\.answer)
      )
    }
  }

  /// All rows of all tables of results.
  struct Everything {
    var variants: [Variant]
    var cells: [CellRecord]
    var scores: [Score]
    var weights: [WeightRecord]
    var answers: [AnswerRecord]
  }
}
