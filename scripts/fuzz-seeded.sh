#!/bin/sh
# Plants bugs, one at a time, in a copy of the sources (fuzz/seeded/*.patch), and shows that the fuzzer of that place finds
# each: within SEEDED_SECONDS (60) from no input at all, or else within as long from the inputs that are kept. Fails if one
# is not found.
set -eu
seconds=${SEEDED_SECONDS:-60}
work=$(pwd)/target/seeded
tree=$work/tree
. scripts/fuzz-toolchain.sh

rm -rf "$tree"
mkdir -p "$tree" "$work/log"
tar cf - --exclude=./target --exclude=./.git --exclude=./fuzz/corpus --exclude=./fuzz/target . | tar xf - -C "$tree"

status=0 planted=0 caught=0
printf '%-22s%-13s%9s%11s%9s  %s\n' bug target from inputs seconds "found by"
for patch in fuzz/seeded/*.patch; do
	name=$(basename "$patch" .patch)
	target=$(sed -n 's/^target: //p' "$patch")
	log=$work/log/$name
	patch --quiet --directory="$tree" --strip=1 <"$patch"
	rm -rf "$work/corpus" "$work/found"
	mkdir -p "$work/corpus" "$work/found"
	dictionary=
	[ ! -e "fuzz/dictionaries/$target.dict" ] || dictionary=-dict=$(pwd)/fuzz/dictionaries/$target.dict
	(cd "$tree" && fuzz build --target-dir "$work/build" "$target") >"$log.build" 2>&1 || { cat "$log.build"; exit 1; }
	for from in nothing kept; do
		[ $from = nothing ] || cp "fuzz/corpus/$target"/* "$work/corpus/"
		start=$(date +%s.%N)
		# shellcheck disable=SC2086
		(cd "$tree" && fuzz run --target-dir "$work/build" "$target" "$work/corpus" -- -max_total_time="$seconds" \
			-max_len=4096 -artifact_prefix="$work/found/" -print_final_stats=1 $dictionary) >"$log" 2>&1 || true
		took=$(echo "$(date +%s.%N) $start" | awk '{ printf "%.1f", $1 - $2 }')
		inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		found=no
		[ -z "$(ls "$work/found")" ] || found=yes
		[ $found = no ] || break
	done
	patch --quiet --directory="$tree" --strip=1 --reverse <"$patch"
	planted=$((planted + 1))
	if [ $found = yes ]; then
		caught=$((caught + 1))
		how=$(grep -m 1 -A 1 'panicked at' "$log" | tail -n 1 | cut -c 1-60)
	else
		status=1
		how="NOT FOUND"
	fi
	printf '%-22s%-13s%9s%11s%9s  %s\n' "$name" "$target" $from "$inputs" "$took" "$how"
done
echo "$caught of $planted found"
[ $planted -gt 0 ] && exit $status
