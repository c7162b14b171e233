public import LatheTensor

/// What a machine has that decides how fast a model runs: memory, how fast it is read, how fast arithmetic is.
public struct Device: Codable, Hashable, Sendable {
  private enum CodingKeys: String, CodingKey {
    case name, title, source, efficiency
    case memory = "memory_bytes"
    case bandwidth = "bytes_per_second"
    case halfRate = "half_operations_per_second"
    case integerRate = "integer_operations_per_second"
    case byteRate = "byte_operations_per_second"
  }

  /// The name options take.
  public let name: String
  /// The name in tables.
  public let title: String
  /// The memory that weights and cache can take, in bytes.
  public let memory: Double
  /// Bytes read from memory a second.
  public let bandwidth: Double
  /// Operations a second on numbers of 16 bits, without sparsity; a product and a sum count as two.
  public let halfRate: Double
  /// Operations a second on whole numbers of 8 bits, without sparsity; where weights are codes of fewer bits.
  public let integerRate: Double
  /// Operations a second where weights are whole bytes, if they are slower; nil for the same.
  public var byteRate: Double?
  /// Where each figure is from.
  public let source: String
  /// What is reached of them.
  public let efficiency: Efficiency

  /// The share of a machine's rates that programs reach; 1 is the roofline itself.
  public struct Efficiency: Codable, Hashable, Sendable {
    /// The share of the bandwidth while one token after another is written.
    public var memory: Double
    /// The share of the rate of 16-bit products while a prompt is read.
    public var half: Double
    /// The share of the rate of 8-bit products while a prompt is read.
    public var integer: Double

    /// All that the data sheet has.
    public static let roofline = Efficiency(memory: 1, half: 1, integer: 1)

    /// What the kernels of this program reach: `lathe bench` against the rates measured beside it, on models of a
    /// billion weights that no cache holds, at 16 bits for `half`, at 4 and 8 bits for the others. To be measured again
    /// whenever kernels change.
    public static let ownKernels = Efficiency(memory: 0.96, half: 0.8, integer: 0.6)
  }

  /// The devices known, without sparsity. A new one is one entry here; its source says for each figure where it is from, and
  /// which of them the maker does not tell.
  public static let known: [Device] = [
    Device(
      name: "iphone-14", title: "iPhone 14 (A15)", memory: 6e9, bandwidth: 34.1e9, halfRate: 15.8e12,
      integerRate: 15.8e12,
      source:
        "memory: 6 GB of LPDDR4X at 4,266 million transfers a second (TrendForce, 2022; the size also in"
        + " iFixit's teardown), of which an app gets a part; bandwidth: that on 64 bits, a width Apple does"
        + " not tell; rates: Apple's 15.8·10¹² operations a second of the A15's Neural Engine (presentation of"
        + " the iPhone 13, September 2021), of which kind is not told: taken for both",
      efficiency: .roofline),
    Device(
      name: "laptop", title: "MacBook Air (M2)", memory: 16e9, bandwidth: 100e9, halfRate: 3.6e12,
      integerRate: 15.8e12,
      source:
        "Apple, \"Apple unveils M2\", June 2022 (apple.com/newsroom): 100 GB/s, 8 to 24 GB of memory, graphics"
        + " of 3.6·10¹² operations a second in single precision, taken for 16 bits, and a Neural Engine of"
        + " 15.8·10¹², of which kind is not told, taken for 8",
      efficiency: .roofline),
    Device(
      name: "a100", title: "NVIDIA A100 80 GB", memory: 80e9, bandwidth: 2039e9, halfRate: 312e12,
      integerRate: 624e12,
      source:
        "NVIDIA, A100 Tensor Core GPU data sheet (nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf), SXM:"
        + " 80 GB, 2,039 GB/s, 312·10¹² operations a second at 16 bits, 624·10¹² at 8",
      efficiency: .roofline),
    Device(
      name: "h100", title: "NVIDIA H100 SXM", memory: 80e9, bandwidth: 3350e9, halfRate: 989.4e12,
      integerRate: 1978.9e12,
      source:
        "NVIDIA, H100 Tensor Core GPU data sheet (nvidia.com/en-us/data-center/h100), SXM: 80 GB,"
        + " 3.35 TB/s; NVIDIA H100 Tensor Core GPU Architecture (white paper), SXM5, dense: 989.4·10¹²"
        + " operations a second at 16 bits, 1,978.9·10¹² at 8",
      efficiency: .roofline),
    Device(
      name: "h200", title: "NVIDIA H200 SXM", memory: 141e9, bandwidth: 4800e9, halfRate: 989.4e12,
      integerRate: 1978.9e12,
      source:
        "NVIDIA, H200 Tensor Core GPU data sheet (nvidia.com/en-us/data-center/h200), SXM: 141 GB, 4.8 TB/s, and"
        + " with sparsity twice the H100's rates: the same processor",
      efficiency: .roofline),
  ]

  /// The name of the machine at work.
  public static let ownName = "this"

  /// The machine at work, its rates measured now.
  public static func measured(team: ThreadTeam) -> Device {
    let meter = StreamMeter(team: team)
    let bandwidth = (0..<7).map { _ in meter.measure(team: team) }.median
    let rates = ArithmeticRates.measure(team: team)
    return Device(
      name: ownName, title: "this machine", memory: Double(Machine.memory), bandwidth: bandwidth,
      halfRate: rates.float, integerRate: rates.integer, byteRate: rates.byte,
      source: "\(Machine.processor), \(team.count) threads, \(Kernels.best.name), measured now",
      efficiency: .ownKernels)
  }

  /// The devices called `names`, the machine at work measured; all where there are no names.
  ///
  /// - Throws: `Problem` of kind `usage` for a name that is not known.
  public static func devices(named names: [String], team: ThreadTeam) throws(Problem) -> [Device] {
    let all = [ownName] + known.map(\.name)
    for name in names where !all.contains(name) {
      throw Problem(
        .usage, "no device is called \"\(name.prefix(40))\"", cure: "known are \(all.joined(separator: ", "))"
      )
    }
    return (names.isEmpty ? all : names).map { name in
      known.first { $0.name == name } ?? measured(team: team)
    }
  }
}
