internal import CLatheKernels

/// The parameters of one group of a stored block type, for some rows.
package struct StoredBlockParameters: Sendable {
  fileprivate let rows: Int
  fileprivate let parts: Int
  /// Whether the parameters were fitted under importances: codes of small blocks round differently then.
  fileprivate let isWeighed: Bool
  /// Scales of the blocks, then of their minimums; a value for each row.
  fileprivate var halves: [UInt16]
  /// The codes of the parts' scales, then of their minimums; part after part, a value for each row.
  fileprivate var partCodes: [Int16]
  /// The parts' scales, minimums, inverses and lows, likewise.
  fileprivate var numbers: [Float]

  fileprivate init(rows: Int, parts: Int, isWeighed: Bool) {
    (self.rows, self.parts, self.isWeighed) = (rows, parts, isWeighed)
    halves = [UInt16](repeating: 0, count: 2 * rows)
    partCodes = [Int16](repeating: 0, count: 2 * parts * rows)
    numbers = [Float](repeating: 0, count: 4 * parts * rows)
  }

  /// Takes over the parameters of `other` in the rows that `better` marks.
  package mutating func adopt(_ other: Self, where better: [Bool]) {
    for row in better.indices where better[row] {
      for i in stride(from: row, to: halves.count, by: rows) { halves[i] = other.halves[i] }
      for i in stride(from: row, to: partCodes.count, by: rows) { partCodes[i] = other.partCodes[i] }
      for i in stride(from: row, to: numbers.count, by: rows) { numbers[i] = other.numbers[i] }
    }
  }

  /// The kernels' view. What they are to read only is not written through it.
  fileprivate func withBlocks(_ body: (inout LatheBlocks) -> Void) {
    halves.withUnsafeBufferPointer { halves in
      partCodes.withUnsafeBufferPointer { codes in
        numbers.withUnsafeBufferPointer { numbers in
          guard let halves = halves.baseAddress, let codes = codes.baseAddress,
            let numbers = numbers.baseAddress
          else { return }
          let half = UnsafeMutablePointer(mutating: halves), code = UnsafeMutablePointer(mutating: codes)
          let number = UnsafeMutablePointer(mutating: numbers), n = parts * rows
          var blocks = LatheBlocks(
            rows: rows, half: half, half_minimum: half + rows, scale_code: code, minimum_code: code + n,
            scale: number, minimum: number + n, inverse: number + 2 * n, low: number + 3 * n)
          body(&blocks)
        }
      }
    }
  }

  fileprivate mutating func fill(_ body: (inout LatheBlocks) -> Void) {
    halves.withUnsafeMutableBufferPointer { halves in
      partCodes.withUnsafeMutableBufferPointer { codes in
        numbers.withUnsafeMutableBufferPointer { numbers in
          guard let half = halves.baseAddress, let code = codes.baseAddress, let number = numbers.baseAddress
          else { return }
          let n = parts * rows
          var blocks = LatheBlocks(
            rows: rows, half: half, half_minimum: half + rows, scale_code: code, minimum_code: code + n,
            scale: number, minimum: number + n, inverse: number + 2 * n, low: number + 3 * n)
          body(&blocks)
        }
      }
    }
  }
}

extension Kernels {
  /// Rounds whole rows of weights to blocks of `layout`.
  ///
  /// - Parameters:
  ///   - rows: `count` rows of `n` weights, contiguous.
  ///   - importance: what an error in each column counts for; nil if all alike.
  ///   - out: receives the blocks, row after row.
  /// - Returns: whether there are such blocks to write, and they fill the width.
  package func encode(
    _ rows: UnsafePointer<Float>, count: Int, _ n: Int, importance: [Float]?, as layout: StoredLayout,
    into out: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    guard let width = layout.bytes(perRow: n) else { return false }
    guard let importance else {
      return table.pointee.encode_rows(layout.index, rows, n, count, n, nil, out, width) != 0
    }
    return table.pointee.encode_rows(layout.index, rows, n, count, n, importance, out, width) != 0
  }

  /// The parameters of one block of each row of a weight.
  ///
  /// - Parameter columns: a block's columns, one in each row of the matrix.
  package func fitBlocks(_ columns: Matrix, importance: [Float]?, as layout: StoredLayout)
    -> StoredBlockParameters
  {
    precondition(columns.rows == layout.elementsPerBlock, "a whole block")
    var parameters = StoredBlockParameters(
      rows: columns.columns, parts: layout.elementsPerBlock > 32 ? 16 : 1, isWeighed: importance != nil)
    parameters.fill { blocks in
      if let importance {
        _ = table.pointee.fit_blocks(layout.index, columns.values, importance, &blocks)
      } else {
        _ = table.pointee.fit_blocks(layout.index, columns.values, nil, &blocks)
      }
    }
    return parameters
  }

  /// The codes nearest to column number `place` of a block, and the points they stand for.
  package func roundBlocks(
    _ column: UnsafePointer<Float>, at place: Int, under parameters: StoredBlockParameters,
    as layout: StoredLayout,
    codes: UnsafeMutablePointer<UInt8>, points: UnsafeMutablePointer<Float>
  ) {
    parameters.withBlocks { blocks in
      table.pointee.round_blocks(
        layout.index, column, place, parameters.isWeighed ? 1 : 0, &blocks, codes, points)
    }
  }

  /// Writes one block of each row, `stride` bytes apart, from codes that lie column after column.
  package func packBlocks(
    _ codes: UnsafePointer<UInt8>, under parameters: StoredBlockParameters, as layout: StoredLayout,
    into out: UnsafeMutablePointer<UInt8>, stride: Int
  ) {
    parameters.withBlocks { blocks in table.pointee.pack_blocks(layout.index, codes, &blocks, out, stride) }
  }
}
