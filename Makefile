# What a person types. `make help` lists it.
SO := target/release/presence.so
LIBDIR := $(or $(KAMAILIO_LIBDIR),/usr/lib/x86_64-linux-gnu/kamailio)
MODULES := $(or $(KAMAILIO_MODULES),$(LIBDIR)/modules)
CARGO := cargo
# Test binaries that run a real Kamailio with either module.
HOST_TESTS := host params answers abi rls rpc modules transports scripting storage golden hostile ghosts order kill faults
# Those that run on another Kamailio; the second row takes longer than the first.
MATRIX_TESTS := host params abi rls rpc scripting modules transports direct examples
MATRIX_LONG := storage golden hostile
# Everything that is built is below target/, also where CARGO_TARGET_DIR names a folder for all projects: tests, `make run`
# and `make install` take presence.so from there.
export CARGO_TARGET_DIR := $(CURDIR)/target
export KAMAILIO_MODULES := $(MODULES)

.PHONY: help run build test test-matrix test-matrix-all columns check headers install uninstall bench soak hostile fuzz
.PHONY: fuzz-seeded packages clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1|/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|'

packages:
	@sh scripts/install.sh build

headers: packages ## the source package of the installed Kamailio, for its headers
	@sh scripts/headers.sh

build: headers ## target/release/presence.so
	$(CARGO) build --release --package presence
	cp -f target/release/libpresence.so $(SO).new && mv -f $(SO).new $(SO)

run: build ## build, start Kamailio on loopback with SQLite, show the main job (ONCE=1: then stop)
	$(CARGO) run --release --quiet --package demo

test: build ## all tests
	@sh scripts/install.sh test
	@sh scripts/test.sh

test-matrix: ## the tests of a real Kamailio on 6.0.1 (Debian 13), unpacked beside the installed one
	@sh scripts/install.sh test
	@sh scripts/matrix.sh $(MATRIX_TESTS)

test-matrix-all: ## the same, with those that take long
	@sh scripts/install.sh test
	@sh scripts/matrix.sh $(MATRIX_TESTS) $(MATRIX_LONG)

columns: build ## the tests of a real Kamailio with this module and with the stock one, side by side
	@sh scripts/install.sh test
	@sh scripts/columns.sh $(HOST_TESTS)

check: headers ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

bench: build ## CPU, waiting, memory beside the stock module; results in benches/results (QUICK=1, FULL=1, BENCH="--setup qm")
	@sh scripts/install.sh test
	$(CARGO) run --release --quiet --package bench -- table $(if $(QUICK),--quick) $(if $(FULL),--full) $(BENCH)

soak: build ## long runs: load, leaks, bursts, kills, mutated messages, contention; all of them, whatever fails
	@sh scripts/install.sh test
	@sh scripts/soak.sh

hostile: build ## 200,000 mutated messages to a real Kamailio (HOSTILE_MESSAGES, HOSTILE_SEED), torture, bombs, what they cost
	@sh scripts/install.sh test
	@HOSTILE_MESSAGES=$(or $(HOSTILE_MESSAGES),200000) $(CARGO) test --profile soak --test hostile -- --test-threads 1 --nocapture

fuzz: ## the fuzzers of every parser and of the core (FUZZ_SECONDS each, FUZZ="event states"), and a table
	@sh scripts/fuzz.sh $(FUZZ)

fuzz-seeded: ## plants bugs in a copy of the sources and shows that the fuzzers find each (SEEDED_SECONDS)
	@sh scripts/fuzz-seeded.sh

install: build ## put presence.so into Kamailio's module folder, keeping the stock file
	@sh scripts/swap.sh install $(SO) $(MODULES)

uninstall: ## put the stock file back
	@sh scripts/swap.sh uninstall $(SO) $(MODULES)

clean: ## remove what was built
	$(CARGO) clean
