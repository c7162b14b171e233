internal import COpenBLAS

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The system's linear algebra, on memory the caller owns.
package enum BLAS {
  /// Keeps the library to the calling thread: the work is split by a `ThreadTeam`.
  package static func useOneThread() { isAlone }

  /// Once for the process: to be asked again would start the library's threads again.
  private static let isAlone: Void = {
    openblas_set_num_threads(1)
    lathe_end_blas_threads()
  }()

  /// Lets the library use `count` threads inside `body`, for the factorizations that no team splits.
  ///
  /// The number is one of the whole process: products wait meanwhile, lest they be cut, and sum, in another way.
  package static func withThreads<R>(_ count: Int, _ body: () throws -> R) rethrows -> R {
    try gate.alone {
      openblas_set_num_threads(Int32(count))
      defer { openblas_set_num_threads(1) }
      return try body()
    }
  }

  private static let gate = SharedLock()

  /// `c = alpha · a · bᵀ + beta · c` with `a` m × k, `b` n × k, `c` m × n, all row-major.
  package static func multiplyTransposed(
    _ a: UnsafePointer<Float>, stride strideA: Int, _ b: UnsafePointer<Float>, stride strideB: Int,
    into c: UnsafeMutablePointer<Float>, stride strideC: Int, m: Int, n: Int, k: Int, alpha: Float = 1,
    beta: Float = 0
  ) {
    guard m > 0, n > 0 else { return }
    gate.among {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, Int32(m), Int32(n), Int32(k), alpha, a, Int32(strideA), b,
        Int32(strideB), beta, c, Int32(strideC))
    }
  }

  /// `c = alpha · a · b + beta · c` with `a` m × k, `b` k × n, `c` m × n, all row-major.
  package static func multiply(
    _ a: UnsafePointer<Float>, stride strideA: Int, _ b: UnsafePointer<Float>, stride strideB: Int,
    into c: UnsafeMutablePointer<Float>, stride strideC: Int, m: Int, n: Int, k: Int, alpha: Float = 1,
    beta: Float = 0
  ) {
    guard m > 0, n > 0 else { return }
    gate.among {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(m), Int32(n), Int32(k), alpha, a, Int32(strideA), b,
        Int32(strideB), beta, c, Int32(strideC))
    }
  }

  /// `c = alpha · aᵀ · b + beta · c` with `a` k × m, `b` k × n, `c` m × n, all row-major.
  package static func multiplyTransposing(
    _ a: UnsafePointer<Float>, stride strideA: Int, _ b: UnsafePointer<Float>, stride strideB: Int,
    into c: UnsafeMutablePointer<Float>, stride strideC: Int, m: Int, n: Int, k: Int, alpha: Float = 1,
    beta: Float = 0
  ) {
    guard m > 0, n > 0 else { return }
    gate.among {
      cblas_sgemm(
        CblasRowMajor, CblasTrans, CblasNoTrans, Int32(m), Int32(n), Int32(k), alpha, a, Int32(strideA), b,
        Int32(strideB), beta, c, Int32(strideC))
    }
  }

  /// `a += alpha · x · yᵀ` with `a` m × n, row-major.
  package static func addOuterProduct(
    _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, alpha: Float, to a: UnsafeMutablePointer<Float>,
    stride: Int,
    m: Int, n: Int
  ) {
    guard m > 0, n > 0 else { return }
    gate.among { cblas_sger(CblasRowMajor, Int32(m), Int32(n), alpha, x, 1, y, 1, a, Int32(stride)) }
  }

  /// The lower Cholesky factor of the symmetric `n` × `n` matrix in `a`, in place; false where it is not positive definite.
  package static func choleskyLower(_ a: inout [Double], n: Int) -> Bool {
    LAPACKE_dpotrf(101, Int8(UInt8(ascii: "L")), Int32(n), &a, Int32(n)) == 0
  }

  /// The inverse of the lower triangular matrix in `a`, in place; false where it is singular.
  package static func invertLower(_ a: inout [Double], n: Int) -> Bool {
    LAPACKE_dtrtri(101, Int8(UInt8(ascii: "L")), Int8(UInt8(ascii: "N")), Int32(n), &a, Int32(n)) == 0
  }
}

/// A lock that many hold together, or one alone.
private final class SharedLock: @unchecked Sendable {
  // The lock guards itself.
  private let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)

  init() {
    var attributes = pthread_rwlockattr_t()
    pthread_rwlockattr_init(&attributes)
    #if canImport(Glibc)
    // Else those who hold it together may keep it forever.
    pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
    #endif
    pthread_rwlock_init(lock, &attributes)
  }

  func among(_ body: () -> Void) {
    pthread_rwlock_rdlock(lock)
    body()
    pthread_rwlock_unlock(lock)
  }

  func alone<R>(_ body: () throws -> R) rethrows -> R {
    pthread_rwlock_wrlock(lock)
    defer { pthread_rwlock_unlock(lock) }
    return try body()
  }
}
