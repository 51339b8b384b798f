#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a key and a certificate with openssl alone.
#   issue.sh DIRECTORY NAME URI START END [CA_CERTIFICATE CA_KEY]
# START and END are of the form YYYYMMDDHHMMSSZ. Without an authority it signs with a fresh one of its own.
set -e
mkdir -p "$1"
cd "$1"
name=$2 uri=$3 start=$4 end=$5 ca=$6 key=$7
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
if [ -z "$ca" ]; then
    ca=$PWD/$name-ca.pem key=$PWD/$name-ca.key
    new_key "$key"
    openssl req -x509 -new -key "$key" -subj /O=nobody/CN=root -days 30 -out "$ca" \
        -addext basicConstraints=critical,CA:TRUE -addext "subjectAltName=URI:spiffe://${uri#spiffe://}"
fi
new_key "$name.key"
openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
mkdir -p issued
: >index.txt
cat >ca.conf <<CONFIG
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = issued
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
x509_extensions = leaf
[any]
commonName = optional
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = critical,URI:$uri
authorityKeyIdentifier = keyid
CONFIG
openssl ca -batch -notext -config ca.conf -cert "$ca" -keyfile "$key" -startdate "$start" -enddate "$end" \
    -in "$name.csr" -out "$name.pem" 2>openssl.log || {
    cat openssl.log >&2
    exit 1
}
