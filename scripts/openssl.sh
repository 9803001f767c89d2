#!/usr/bin/env bash
# Whether builds are to take the OpenSSL that is installed:  eval "$(scripts/openssl.sh)"
#
# Cargo compiles OpenSSL from source, so that a C compiler, perl and make are enough. That is the
# longest part of a first build. Where OpenSSL is installed with its headers (Debian: libssl-dev and
# pkg-config), this prints `export OPENSSL_NO_VENDOR=1`, which takes that one instead. Nothing is
# printed where the variable is set already; 0 asks for OpenSSL from source.
#
# A build with the other choice in the same target folder compiles all that uses OpenSSL again.
set -euo pipefail

if [ -z "${OPENSSL_NO_VENDOR:-}" ] && pkg-config --exists openssl 2>/dev/null; then
    echo "export OPENSSL_NO_VENDOR=1"
fi
