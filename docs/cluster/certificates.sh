#!/bin/sh
# An authority of one's own, and one certificate that it signs, for the scheduler, the workers and mongopg-tui.
# Usage: sh certificates.sh FOLDER
# Dask does not compare host names with certificates: who has node-key.pem belongs to the cluster. Keep both keys to yourself.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj "/CN=mongopg cluster" -keyout ca-key.pem -out ca.pem
openssl req -newkey rsa:3072 -nodes -subj "/CN=mongopg node" -keyout node-key.pem -out node.csr
openssl x509 -req -in node.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 -out node.pem
rm -f node.csr ca.srl
