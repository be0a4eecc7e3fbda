#!/bin/sh
# All tests of the workspace, and how many there were. Fails if one failed, or if there was none.
# usage: test.sh [arguments for cargo nextest run or cargo test]
# Needs target/release/presence.so (make build), or PRESENCE_SO: a path, or "stock" for Kamailio's own module.
set -eu
cargo=${CARGO:-cargo}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM

# The configuration in .config/nextest.toml is understood from this version on.
minimum=0.9.48
version=$($cargo nextest --version 2>/dev/null | sed -n '1s/^cargo-nextest \([0-9.]*\).*/\1/p') || version=
if [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$minimum" "$version" | sort -V | head -n 1)" = "$minimum" ]; then
	runner=nextest
	set -- nextest run --workspace --no-fail-fast --color never "$@"
else
	runner=test
	# cargo test runs one binary after the other; within one, tests mostly wait for packets.
	set -- test --workspace --no-fail-fast "$@"
	RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}
	export RUST_TEST_THREADS
fi

# The output is shown as it comes and read afterwards; the status is that of cargo, not of tee.
status=0
{ $cargo "$@" 2>&1 || echo "cargo ended with $?"; } | tee "$log"
! grep -q '^cargo ended with ' "$log" || status=1

# "Summary [ 1.2s] 16 tests run: 15 passed (1 slow), 1 failed, 2 skipped"; a test that was stopped counts as failed.
count_nextest() {
	sed -n 's/^ *Summary \[.*\] *//p' "$log" | awk '
		{
			split($1, run, "/"); total += run[1]
			for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i - 1); if ($i ~ /^skipped/) ignored += $(i - 1) }
		}
		END { print passed + 0, total - passed, ignored + 0 }'
}

# "test result: ok. 15 passed; 1 failed; 2 ignored; ...", once per binary.
count_test() {
	awk '/^test result: / { passed += $4; failed += $6; ignored += $8 } END { print passed + 0, failed + 0, ignored + 0 }' "$log"
}

# shellcheck disable=SC2046
set -- $(count_$runner)
echo "$1 passed, $2 failed, $3 ignored"
if [ $(($1 + $2)) = 0 ]; then
	echo "error: no test ran" >&2
	exit 1
fi
[ "$status" = 0 ] && [ "$2" = 0 ]
