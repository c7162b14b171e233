// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// The layers, lowest first. A layer may import only what stands above it in this list.
let layers: [Target] = [
  .target(name: "CLatheKernels"),
  .systemLibrary(name: "COpenBLAS", providers: [.apt(["libopenblas-dev", "liblapacke-dev"])]),
  .systemLibrary(name: "CPCRE2", providers: [.apt(["libpcre2-dev"])]),
  .target(
    name: "LatheTensor", dependencies: ["CLatheKernels", "COpenBLAS"], swiftSettings: settings,
    linkerSettings: [.linkedLibrary("m", .when(platforms: [.linux, .android]))]),
  .target(name: "LatheFormats", dependencies: ["LatheTensor"], swiftSettings: settings),
  .target(name: "LatheEncoding", dependencies: ["LatheTensor"], swiftSettings: settings),
  .target(
    name: "LatheText",
    dependencies: ["LatheTensor", "CPCRE2", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
    swiftSettings: settings),
  .target(
    name: "LatheModel", dependencies: ["LatheFormats", "LatheEncoding", "LatheText"], swiftSettings: settings),
  .target(
    name: "LatheQuantize",
    dependencies: ["LatheModel", .product(name: "Crypto", package: "swift-crypto")], swiftSettings: settings),
  .target(
    name: "LatheEvaluate",
    dependencies: ["LatheModel", .product(name: "Crypto", package: "swift-crypto")],
    resources: [.embedInCode("TaskFiles")], swiftSettings: settings),
  .target(
    name: "LatheStudy",
    dependencies: [
      "LatheQuantize", "LatheEvaluate", .product(name: "Yams", package: "Yams"),
      .product(name: "GRDB", package: "GRDB.swift"), .product(name: "Mustache", package: "swift-mustache"),
    ],
    resources: [.embedInCode("Templates")], swiftSettings: settings),
  .executableTarget(
    name: "lathe",
    dependencies: ["LatheStudy", .product(name: "ArgumentParser", package: "swift-argument-parser")],
    swiftSettings: settings),
]

/// What several test targets share: where the data lies, how references are read.
let tests: [Target] = [
  .target(
    name: "LatheTestSupport", dependencies: ["LatheTensor"], path: "Tests/Support", swiftSettings: settings),
  .testTarget(
    name: "LatheTensorTests", dependencies: ["LatheTensor", "LatheTestSupport"], swiftSettings: settings),
  .testTarget(
    name: "LatheFormatsTests", dependencies: ["LatheFormats", "LatheTestSupport"], swiftSettings: settings),
  .testTarget(
    name: "LatheEncodingTests", dependencies: ["LatheEncoding", "LatheTestSupport"], swiftSettings: settings),
  .testTarget(
    name: "LatheTextTests", dependencies: ["LatheText", "LatheFormats", "LatheTestSupport"],
    swiftSettings: settings),
  .testTarget(
    name: "LatheModelTests", dependencies: ["LatheModel", "LatheTestSupport"], swiftSettings: settings),
  .testTarget(
    name: "LatheQuantizeTests", dependencies: ["LatheQuantize", "LatheEvaluate", "LatheTestSupport"],
    swiftSettings: settings),
  .testTarget(
    name: "LatheEvaluateTests", dependencies: ["LatheEvaluate", "LatheTestSupport"], exclude: ["Fixtures"],
    swiftSettings: settings),
  .testTarget(
    name: "LatheStudyTests", dependencies: ["LatheStudy", "LatheTestSupport"], swiftSettings: settings),
  .testTarget(
    name: "CommandTests", dependencies: ["lathe", "LatheTensor", "LatheTestSupport"], swiftSettings: settings),
]

let package = Package(
  name: "lathe",
  platforms: [.macOS(.v15), .iOS(.v18)],
  products: [
    .executable(name: "lathe", targets: ["lathe"]),
    .library(
      name: "LatheModel",
      targets: ["LatheModel", "LatheText", "LatheEncoding", "LatheFormats", "LatheTensor"]),
    .library(name: "LatheQuantize", targets: ["LatheQuantize"]),
    .library(name: "LatheEvaluate", targets: ["LatheEvaluate"]),
    .library(name: "LatheStudy", targets: ["LatheStudy"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: layers + tests,
  swiftLanguageModes: [.v6])
