// swift-tools-version: 6.2
import PackageDescription

// A package of its own: who builds Lathe needs none of what measures it.
let package = Package(
  name: "lathe-benchmarks",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "lathe", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "LatheBenchmarks",
      dependencies: [
        .product(name: "LatheModel", package: "lathe"), .product(name: "LatheEvaluate", package: "lathe"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "LatheBenchmarks",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ],
  swiftLanguageModes: [.v6])
