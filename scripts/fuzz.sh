#!/bin/sh
# Runs the fuzzers in fuzz/, each for FUZZ_SECONDS (60), from the inputs that are kept, and prints what they did. Fails if
# one found something; what it found is left in target/fuzz/found.
# FUZZ_KEEP=1: what is new goes, minimized, into fuzz/corpus.
# usage: fuzz.sh [target ...]   (all without one)
set -eu
seconds=${FUZZ_SECONDS:-60}
work=$(pwd)/target/fuzz
. scripts/fuzz-toolchain.sh
[ $# -gt 0 ] || set -- $(fuzz list)

# The longest input that is tried: inputs that are kept stay small.
longest=4096
mkdir -p "$work/log" fuzz/corpus

# Inputs of a minimized corpus that are kept: 300 at most, of every length.
# Of sequences of operations those that reach a state or an event which no other does.
keep() {
	if [ "$1" = states ]; then
		mkdir -p fuzz/corpus/states
		${CARGO:-cargo} run --quiet -p fuzz-targets --bin choose -- "$work/corpus/states" fuzz/corpus/states >>"$log.cmin" 2>&1
		return
	fi
	rm -rf "fuzz/corpus/$1"
	mkdir -p "fuzz/corpus/$1"
	all=$(ls "$work/corpus/$1" | wc -l)
	ls -Sr "$work/corpus/$1" | awk -v all="$all" 'all <= 300 || int(NR * 300 / all) > int((NR - 1) * 300 / all)' |
		while read -r input; do
			cp "$work/corpus/$1/$input" "fuzz/corpus/$1/"
		done
}
rm -rf "$work/found"
status=0
printf '%-13s%12s%10s%10s%10s%10s\n' target inputs "per s" corpus edges found
for target in "$@"; do
	corpus=$work/corpus/$target
	mkdir -p "$corpus" "$work/found/$target"
	cp -n "fuzz/corpus/$target"/* "$corpus/" 2>/dev/null || true
	dictionary=
	[ ! -e "fuzz/dictionaries/$target.dict" ] || dictionary=-dict=$(pwd)/fuzz/dictionaries/$target.dict
	log=$work/log/$target
	found=no
	# shellcheck disable=SC2086
	if ! fuzz run --target-dir "$work/build" "$target" "$corpus" -- -max_total_time="$seconds" -max_len=$longest -timeout=60 \
		-artifact_prefix="$work/found/$target/" -print_final_stats=1 $dictionary >"$log" 2>&1; then
		found=yes status=1
	fi
	awk -v target="$target" -v found=$found '
		/ cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") edges = $(i + 1); if ($i == "corp:") split($(i + 1), corpus, "/") } }
		/^stat::number_of_executed_units:/ { inputs = $2 }
		/^stat::average_exec_per_sec:/ { speed = $2 }
		END { printf "%-13s%12s%10s%10s%10s%10s\n", target, inputs, speed, corpus[1], edges, found }' "$log"
	if [ "$found" = yes ]; then
		grep -m 1 -A 2 "panicked at\|ERROR: " "$log" || tail -n 20 "$log"
	fi
	if [ -n "${FUZZ_KEEP:-}" ] && [ "$found" = no ]; then
		[ "$target" = states ] || fuzz cmin --target-dir "$work/build" "$target" "$corpus" -- -max_len=$longest >"$log.cmin" 2>&1
		keep "$target"
	fi
done
[ ! -d fuzz/corpus ] || echo "kept: $(find fuzz/corpus -type f | wc -l) inputs, $(find fuzz/corpus -type f -exec cat {} + | wc -c) bytes"
${CARGO:-cargo} test --release --quiet -p fuzz-targets --test corpus -- --nocapture reaches 2>&1 | grep "in four modes\|^answers\|^not reached"
exit $status
