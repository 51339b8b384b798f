// swift-tools-version:6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

// Dependencies by role, so that each target below reads as the list of what it may know.
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let signals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let hummingbirdTLS: Target.Dependency = .product(name: "HummingbirdTLS", package: "hummingbird")
let hummingbirdTesting: Target.Dependency = .product(name: "HummingbirdTesting", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let grpc: Target.Dependency = .product(name: "GRPCCore", package: "grpc-swift-2")
let grpcTransport: Target.Dependency = .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let grpcProtobuf: Target.Dependency = .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")

let package = Package(
    name: "nodemesh",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "nodemeshd", targets: ["nodemeshd"]),
        .executable(name: "nodemesh-control", targets: ["nodemesh-control"]),
        .executable(name: "nodemeshctl", targets: ["nodemeshctl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    // Each target may depend only on targets listed above it.
    targets: [
        .systemLibrary(name: "CMeshABI", path: "bpf/include"),
        // Tests script the kernel's answers in debug builds.
        .target(name: "CMeshLinux", cSettings: [.define("NM_FAULTS", .when(configuration: .debug))]),
        .target(name: "CMeshAEAD", linkerSettings: [.linkedLibrary("dl")]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CLibBPF", pkgConfig: "libbpf", providers: [.apt(["libbpf-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

        .executableTarget(name: "embed-program", path: "Tools/embed-program", swiftSettings: settings),
        .plugin(
            name: "EmbedPrograms", capability: .buildTool(), dependencies: ["embed-program"],
            path: "Tools/EmbedPrograms"),
        .target(name: "MeshPrograms", swiftSettings: settings, plugins: ["EmbedPrograms"]),

        .target(name: "MeshModel", swiftSettings: settings),
        .target(name: "MeshAdminAPI", swiftSettings: settings),
        .target(name: "MeshResources", dependencies: ["MeshModel", "MeshAdminAPI", yams], swiftSettings: settings),
        .target(
            name: "MeshConfiguration", dependencies: ["MeshModel", "MeshAdminAPI", "MeshResources", log],
            swiftSettings: settings),
        .target(
            name: "MeshExplain", dependencies: ["MeshModel", "MeshAdminAPI", "MeshResources"], swiftSettings: settings),
        .target(
            name: "MeshAPI", dependencies: [grpc, protobuf, grpcProtobuf], exclude: ["proto"], swiftSettings: settings),
        .target(name: "MeshLinux", dependencies: ["CMeshLinux"], swiftSettings: settings),
        .target(
            name: "MeshDNS", dependencies: ["MeshModel", "MeshLinux", collections, log], swiftSettings: settings),
        .target(
            name: "MeshSteering",
            dependencies: ["CMeshABI", "CMeshLinux", "CLibBPF", "MeshPrograms", "MeshModel", "MeshLinux", log],
            swiftSettings: settings),
        .target(
            name: "MeshTunnel", dependencies: ["CMeshAEAD", "COpenSSL", "MeshModel", "MeshLinux"],
            swiftSettings: settings),
        .target(
            name: "MeshProxy", dependencies: ["CMeshLinux", "MeshModel", "MeshLinux", "MeshTunnel", log],
            swiftSettings: settings),
        .target(
            name: "MeshIdentity", dependencies: ["MeshModel", x509, crypto, log], swiftSettings: settings),
        .target(
            name: "MeshDiscovery",
            dependencies: ["MeshModel", "MeshAPI", grpc, protobuf, crypto, log, collections],
            swiftSettings: settings),
        .target(
            name: "MeshStore", dependencies: ["MeshModel", "MeshResources", grdb, log], swiftSettings: settings),
        .target(
            name: "MeshTelemetry", dependencies: ["MeshModel", "MeshLinux", "MeshAdminAPI", log, collections],
            swiftSettings: settings),
        .target(
            name: "MeshTraces",
            dependencies: [
                "MeshModel", "MeshAPI", "MeshTelemetry", httpClient, protobuf, nio, nioHTTP1, nioTLS, lifecycle, log,
            ],
            swiftSettings: settings),
        .target(
            name: "MeshAgent",
            dependencies: [
                "MeshModel", "MeshAPI", "MeshLinux", "MeshDNS", "MeshSteering", "MeshTunnel", "MeshProxy",
                "MeshIdentity", "MeshDiscovery", "MeshTelemetry", "MeshTraces", "MeshAdminAPI", "MeshResources",
                "MeshConfiguration", "MeshExplain", log, lifecycle, signals,
                hummingbird, hummingbirdCore, grpc, grpcTransport, grpcProtobuf, protobuf, nio, nioTLS, x509, yams,
            ],
            swiftSettings: settings),
        .target(
            name: "MeshControl",
            dependencies: [
                "MeshModel", "MeshLinux", "MeshResources", "MeshConfiguration", "MeshAPI", "MeshIdentity",
                "MeshDiscovery", "MeshStore", "MeshTelemetry", "MeshAdminAPI", "MeshExplain", log, lifecycle, signals,
                hummingbird, hummingbirdCore,
                hummingbirdTLS, httpTypes, grpc, grpcTransport, grpcProtobuf, protobuf, nio, nioPosix, nioTLS, x509,
                crypto, yams,
            ],
            swiftSettings: settings),
        .target(
            name: "MeshCLI",
            dependencies: [
                "CZlib", "MeshModel", "MeshAdminAPI", "MeshConfiguration", "MeshSteering", "MeshLinux", arguments,
                httpClient,
                nio,
                nioPosix, nioHTTP1, nioTLS, yams,
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "nodemeshd",
            dependencies: ["MeshModel", "MeshConfiguration", "MeshSteering", "MeshAgent", arguments],
            swiftSettings: settings),
        .executableTarget(
            name: "nodemesh-control",
            dependencies: ["MeshConfiguration", "MeshTelemetry", "MeshControl", arguments, log],
            swiftSettings: settings),
        .executableTarget(name: "nodemeshctl", dependencies: ["MeshCLI"], swiftSettings: settings),

        // Runs in a virtual machine, whose first file system has to hold all that it links.
        .executableTarget(
            name: "tunnel-vmtest",
            dependencies: ["COpenSSL", "MeshModel", "MeshLinux", "MeshTunnel", "MeshProxy", log],
            path: "Tests/tunnel-vmtest", swiftSettings: settings),
        .testTarget(name: "VMTests", swiftSettings: settings),
        .testTarget(
            name: "IntegrationTests", dependencies: ["MeshAdminAPI"], exclude: ["Resources"], swiftSettings: settings),
        .testTarget(name: "MeshModelTests", dependencies: ["MeshModel"], swiftSettings: settings),
        .testTarget(
            name: "MeshResourcesTests", dependencies: ["MeshResources", "MeshModel", "MeshAdminAPI"],
            swiftSettings: settings),
        .testTarget(
            name: "MeshConfigurationTests", dependencies: ["MeshConfiguration", "MeshModel"], swiftSettings: settings),
        .testTarget(
            name: "KernelTests",
            dependencies: ["MeshSteering", "MeshPrograms", "MeshLinux", "MeshModel", "CMeshABI", "CLibBPF", log],
            swiftSettings: settings),
        .testTarget(
            name: "MeshIdentityTests", dependencies: ["MeshIdentity", "MeshModel", x509, crypto],
            swiftSettings: settings),
        .testTarget(
            name: "MeshDiscoveryTests", dependencies: ["MeshDiscovery", "MeshModel", "MeshAPI", protobuf],
            swiftSettings: settings),
        .testTarget(
            name: "MeshExplainTests", dependencies: ["MeshExplain", "MeshModel", "MeshAdminAPI"],
            swiftSettings: settings),
        .testTarget(
            name: "MeshAgentTests",
            dependencies: [
                "MeshAgent", "MeshTelemetry", "MeshIdentity", "MeshDiscovery", "MeshAPI", "MeshModel", "MeshAdminAPI",
                "MeshConfiguration", "MeshLinux", "MeshDNS", "MeshProxy", grpc,
                grpcTransport, protobuf, nio, nioPosix, nioTLS, x509, log,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "MeshDNSTests", dependencies: ["MeshDNS", "MeshModel", "MeshLinux", log], swiftSettings: settings),
        .testTarget(name: "MeshLinuxTests", dependencies: ["MeshLinux", "CMeshLinux"], swiftSettings: settings),
        .testTarget(
            name: "MeshSteeringTests",
            dependencies: ["MeshSteering", "CMeshABI", "MeshPrograms", "MeshLinux", "MeshModel"],
            swiftSettings: settings),
        .testTarget(
            name: "MeshStoreTests", dependencies: ["MeshStore", "MeshModel", "MeshResources", grdb],
            swiftSettings: settings),
        .testTarget(
            name: "MeshTelemetryTests", dependencies: ["MeshTelemetry", "MeshModel", "MeshLinux", "MeshAdminAPI", log],
            swiftSettings: settings),
        .testTarget(
            name: "MeshTracesTests",
            dependencies: ["MeshTraces", "MeshTelemetry", "MeshModel", "MeshAPI", protobuf, log],
            swiftSettings: settings),
        .testTarget(
            name: "MeshControlTests",
            dependencies: [
                "MeshControl", "MeshStore", "MeshModel", "MeshResources", "MeshAPI", "MeshIdentity", "MeshDiscovery",
                "MeshAdminAPI", "MeshConfiguration", "MeshTelemetry", log, lifecycle, hummingbird, hummingbirdTesting,
                httpTypes, grpc,
                grpcTransport, nio, nioEmbedded,
                protobuf, x509,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "MeshTunnelTests", dependencies: ["MeshTunnel", "MeshIdentity", "MeshModel", "COpenSSL"],
            swiftSettings: settings),
        .testTarget(
            name: "MeshProxyTests",
            dependencies: [
                "MeshProxy", "MeshTunnel", "MeshIdentity", "MeshModel", "MeshLinux", "CMeshLinux", log,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "NodemeshctlTests",
            dependencies: ["MeshCLI", "MeshAdminAPI", "MeshModel", "MeshLinux", "MeshSteering", arguments],
            exclude: ["Snapshots"], swiftSettings: settings),
    ]
)
