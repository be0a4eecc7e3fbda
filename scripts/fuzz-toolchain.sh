# To be read by the fuzzers' scripts: defines `fuzz`, which is cargo-fuzz with a compiler that it can use.
# A nightly compiler is taken where there is one. The stable one does without it, but for AddressSanitizer: the crates that
# are fuzzed have no unsafe code, so nothing is lost but the checks of its limits.
if ! ${CARGO:-cargo} fuzz --version >/dev/null 2>&1; then
	echo "error: cargo-fuzz is not installed: cargo install cargo-fuzz" >&2
	exit 1
fi
if ! command -v c++ >/dev/null 2>&1; then
	echo "error: there is no C++ compiler, which libFuzzer is built with: apt-get install g++" >&2
	exit 1
fi
if command -v rustup >/dev/null 2>&1 && rustup toolchain list 2>/dev/null | grep -q ^nightly; then
	fuzz_toolchain=+nightly
else
	RUSTC_BOOTSTRAP=1
	export RUSTC_BOOTSTRAP
	fuzz_toolchain=
fi

# Everything but the lists is built without AddressSanitizer: it makes each input cost several times as much.
fuzz() {
	fuzz_command=$1
	shift
	case $fuzz_command in
	list) ${CARGO:-cargo} $fuzz_toolchain fuzz list ;;
	*) ${CARGO:-cargo} $fuzz_toolchain fuzz "$fuzz_command" --sanitizer "${FUZZ_SANITIZER:-none}" "$@" ;;
	esac
}
