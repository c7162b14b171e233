package import LatheTensor

extension EncodedMatrix {
  /// The matrix in tiles, for products with inputs rounded to bytes; nil where its encoding has no whole codes.
  ///
  /// Mapped pages are given up as they are done with, so that a weight is never held twice.
  ///
  /// - Parameters:
  ///   - isDelicate: whether the inputs have heavy tails, and are to be rounded with more care.
  ///   - later: leaves it to the second use to lay the matrix out, where it is sure that that can be done.
  package func tiled(
    isDelicate: Bool = false, later: Bool = false, team: ThreadTeam, with kernels: Kernels = .best
  ) -> Tiles? {
    guard let tiling = encoding.tiling(of: self) else { return nil }
    let tiles = Tiles(
      rows: rows, columns: columns, tiling: tiling, isDelicate: isDelicate, kernels: kernels,
      from: TileSource(
        stored: storedRows, bytes: byteRows(with: kernels),
        read: { row, codes in encoding.readCodes(of: self, row: row, into: codes, with: kernels) },
        finished: releasePages))
    if later && tiling.isTotal { return tiles }
    return tiles?.layOut(team: team) == true ? tiles : nil
  }

  private var storedRows: StoredRows? {
    encoding.storedLayout.map {
      StoredRows(
        parts[0].baseAddress.assumingMemoryBound(to: UInt8.self), bytesPerRow: parts[0].count / rows,
        layout: $0)
    }
  }

  private func byteRows(with kernels: Kernels) -> ByteRows? {
    encoding.byteCodes(of: self).map { codes in
      ByteRows(codes) { row, parameters in
        encoding.readParameters(of: self, row: row, into: parameters, with: kernels)
      }
    }
  }

  @Sendable private func releasePages(of rows: Range<Int>) {
    for (part, layout) in zip(parts, layouts) where !layout.isShared && !layout.spansRows {
      let width = part.count / self.rows
      part[rows.lowerBound * width..<rows.upperBound * width].releasePages()
    }
  }
}
