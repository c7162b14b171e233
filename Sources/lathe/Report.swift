import ArgumentParser
import LatheStudy
import LatheTensor

struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the report of a study again, from its results alone.")

  @Argument(help: "The directory of a study's run.") var directory: String
  @OptionGroup var common: CommonOptions

  func run() throws {
    let store = try ResultStore(existingAt: RunFolder.database(in: directory))
    try ReportOutput.write(store: store, folder: directory, json: common.json)
  }
}
