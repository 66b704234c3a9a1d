// swift-tools-version: 6.1
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "gatehouse",
    products: [
        .executable(name: "gatehouse", targets: ["gatehouse"])
    ],
    dependencies: [
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    ],
    targets: [
        // One system-library target per C library; each is imported by exactly one Swift target.
        .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "CHTTPParser", providers: [.apt(["libhttp-parser-dev"])]),
        .systemLibrary(name: "CLibevent", pkgConfig: "libevent_core", providers: [.apt(["libevent-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "COpenSSLTLS", pkgConfig: "libssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Files of text (migrations, kernels) become part of the binary.
        .executableTarget(name: "embed-files", swiftSettings: settings),
        .plugin(name: "EmbedFiles", capability: .buildTool(), dependencies: ["embed-files"]),

        // The core: pure, no Foundation, no I/O, no clock.
        .target(name: "Machine", swiftSettings: settings),
        .target(name: "XenPV", dependencies: ["Machine"], swiftSettings: settings),
        .target(name: "Assembler", dependencies: ["Machine"], swiftSettings: settings),
        .target(
            name: "EntryCode", dependencies: ["Assembler", "XenPV", "Machine"], swiftSettings: settings,
            plugins: ["EmbedFiles"]),
        .target(
            name: "Verification", dependencies: ["EntryCode", "Assembler", "XenPV", "Machine"], swiftSettings: settings,
            plugins: ["EmbedFiles"]),

        // Kernel trees, patches and mails into entry tables; pure as well.
        .target(name: "KernelSource", dependencies: ["EntryCode", "Assembler", "XenPV"], swiftSettings: settings),

        .target(
            name: "Reports", dependencies: ["Verification", "EntryCode", "Assembler", "XenPV", "Machine"],
            swiftSettings: settings),
        .target(
            name: "Store", dependencies: ["Reports", "COpenSSL", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: settings, plugins: ["EmbedFiles"]),
        .target(
            name: "HTTPWire",
            dependencies: ["CNghttp2", "CHTTPParser", .product(name: "HTTPTypes", package: "swift-http-types")],
            swiftSettings: settings),
        .target(
            name: "HTTPTransport", dependencies: ["HTTPWire", "CLibevent", "COpenSSLTLS"], swiftSettings: settings),
        .target(
            name: "API",
            dependencies: [
                "Store", "Reports", "KernelSource", "Verification", "EntryCode", "XenPV", "HTTPWire", "CZlib",
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: settings),
        .target(
            name: "Service",
            dependencies: [
                "API", "HTTPTransport", "HTTPWire", "Store", "Reports", "Verification", "EntryCode", "CMalloc",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "gatehouse",
            dependencies: [
                "Service", "API", "Store", "Reports", "KernelSource", "Verification", "EntryCode", "XenPV",
                "HTTPTransport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),

        // What tests of several targets use.
        .target(name: "TestSupport", dependencies: ["Machine"], path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(
            name: "MachineTests", dependencies: ["Machine", "Assembler", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "XenPVTests", dependencies: ["XenPV", "Assembler", "Machine"], swiftSettings: settings),
        .testTarget(
            name: "AssemblerTests", dependencies: ["Assembler", "Machine", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "EntryCodeTests", dependencies: ["EntryCode", "Assembler", "Machine", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "VerificationTests", dependencies: ["Verification", "EntryCode", "XenPV", "Machine", "TestSupport"],
            exclude: ["Fixtures"], swiftSettings: settings),
        .testTarget(
            name: "KernelSourceTests",
            dependencies: ["KernelSource", "Reports", "Verification", "EntryCode", "Assembler", "TestSupport"],
            exclude: ["Fixtures"], swiftSettings: settings),
        .testTarget(
            name: "RandomTests",
            dependencies: ["Reports", "Verification", "EntryCode", "Assembler", "XenPV", "Machine", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "ReportsTests", dependencies: ["Reports", "Verification", "EntryCode"], swiftSettings: settings),
        .testTarget(name: "StoreTests", dependencies: ["Store"], swiftSettings: settings),
        // The client side of HTTP/2 for the tests of both HTTP targets.
        .target(
            name: "HTTPTestSupport", dependencies: ["CNghttp2"], path: "Tests/HTTPTestSupport", swiftSettings: settings),
        .testTarget(name: "HTTPWireTests", dependencies: ["HTTPWire", "HTTPTestSupport"], swiftSettings: settings),
        .testTarget(
            name: "HTTPTransportTests",
            dependencies: [
                "HTTPTransport", "HTTPWire", "HTTPTestSupport",
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "APITests",
            dependencies: [
                "API", "Service", "HTTPTransport", "HTTPWire", "Store", "EntryCode", "KernelSource", "Verification",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "EndToEndTests", dependencies: ["gatehouse", "HTTPTestSupport"], swiftSettings: settings),
    ]
)

// Benchmarks share the package, because our targets use `package` access; they are declared only when asked for, so that
// nobody else resolves or builds their dependencies: GATEHOUSE_BENCHMARKS=1 swift package benchmark
if Context.environment["GATEHOUSE_BENCHMARKS"] != nil {
    package.dependencies.append(
        .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []))
    package.targets.append(
        .executableTarget(
            name: "CoreBenchmarks",
            dependencies: [
                .product(name: "Benchmark", package: "benchmark"), "Machine", "Assembler", "EntryCode", "Verification",
                "Reports", "Store",
            ],
            path: "Benchmarks/CoreBenchmarks", swiftSettings: settings,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]))
}
