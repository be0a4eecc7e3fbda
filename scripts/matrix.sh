#!/bin/sh
# Builds presence.so for Kamailio 6.0.1 of Debian 13, unpacked beside the installed one, and runs tests on it.
# usage: matrix.sh test ...   (names of test binaries)
set -eu
cargo=${CARGO:-cargo}
hosts=$(pwd)/target/hosts
variables=$(sh scripts/host.sh trixie "$hosts/trixie")
eval "$variables"
# Apart from what is built for the installed Kamailio.
export CARGO_TARGET_DIR="$hosts/build"
for name in "$@"; do
	tests="${tests:-} --test $name"
done
$cargo build --release --package presence
so=$CARGO_TARGET_DIR/release/presence.so
cp -f "$CARGO_TARGET_DIR/release/libpresence.so" "$so.new" && mv -f "$so.new" "$so"
# "stock" runs the tests with the module that this Kamailio came with.
export PRESENCE_SO="${PRESENCE_SO:-$so}"
# Left out: the table of the interface in README, which is about the installed Kamailio, and memcheck, for which valgrind
# wants the debug symbols of the other release's C library.
# shellcheck disable=SC2086
exec sh scripts/test.sh ${tests:?no test is named} -- --skip readme:: --skip memcheck::
