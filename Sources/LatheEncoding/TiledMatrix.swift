package import LatheTensor

extension EncodedMatrix {
  /// The matrix in tiles, for products with inputs rounded to bytes; nil where its encoding has no whole codes.
  package func tiled(team: ThreadTeam, with kernels: Kernels = .best) -> Tiles? {
    guard let tiling = encoding.tiling(columns: columns) else { return nil }
    return Tiles(rows: rows, columns: columns, tiling: tiling, team: team, kernels: kernels) { row, codes in
      encoding.readCodes(of: self, row: row, into: codes, with: kernels)
    }
  }

  /// Gives up the mapped pages of all parts; they are read again if they are used again.
  package func releasePages() {
    for part in parts { part.releasePages() }
  }
}
