#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif
internal import Synchronization

/// Memory for what is read over and over, on pages as large as the system gives, freed with its last user.
///
/// Nothing is touched here: a page lies near the thread that first writes to it.
package final class LargeMemory: @unchecked Sendable {
  // Who shares it must agree who writes.
  package let base: UnsafeMutableRawPointer
  private let size: Int
  private let region: Region
  static let largePage = 2 << 20

  /// Where the next memory that lies beside others begins; gone with the last of them.
  private struct Front {
    weak var region: Region?
    var used = 0
  }
  private static let front = Mutex(Front())
  private static let regionSize = 256 << 20

  /// Nil where there is no such memory.
  ///
  /// - Parameter isNeighbor: whether it lies close to other such memory, on large pages that they share. A large page
  ///   that one of them leaves falls apart, so this is for what stays as long as the others do.
  package init?(_ count: Int, isNeighbor: Bool = false) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let size = (max(count, 1) + page - 1) / page * page
    func place() -> (region: Region, offset: Int)? {
      guard isNeighbor else { return Region(size).map { ($0, 0) } }
      return Self.front.withLock { front in
        if let region = front.region, region.size - front.used >= size {
          defer { front.used += size }
          return (region, front.used)
        }
        guard let region = Region(max(size, Self.regionSize)) else { return nil }
        front = Front(region: region, used: size)
        return (region, 0)
      }
    }
    guard let (region, offset) = place() else { return nil }
    (self.region, self.size, base) = (region, size, region.base + offset)
  }

  deinit {
    guard size < region.size else { return }
    #if canImport(Darwin)
    madvise(base, size, MADV_FREE)
    #else
    madvise(base, size, MADV_DONTNEED)
    #endif
  }

  /// Addresses that are mapped together.
  private final class Region {
    let base: UnsafeMutableRawPointer
    let size: Int

    init?(_ size: Int) {
      // Mapped with room to spare, and cut to begin at a large page and to end where it must: the last large page is
      // then left to small ones, and no memory is taken that is not used.
      let large = LargeMemory.largePage, mapped = size + large
      let flags = MAP_PRIVATE | MAP_ANONYMOUS
      guard let start = mmap(nil, mapped, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else {
        return nil
      }
      let skipped = (large - Int(bitPattern: start) % large) % large
      if skipped > 0 { munmap(start, skipped) }
      (base, self.size) = (start + skipped, size)
      munmap(base + size, large - skipped)
      #if canImport(Glibc)
      if size >= large { madvise(base, size, MADV_HUGEPAGE) }
      #endif
    }

    deinit { munmap(base, size) }
  }
}
