import ArgumentParser
import Dispatch
import Foundation
import LatheEvaluate
import LatheTensor

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Check or fetch the data sets of tasks.",
    subcommands: [Verify.self, Fetch.self])

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Compare data sets with the digests of those that figures were made with.",
      usage: "lathe data verify [<set> ...] [--data <folder>]")

    @Argument(help: "The sets; all where none is named.") var sets: [String] = []
    @Option(help: ArgumentHelp("Where tasks/ and corpora/ lie (default: $LATHE_DATA).", valueName: "folder"))
    var data: String?

    func run() throws {
      let folder = try DataFolder(data)
      var problem: Problem?
      for set in try DataManifest.builtIn().sets(sets) {
        let states = set.files.map { ($0, $0.state(in: folder)) }
        let right = states.count { $0.1 == .right }
        let name = set.name + String(repeating: " ", count: max(1, 12 - set.name.count))
        Output.line("\(name)\(right) of \(set.files.count) files as expected")
        for (file, state) in states where state == .different {
          Output.line("  differs: \(file.path)")
          problem = Problem(
            .badData, "\(file.path) is not the file that figures were made with", at: folder.path,
            cure: "get the set again, or do not compare figures")
        }
        let missing = states.filter { $0.1 == .missing }
        guard let first = missing.first?.0 else { continue }
        let others = missing.count > 1 ? " and \(missing.count - 1) more" : ""
        Output.line("  missing: \(first.path)\(others)")
        Output.line("  get it from \(set.origin)")
        if problem == nil {
          problem = Problem(
            .noInput, "\(set.name) is not complete", at: folder.path,
            cure: "get it from \(set.origin) and put it at \(first.path) in that folder")
        }
      }
      if let problem { throw problem }
    }
  }

  struct Fetch: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Download data sets, each file checked by its digest.",
      usage: "lathe data fetch <set> ... [--from <url>] [--data <folder>]",
      discussion: "Without --from, the files that are to be had one by one; archives must be fetched by hand."
    )

    @Argument(help: "The sets.") var sets: [String]
    @Option(help: ArgumentHelp("A server that holds the data folder's files.", valueName: "url")) var from:
      String?
    @Option(help: ArgumentHelp("Where the files are put (default: $LATHE_DATA).", valueName: "folder"))
    var data: String?

    func run() throws {
      let folder = try DataFolder(data)
      for set in try DataManifest.builtIn().sets(sets) {
        for file in set.files where file.state(in: folder) != .right {
          guard let address = from.map({ $0 + ($0.hasSuffix("/") ? "" : "/") + file.path }) ?? file.url else {
            throw Problem(
              .noInput, "\(file.path) is not to be had by itself", at: folder.path,
              cure: "get \(set.origin) and put it there, or name a server with --from")
          }
          let bytes = try Download.bytes(at: address, atMost: file.bytes)
          guard file.matches(bytes) else {
            throw Problem(
              .badData, "the file is not the one that figures were made with (its digest differs)",
              at: address,
              cure: "nothing was written; try another server")
          }
          let place = folder.path + "/" + file.path
          let parent = (place as NSString).deletingLastPathComponent
          do {
            try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
          } catch {
            throw Problem(
              .cannotCreate, "the folder cannot be made", at: parent, cure: "check that it can be written")
          }
          let output = try AtomicFile(creating: place)
          try output.write(bytes)
          try output.commit()
          Output.line("\(file.path)  \(Format.bytes(file.bytes))")
        }
        Output.line("\(set.name) is complete")
      }
    }
  }
}

/// Reads a file over HTTPS.
enum Download {
  private final class Box: @unchecked Sendable {
    // Written before the semaphore is signalled, read after.
    var result: (data: Data?, status: Int, error: String?) = (nil, 0, nil)
  }

  /// The bytes at `address`.
  ///
  /// - Throws: `Problem` where the address is not HTTPS, or the server cannot be reached or has no such file.
  static func bytes(at address: String, atMost limit: Int) throws(Problem) -> Bytes {
    guard let url = URL(string: address), let host = url.host,
      url.scheme == "https" || (url.scheme == "http" && ["localhost", "127.0.0.1"].contains(host))
    else { throw Problem(.usage, "not an address that begins with https://", at: address) }
    let box = Box(), done = DispatchSemaphore(value: 0)
    let request = URLRequest(url: url, timeoutInterval: 60)
    URLSession.shared.dataTask(with: request) { data, response, error in
      box.result = (data, (response as? HTTPURLResponse)?.statusCode ?? 0, error?.localizedDescription)
      done.signal()
    }.resume()
    done.wait()
    if let error = box.result.error {
      throw Problem(
        .tryAgain, "the server cannot be reached (\(error))", at: address,
        cure: "check the network and try again")
    }
    guard box.result.status == 200, let data = box.result.data else {
      throw Problem(
        .noInput, "the server answers \(box.result.status)", at: address, cure: "check the address")
    }
    guard data.count <= limit else {
      throw Problem(
        .badData, "\(data.count) bytes where \(limit) are expected", at: address, cure: "nothing was written")
    }
    return Bytes([UInt8](data))
  }
}
