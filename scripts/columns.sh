#!/bin/sh
# Runs the tests of a real Kamailio twice, with this project's presence.so and with Kamailio's own, and prints both
# columns. Why the stock module fails where it does stands in tests/STOCK.md.
# What each test said is left in target/columns/.
# usage: columns.sh test ...   (names of test binaries)
set -eu
cargo=${CARGO:-cargo}
logs=target/columns
mkdir -p "$logs"
ours=${PRESENCE_SO:-}
for name in "$@"; do
	tests="${tests:-} --test $name"
done
# shellcheck disable=SC2086
$cargo test --no-run ${tests:?no test is named} 2>&1 | tail -n 1
for module in ours stock; do
	[ "$module" = stock ] && PRESENCE_SO=stock || PRESENCE_SO=$ours
	export PRESENCE_SO
	echo "running with the module: $module" >&2
	# A test that fails is for the table to judge.
	# shellcheck disable=SC2086
	$cargo test --no-fail-fast $tests -- --show-output --test-threads "${RUST_TEST_THREADS:-4}" >"$logs/$module" 2>&1 || true
done
$cargo run --quiet --package testkit --bin columns -- "$logs/ours" "$logs/stock" tests/STOCK.md
