// swift-tools-version:6.1
import PackageDescription

// The protobuf and gRPC generators, apart from the product so that its build does not pay for them.
let package = Package(
    name: "protogen",
    dependencies: [
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
    ],
    targets: [.executableTarget(name: "protogen", path: ".", sources: ["Empty.swift"])]
)
