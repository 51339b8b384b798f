// SPDX-License-Identifier: Apache-2.0

@main enum Empty { static func main() {} }
