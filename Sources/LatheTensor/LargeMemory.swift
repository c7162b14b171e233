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
  private static let page = 2 << 20

  /// Nil where there is no such memory.
  init?(_ count: Int) {
    let isLarge = count >= Self.page
    let alignment = isLarge ? Self.page : 64
    let size = (max(count, 1) + alignment - 1) / alignment * alignment
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, alignment, size) == 0, let memory else { return nil }
    #if canImport(Glibc)
    if isLarge { madvise(memory, size, MADV_HUGEPAGE) }
    #endif
    base = memory
  }

  deinit { free(base) }
}
