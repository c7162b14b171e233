internal import CLatheKernels
internal import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// A fixed team of threads that share out the pieces of one piece of work at a time.
///
/// The caller works too. Between pieces of work the others spin for some tens of microseconds, since the next one
/// is usually near, and then sleep; only sleepers cost the caller a call of the system. A team lives as long as the process.
public final class ThreadTeam: @unchecked Sendable {
  // All mutable state is atomic or guarded by `mutex`.
  /// The number of threads, the caller included.
  public let count: Int

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let generation = Atomic<Int>(0)
  private let next = Atomic<Int>(0)
  private let finished = Atomic<Int>(0)
  private let busy = Atomic<Bool>(false)
  private let sleepers = Atomic<Int>(0)
  /// The threads that have a number, the caller not among them.
  private let joined = Atomic<Int>(0)
  /// What each thread is to do, given its number.
  private var task: ((Int) -> Void)?
  /// How far each thread's stretch is given away, at distances that no lines of the cache are shared, nor fetched together.
  private let fronts: UnsafeMutablePointer<Atomic<Int>>
  private static let frontStride = 16

  /// The threads that serve best: one for each core that the program may use.
  public static var hardwareCount: Int { Processors.count }

  /// Starts a team of `count` threads; one a core by default.
  public init(count: Int = ThreadTeam.hardwareCount) {
    self.count = min(max(1, count), 256)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: 8 * Self.frontStride * self.count, alignment: 128)
    fronts = memory.bindMemory(to: Atomic<Int>.self, capacity: Self.frontStride * self.count)
    for thread in 0..<self.count { (fronts + Self.frontStride * thread).initialize(to: Atomic(0)) }
    BLAS.useOneThread()
    for _ in 1..<max(1, self.count) { start() }
  }

  /// Runs `body` once for each of `0 ..< pieces`, and returns when all are done.
  ///
  /// A call from inside `body` runs on the calling thread alone.
  public func run(_ pieces: Int, _ body: (Int) -> Void) {
    if pieces <= 1 || !begin() {
      for piece in 0..<pieces { body(piece) }
      return
    }
    next.store(0, ordering: .relaxed)
    together { _ in
      while case let piece = self.next.add(1, ordering: .relaxed).oldValue, piece < pieces { body(piece) }
    }
  }

  /// Splits `0 ..< total` into a stretch for each thread, who takes half of what is left of it at a time, `grain` at least; who
  /// is done helps others.
  ///
  /// Neighbours stay together: what a thread reads next follows what it reads. A call from inside `body` runs on the
  /// calling thread alone.
  public func share(_ total: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    guard total > grain, begin() else {
      if total > 0 { body(0..<total) }
      return
    }
    for thread in 0..<count { front(thread).pointee.store(total * thread / count, ordering: .relaxed) }
    together { thread in
      for owner in thread..<thread + count {
        let owner = owner % count
        while let range = take(from: owner, upTo: total * (owner + 1) / count, grain) { body(range) }
      }
    }
  }

  private func front(_ thread: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    fronts + Self.frontStride * thread
  }

  private func take(from owner: Int, upTo end: Int, _ grain: Int) -> Range<Int>? {
    let front = front(owner)
    var start = front.pointee.load(ordering: .relaxed)
    while start < end {
      let next = min(end, start + max(grain, (end - start) / 2))
      let (isOurs, found) = front.pointee.weakCompareExchange(
        expected: start, desired: next, ordering: .relaxed)
      if isOurs { return start..<next }
      start = found
    }
    return nil
  }

  /// Whether the team is the caller's now.
  private func begin() -> Bool { count > 1 && !busy.exchange(true, ordering: .acquiring) }

  /// Runs `task` on each thread of a team that is the caller's, which it is no longer afterwards.
  private func together(_ task: (Int) -> Void) {
    withoutActuallyEscaping(task) { task in
      self.task = task
      finished.store(0, ordering: .relaxed)
      // Whoever is about to sleep counts itself first and then looks at the generation: one of the two sees the other.
      generation.add(1, ordering: .sequentiallyConsistent)
      if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
      }
      task(0)
      var spins = 0
      while finished.load(ordering: .acquiring) < count - 1 {
        spins += 1
        if spins > 1000 { sched_yield() } else { lathe_pause() }
      }
      self.task = nil
    }
    busy.store(false, ordering: .releasing)
  }

  /// Splits `0 ..< total` into runs of about equal size, each a multiple of `grain` but for the last.
  public func split(_ total: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    guard total > 0 else { return }
    // Twice as many runs as threads, so that one slow thread does not hold up the others.
    let wanted = count == 1 ? 1 : 2 * count
    let size = max(grain, ((total + wanted - 1) / wanted + grain - 1) / grain * grain)
    run((total + size - 1) / size) { body($0 * size..<min(total, ($0 + 1) * size)) }
  }

  private func start() {
    #if canImport(Darwin)
    var thread: pthread_t?
    #else
    var thread = pthread_t()
    #endif
    let created = pthread_create(
      &thread, nil,
      { raw in
        #if canImport(Darwin)
        Unmanaged<ThreadTeam>.fromOpaque(raw).takeRetainedValue().serve()
        #else
        if let raw { Unmanaged<ThreadTeam>.fromOpaque(raw).takeRetainedValue().serve() }
        #endif
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(created == 0, "the system refuses another thread")
  }

  private func serve() {
    let thread = joined.add(1, ordering: .relaxed).newValue
    var seen = 0
    while true {
      var spins = 0
      while generation.load(ordering: .acquiring) == seen && spins < 2000 {
        spins += 1
        lathe_pause()
      }
      if generation.load(ordering: .acquiring) == seen {
        pthread_mutex_lock(mutex)
        sleepers.add(1, ordering: .sequentiallyConsistent)
        while generation.load(ordering: .sequentiallyConsistent) == seen {
          pthread_cond_wait(condition, mutex)
        }
        sleepers.subtract(1, ordering: .relaxed)
        pthread_mutex_unlock(mutex)
      }
      seen += 1
      task?(thread)
      finished.add(1, ordering: .releasing)
    }
  }
}
