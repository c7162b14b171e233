#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

extension Bytes {
  /// The content of the file at `path`, mapped: nothing is read before it is used.
  ///
  /// - Throws: `Problem` of kind `noInput` where there is no such file, `inputOutput` where it cannot be mapped.
  public init(mapping path: String) throws(Problem) {
    // Without O_NONBLOCK, opening a named pipe would wait for somebody to write to it.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw errno == ENOENT
        ? Problem(.noInput, "no such file", at: path, cure: "check the path")
        : Problem(.inputOutput, "cannot open the file (\(String(cString: strerror(errno))))", at: path)
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw Problem(.inputOutput, "cannot read the file's size", at: path)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw Problem(.noInput, "not a regular file", at: path, cure: "name a file")
    }
    let size = Int(status.st_size)
    guard size > 0 else {
      self.init([])
      return
    }
    guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw Problem(.inputOutput, "cannot map \(size) bytes (\(String(cString: strerror(errno))))", at: path)
    }
    self.init(owner: Mapping(base: base, size: size), base: UnsafeRawPointer(base), count: size)
  }

  /// Gives up the pages of a mapped file that lie in this run; they are read again if they are used again.
  ///
  /// Bytes of any other memory stay as they are.
  package func releasePages() {
    guard owner is Mapping else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = (Int(bitPattern: baseAddress) + page - 1) / page * page
    let end = (Int(bitPattern: baseAddress) + count) / page * page
    guard end > start else { return }
    madvise(UnsafeMutableRawPointer(bitPattern: start), end - start, MADV_DONTNEED)
  }

  private final class Mapping: @unchecked Sendable {
    // Read-only memory: any thread may read it.
    private let base: UnsafeMutableRawPointer
    private let size: Int
    init(base: UnsafeMutableRawPointer, size: Int) { (self.base, self.size) = (base, size) }
    deinit { munmap(base, size) }
  }
}
