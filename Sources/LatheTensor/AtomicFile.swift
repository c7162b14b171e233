#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// A file that appears under its name only once it is whole.
///
/// Bytes go to a temporary file beside it; `commit()` makes them durable and renames.
/// A writer that is dropped without `commit()` leaves nothing behind.
public final class AtomicFile {
  private let path: String
  private let temporary: String
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  /// The number of bytes written so far.
  public private(set) var count = 0

  /// Starts writing the file at `path`.
  ///
  /// - Throws: `Problem` of kind `cannotCreate`.
  public init(creating path: String) throws(Problem) {
    self.path = path
    temporary = path + ".tmp"
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw Problem(
        .cannotCreate, "cannot create the file (\(String(cString: strerror(errno))))", at: path,
        cure: "check that the folder exists and can be written")
    }
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    unlink(temporary)
  }

  /// Appends `bytes`.
  ///
  /// - Throws: `Problem` of kind `inputOutput`, a full disk included.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(Problem) {
    count += bytes.count
    if bytes.count < 1 << 16 {
      buffer.append(contentsOf: bytes)
      if buffer.count >= 1 << 18 { try flush() }
      return
    }
    try flush()
    try put(bytes)
  }

  /// Appends `bytes`.
  public func write(_ bytes: [UInt8]) throws(Problem) {
    try bytes.withUnsafeBytes { raw in Result { () throws(Problem) in try write(raw) } }.get()
  }

  /// Appends `bytes`.
  public func write(_ bytes: Bytes) throws(Problem) {
    try bytes.withUnsafeBytes { (raw) throws(Problem) in try write(raw) }
  }

  /// Appends `text` as UTF-8.
  public func write(_ text: String) throws(Problem) { try write(Array(text.utf8)) }

  /// Appends zero bytes up to the next multiple of `alignment`.
  public func pad(to alignment: Int) throws(Problem) {
    let rest = count % alignment
    if rest != 0 { try write([UInt8](repeating: 0, count: alignment - rest)) }
  }

  /// Makes the bytes durable and gives the file its name.
  public func commit() throws(Problem) {
    try flush()
    guard fsync(descriptor) == 0, close(descriptor) == 0 else { throw failure() }
    descriptor = -1
    guard rename(temporary, path) == 0 else {
      let problem = failure()
      unlink(temporary)
      throw problem
    }
  }

  /// Writes `text` to `path` in one step.
  public static func write(_ text: String, to path: String) throws(Problem) {
    let file = try AtomicFile(creating: path)
    try file.write(text)
    try file.commit()
  }

  private func flush() throws(Problem) {
    guard !buffer.isEmpty else { return }
    try buffer.withUnsafeBytes { raw in Result { () throws(Problem) in try put(raw) } }.get()
    buffer.removeAll(keepingCapacity: true)
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws(Problem) {
    var done = 0
    while done < bytes.count {
      let n = systemWrite(descriptor, bytes.baseAddress! + done, bytes.count - done)
      if n < 0 && errno == EINTR { continue }
      guard n > 0 else { throw failure() }
      done += n
    }
  }

  private func failure() -> Problem {
    Problem(
      .inputOutput, "writing failed (\(String(cString: strerror(errno))))", at: path,
      cure: "free space on the disk and run the same command again")
  }
}

private func systemWrite(_ descriptor: Int32, _ base: UnsafeRawPointer, _ count: Int) -> Int {
  write(descriptor, base, count)
}
