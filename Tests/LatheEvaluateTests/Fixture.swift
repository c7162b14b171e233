import LatheFormats
import LatheTensor
import LatheTestSupport

enum Fixture {
  static func ids(_ name: String) throws -> [Int32] {
    try Checkpoint(reading: TestData.fixture(name)).tensor("ids").data.elements()
  }
}
