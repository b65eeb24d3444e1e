#!/bin/sh
# Writes Redis's password into a file that its users read: make_password.sh FILE
#
# It is ROWMILL_REDIS_PASSWORD, or else what was written before, or else a new one.
set -eu
file=$1
if [ -n "${ROWMILL_REDIS_PASSWORD:-}" ]; then
  printf %s "$ROWMILL_REDIS_PASSWORD" >"$file.new"
elif [ ! -s "$file" ]; then
  head -c 32 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_' >"$file.new"
else
  exit 0
fi
# The processes that read it run as another user; nobody else has the volume that it lies in.
chmod 444 "$file.new"
mv "$file.new" "$file"
