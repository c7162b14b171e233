internal import CLatheKernels

extension Tiles {
  /// `out[t] = W · x[t]` for `tokens` contiguous vectors and several matrices that meet the same ones.
  ///
  /// - Parameters:
  ///   - products: each matrix, and where its `tokens` rows of outputs go.
  ///   - steps: where vectors are whole multiples of a step, 127 of it at most, each vector's: they are not rounded again.
  package static func multiply(
    _ products: [(tiles: Tiles, out: UnsafeMutablePointer<Float>)], by x: UnsafePointer<Float>, tokens: Int,
    steps: UnsafePointer<Float>? = nil, inputs: TileInputs, team: ThreadTeam
  ) {
    var first = 0
    while first < products.count {
      func key(_ tiles: Tiles) -> InputKey {
        tiles.inputs(twice: steps == nil && tokens <= tiles.tokensRoundedTwice)
      }
      let shared = key(products[first].tiles), twice = shared.isTwice
      var end = first + 1
      while end < products.count, key(products[end].tiles) == shared { end += 1 }
      let packed = inputs.pack(
        x, tokens: tokens, as: shared, steps: steps, for: products[first].tiles, team: team)
      multiply(products[first..<end], by: packed, twice: twice, inputs: inputs, team: team)
      first = end
    }
  }

  private static func multiply(
    _ products: ArraySlice<(tiles: Tiles, out: UnsafeMutablePointer<Float>)>, by x: LatheTileInputs,
    twice: Bool, inputs: TileInputs, team: ThreadTeam
  ) {
    let bytes = products.reduce(0) { $0 + $1.tiles.byteCount }
    // A small product is done before another thread has heard of it.
    let threads = bytes * x.tokens < 48 << 10 ? 1 : team.count
    if threads == 1, products.allSatisfy({ $0.tiles.isReady }) {
      for product in products {
        product.tiles.multiply(0..<(product.tiles.rows + 15) / 16, by: x, twice: twice, into: product.out)
      }
      return
    }
    let shares = products.map { Share($0.tiles, $0.out, threads: threads, tokens: x.tokens, team) }
    let pieces = shares.reduce(0) { $0 + $1.pieces }
    guard shares.contains(where: { $0.source != nil }) else {
      if threads > 1, x.tokens <= 16 { return stream(shares, by: x, twice: twice, team) }
      run(pieces, threads, team) { piece in
        let (share, tiles) = find(piece, shares)
        share.tiles.multiply(tiles, by: x, twice: twice, into: share.out)
      }
      return
    }
    let panels = inputs.panels(threads, bytes: shares.reduce(0) { max($0, $1.panelBytes) }), next = Counter()
    // As many runs as threads, each with a panel of its own.
    run(threads, threads, team) { thread in
      while case let piece = next.take(), piece < pieces {
        let (share, tiles) = find(piece, shares)
        if let source = share.source {
          share.tiles.multiply(
            tiles, together: share.together, of: source, in: panels[thread], by: x, twice: twice,
            into: share.out)
        } else {
          share.tiles.multiply(tiles, by: x, twice: twice, into: share.out)
        }
      }
    }
  }

  /// Few vectors: each thread reads on where it was.
  private static func stream(_ shares: [Share], by x: LatheTileInputs, twice: Bool, _ team: ThreadTeam) {
    let count = shares.reduce(0) { $0 + $1.count }
    let tileBytes = shares.reduce(0) { $0 + $1.tiles.byteCount } / count
    team.share(count, grain: max(1, (32 << 10) / tileBytes)) { range in
      var first = 0
      for share in shares {
        let own = range.clamped(to: first..<first + share.count)
        if !own.isEmpty {
          let tiles = own.lowerBound - first..<own.upperBound - first
          share.tiles.multiply(tiles, by: x, twice: twice, into: share.out)
        }
        first += share.count
      }
    }
  }

  private static func run(_ pieces: Int, _ threads: Int, _ team: ThreadTeam, _ body: (Int) -> Void) {
    if threads > 1 { team.run(pieces, body) } else { for piece in 0..<pieces { body(piece) } }
  }

  private static func find(_ piece: Int, _ shares: [Share]) -> (share: Share, tiles: Range<Int>) {
    var piece = piece, index = 0
    while piece >= shares[index].pieces {
      piece -= shares[index].pieces
      index += 1
    }
    return (shares[index], shares[index].range(piece))
  }
}

/// One matrix among those that meet the same vectors, and how it is cut into pieces.
private struct Share {
  let tiles: Tiles
  let out: UnsafeMutablePointer<Float>
  /// Where rows come from; nil where tiles are laid out.
  let source: TileSource?
  /// All tiles, and the pieces they make.
  let count, pieces: Int
  /// Tiles that are laid out at once in passing.
  let together: Int
  private let panel: Int

  init(_ tiles: Tiles, _ out: UnsafeMutablePointer<Float>, threads: Int, tokens: Int, _ team: ThreadTeam) {
    (self.tiles, self.out) = (tiles, out)
    source = tiles.use(team)
    count = (tiles.rows + 15) / 16
    panel =
      threads == 1 && source == nil
      ? count : tiles.panel(threads: threads, tokens: tokens, isPassing: source != nil)
    pieces = (count + panel - 1) / panel
    together = tokens > 16 ? panel : 1
  }

  func range(_ piece: Int) -> Range<Int> {
    piece * panel..<min(count, (piece + 1) * panel)
  }

  var panelBytes: Int { source == nil ? 0 : tiles.panelBytes(tiles: together) }
}
