#!/bin/sh
# All long runs, one after the other. What fails does not keep the rest from being run.
set -eu
cd "$(dirname "$0")/.."

failed=
part() {
	name=$1
	shift
	if ! "$@"; then failed="$failed $name"; fi
}

part soak ${CARGO:-cargo} test --profile soak --no-fail-fast --test soak -- --include-ignored --test-threads 1 --nocapture
part storage ${CARGO:-cargo} test --profile soak --no-fail-fast --test storage --test faults -- --ignored --test-threads 1 --nocapture
part hostile make --no-print-directory hostile
if [ -n "$failed" ]; then
	echo "failed:$failed" >&2
	exit 1
fi
