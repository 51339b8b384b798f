#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A resolver with names that no other knows.
many=$(seq -f '--host-record=many.example,10.9.8.%g' 1 120)
# shellcheck disable=SC2086
exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= --log-queries \
    --log-facility=- --cache-size=0 --local=/example/ --local-ttl=60 --edns-packet-max=1232 \
    --host-record=private.example,10.9.9.9,fd00:9::9 --host-record=public.example,10.9.9.7 \
    --host-record=mesh-like.svc.cluster.local,10.9.9.8 $many
