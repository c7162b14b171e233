#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Memory for what is read over and over, on pages as large as the system gives, freed with its last user.
///
/// Nothing is touched here: a page lies near the thread that first writes to it.
final class LargeMemory: @unchecked Sendable {
  // Who shares it must agree who writes.
  let base: UnsafeMutableRawPointer
  private let size: Int
  static let largePage = 2 << 20

  /// Nil where there is no such memory.
  init?(_ count: Int) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE))), large = Self.largePage
    size = (max(count, 1) + page - 1) / page * page
    // Mapped with room to spare, and cut to begin at a large page and to end where it must: the last large page is
    // then left to small ones, and no memory is taken that is not used.
    let mapped = size + large
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let start = mmap(nil, mapped, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else {
      return nil
    }
    let skipped = (large - Int(bitPattern: start) % large) % large
    if skipped > 0 { munmap(start, skipped) }
    base = start + skipped
    munmap(base + size, large - skipped)
    #if canImport(Glibc)
    if size >= large { madvise(base, size, MADV_HUGEPAGE) }
    #endif
  }

  deinit { munmap(base, size) }
}
