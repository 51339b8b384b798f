#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Real servers that know nothing of the mesh, in one workload.
set -e
here=$(dirname "$0")
mkdir -p "$SCRATCH/files"
head -c 50000000 /dev/urandom >"$SCRATCH/files/large"
nginx -p "$SCRATCH" -c "$(realpath "$here/nginx.conf")" &
redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' --dir "$SCRATCH" >/dev/null &
# One serves one test at a time.
for port in 5201 5202; do iperf3 --server --port $port >/dev/null & done
wait
