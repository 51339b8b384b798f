# SPDX-License-Identifier: Apache-2.0
"""A nodemesh on one machine: network namespaces as nodes and workloads. `Tools/lab` is its command line."""
