internal import LatheEncoding
public import LatheModel
public import LatheTensor

/// The mixes of block types that `llama-quantize` knows by name: which type each weight of a model gets.
///
/// Source: `llama_tensor_get_type_impl` of llama.cpp's `llama-quant.cpp`, the part that dense LLaMA-like models meet.
/// Most weights get the mix's base type; value and down projections of some layers, which suffer most, a wider one;
/// the head, or the embedding that serves as one, six bits.
public enum GGUFMix {
  /// A mix: its name, and the type most weights get.
  private enum Mix: String, CaseIterable {
    case q2_k, q2_k_s, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k
    case q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, iq4_xs

    var base: String {
      let parts = rawValue.split(separator: "_")
      return parts.count == 3 ? parts.prefix(2).joined(separator: "_") : rawValue
    }
  }

  /// The mixes' names, those of `llama-quantize` in small letters.
  public static let names = Mix.allCases.map(\.rawValue)

  /// The recipe that gives `model` the types of the mix called `name`.
  ///
  /// - Parameters:
  ///   - isWeighed: whether errors are to count by the energy of input channels, from calibration or an importance
  ///     matrix. Some mixes choose other types then.
  /// - Throws: `Problem` of kind `usage` where there is no such mix.
  public static func recipe(named name: String, for model: Model, isWeighed: Bool = false) throws(Problem)
    -> Recipe
  {
    guard let mix = Mix(rawValue: name) else {
      throw Problem(.usage, "unknown mix \"\(name)\"", cure: "known are \(names.joined(separator: ", "))")
    }
    let plain = try MethodDescription(name: "rtn").method
    let method = try MethodDescription(name: "rtn", setting: [("importance", "\(isWeighed)")]).method
    // Sites by type, in the order of their first appearance.
    var sites: [(type: String, sites: [String])] = []
    func add(_ site: String, _ type: String) {
      if let i = sites.firstIndex(where: { $0.type == type }) {
        sites[i].sites.append(site)
      } else {
        sites.append((type, [site]))
      }
    }
    for (layer, block) in model.blocks.enumerated() {
      for role in Role.allCases {
        guard let weight = block.weights[role]?.weight else { continue }
        // Query and key that are one tensor with value have its type.
        let tensor = model.architecture.ggufTensorNames.tensors.first { $0.contains(role) } ?? []
        let wanted = type(
          of: tensor.contains(.value) ? .value : role, layer: layer, in: mix, for: model.configuration,
          isWeighed: isWeighed)
        if let type = try fitting(wanted, columns: weight.columns) { add("\(Site(layer, role))", type) }
      }
    }
    var rules: [Rule] = []
    for (type, sites) in sites {
      rules.append(Rule(sites: sites.joined(separator: "|"), method: method, encoding: try grid(type)))
    }
    // Of the ends nothing is known that could weigh their errors.
    for (site, type) in try ends(of: model, in: mix) {
      rules.append(Rule(sites: site, method: plain, encoding: try grid(type)))
    }
    return Recipe(name: name, rules: compact(rules, for: model))
  }

  private static func grid(_ type: String) throws(Problem) -> any Grid {
    try EncodingCatalog.grid(for: GridRequest(bits: 4, groupSize: nil, isSymmetric: false, family: type))
  }

  /// The type, or the one that takes its place in rows of `columns`; nil where a weight stays as it is.
  private static func fitting(_ type: String, columns: Int) throws(Problem) -> String? {
    try grid(type).fitting(columns: columns)?.label.lowercased()
  }

  private static func ends(of model: Model, in mix: Mix) throws(Problem) -> [(String, String)] {
    let columns = model.embedding.columns
    // A row that does not hold whole blocks of the base type gets eight bits.
    let whole = try grid(mix.base).groupSize.map { columns % $0 == 0 } ?? true
    let head = !whole || mix == .q8_0 ? "q8_0" : "q6_k"
    var ends = [("embedding", model.head == nil ? head : mix.base)]
    if model.head != nil { ends.append(("head", head)) }
    var fit: [(String, String)] = []
    for (site, type) in ends {
      if let type = try fitting(type, columns: columns) { fit.append((site, type)) }
    }
    return fit
  }

  /// Whether a layer is among those that get more bits: the first and the last eighth, and every third between.
  private static func isFavoured(_ layer: Int, of layers: Int) -> Bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
  }

  private static func type(
    of role: Role, layer: Int, in mix: Mix, for c: Configuration, isWeighed: Bool
  ) -> String {
    let isEarly = layer < c.layers / 8
    switch role {
    case .value:
      let type = valueType(layer, mix, c)
      // Eight heads share the values of the 70B model.
      let isLarge = c.layers == 80 && c.heads != c.keyValueHeads
      return isLarge && (type == "q3_k" || type == "q4_k") ? "q5_k" : type
    case .down:
      switch mix {
      case .q2_k: return "q3_k"
      case .q2_k_s where isEarly: return "q4_k"
      case .q3_k_m: return layer < c.layers / 16 ? "q5_k" : "q4_k"
      case .q3_k_l: return "q5_k"
      case .q4_k_m where isFavoured(layer, of: c.layers): return "q6_k"
      case .q5_k_m where isFavoured(layer, of: c.layers): return "q6_k"
      case .q4_k_s where isEarly: return "q5_k"
      case .iq4_nl where isEarly && !isWeighed: return "q5_k"
      case .iq4_xs where isEarly && !isWeighed: return "q5_k"
      case .q4_0 where isEarly && isWeighed: return "q4_1"
      case .q5_0 where isEarly && isWeighed: return "q5_1"
      default: return mix.base
      }
    case .output:
      switch mix {
      case .q2_k: return "q3_k"
      case .q3_k_m: return "q4_k"
      case .q3_k_l: return "q5_k"
      default: return mix.base
      }
    case .query, .key, .gate, .up: return mix.base
    }
  }

  private static func valueType(_ layer: Int, _ mix: Mix, _ c: Configuration) -> String {
    let first = c[layer: 0], isShared = first.heads / max(first.keyValueHeads, 1) >= 4
    switch mix {
    case .q2_k: return isShared ? "q4_k" : "q3_k"
    case .q2_k_s where isShared: return "q4_k"
    case .q3_k_m: return layer < 2 ? "q5_k" : "q4_k"
    case .q3_k_l: return "q5_k"
    case .iq4_nl where isShared: return "q5_k"
    case .iq4_xs where isShared: return "q5_k"
    case .q4_k_m where isFavoured(layer, of: c.layers): return "q6_k"
    case .q5_k_m where isFavoured(layer, of: c.layers): return "q6_k"
    case .q4_k_s where layer < 4: return "q5_k"
    default: return mix.base
    }
  }

  /// The same rules in fewer words: the one that holds most sites goes last and takes all that are left, if all weights
  /// have a rule.
  private static func compact(_ rules: [Rule], for model: Model) -> [Rule] {
    let weights = model.blocks.reduce(0) { $0 + $1.weights.count }
    func count(_ rule: Rule) -> Int { rule.sites.split(separator: "|").filter { $0.contains(".") }.count }
    guard rules.reduce(0, { $0 + count($1) }) == weights,
      let most = rules.indices.max(by: { count(rules[$0]) < count(rules[$1]) })
    else { return rules }
    var left = rules
    var last = left.remove(at: most)
    last.sites = "*"
    return left + [last]
  }
}
