// SPDX-License-Identifier: Apache-2.0
import Testing

/// What the eBPF programs do to real sockets. One after the other, since the test process changes its cgroup.
@Suite(.serialized) struct KernelTests {}
