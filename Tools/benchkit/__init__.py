# SPDX-License-Identifier: Apache-2.0
"""Measures nodemesh beside what one would use in its place. `Tools/bench` is its command line.

    world      the two nodes: namespaces, cgroups, processes, CPU time; and taking them away
    tools      programs the benchmark needs, and installing them
    certificates, envoy, haproxy, nginx, nodemesh, peers
               what is measured
    steps      what is measured of it, and reading what the load generators print
    check      that what is measured does what it should, before it is timed
    runner     the order of things, noise, repetitions
    counts     system calls and instructions
    results    samples, medians and ratios
    goals, tables, picture
               what comes out
"""
