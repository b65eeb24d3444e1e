#!/bin/sh
# Becomes a Redis server that knows the users of users.acl: start.sh PASSWORD_FILE OPTION…
#
# A file of users takes no comments, so here is what it says. Who comes without a password is nobody.
# The user `rowmill` may use what Rowmill, Celery and Flower keep in Redis: values, scripts and
# channels. It may not list all keys, drop a database, or see, change or stop the server; INFO tells
# the store how much memory is left. PASSWORD_SHA256 becomes the checksum of the password.
set -eu
umask 077
password_file=$1
shift
sum=$(sha256sum <"$password_file" | cut -d ' ' -f 1)
users=${TMPDIR:-/tmp}/users.acl
sed "s/PASSWORD_SHA256/$sum/" "$(dirname "$0")/users.acl" >"$users"
exec "${REDIS_SERVER:-redis-server}" --aclfile "$users" "$@"
