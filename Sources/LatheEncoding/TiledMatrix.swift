package import LatheTensor

extension EncodedMatrix {
  /// The matrix in tiles, for products with inputs rounded to bytes; nil where its encoding has no whole codes.
  ///
  /// Mapped pages are given up as they are done with, so that a weight is never held twice.
  ///
  /// - Parameter isDelicate: whether the inputs have heavy tails, and are to be rounded with more care.
  package func tiled(isDelicate: Bool = false, team: ThreadTeam, with kernels: Kernels = .best) -> Tiles? {
    guard let tiling = encoding.tiling(of: self) else { return nil }
    return Tiles(
      rows: rows, columns: columns, tiling: tiling, isDelicate: isDelicate, team: team, kernels: kernels,
      read: { row, codes in encoding.readCodes(of: self, row: row, into: codes, with: kernels) },
      finished: releasePages)
  }

  private func releasePages(of rows: Range<Int>) {
    for (part, layout) in zip(parts, layouts) where !layout.isShared && !layout.spansRows {
      let width = part.count / self.rows
      part[rows.lowerBound * width..<rows.upperBound * width].releasePages()
    }
  }
}
