# The doors: make demo, make test, make model, make soak, make bench, make lint.
#
# What is missing is installed: Debian packages where apt-get is there, Python packages into
# $(ALLUVIUM_CACHE_DIR). Builds go to $(ALLUVIUM_TARGET_DIR), which clones can share.

export ALLUVIUM_CACHE_DIR ?= $(HOME)/.cache/alluvium
# A target directory that an earlier clone left in the cache is used again.
export ALLUVIUM_TARGET_DIR ?= $(or $(wildcard $(ALLUVIUM_CACHE_DIR)/target),$(CURDIR)/target)
export CARGO_TARGET_DIR := $(ALLUVIUM_TARGET_DIR)

PLUGINS := $(ALLUVIUM_TARGET_DIR)/plugins
# The plugins' logic is tested natively, beside the engine's own build.
NATIVE := $(ALLUVIUM_TARGET_DIR)/plugins-native
COMMAND := $(ALLUVIUM_TARGET_DIR)/debug/alluvium
# What is compiled of the workspace, by the demo, tests and lints alike: one build of Lance, with every object store.
WORKSPACE := --locked --workspace --features alluvium/azure,alluvium/gcp
DEMO ?= $(CURDIR)/demo-output
TEXT ?= a cat
# How long make fuzz runs each fuzzer.
FUZZ_SECONDS ?= 600
# How long each step of make soak may take before it counts as hanging.
SOAK_LIMIT ?= 3h

.PHONY: help demo test test-build test-workspace test-plugins soak model lint format-check lint-workspace lint-plugins format bench bench-ingest bench-log bench-tiering bench-transform fuzz fuzz-smoke miri build plugins setup setup-python

help:
	@echo 'make demo   photos to searchable Lance rows (TEXT="a cat" is what it looks for)'
	@echo 'make test   every test: unit, documentation, plugins, end to end'
	@echo 'make soak   the long forms of the tests: the log killed 500 times, more batches, more schedules, storms and power losses over a lake, thousands of rounds drawn; whatever takes longer than SOAK_LIMIT (3h) is ended'
	@echo 'make model  the log under a model checker: ALLUVIUM_SCHEDULES (200) orders of its threads per model and scheduler'
	@echo 'make lint   rustfmt, clippy, rustdoc'
	@echo 'make fuzz   the fuzzers, FUZZ_SECONDS (600) each; make fuzz-smoke: only their seeds'
	@echo 'make miri   under Miri (nightly) the tests of the log that it can run'
	@echo 'make bench  the benchmarks, in release mode (a first build takes most of an hour on two cores)'
	@echo 'make bench-ingest  only appends, beside the peers, into benches/results/'
	@echo 'make bench-log     the same of the log alone, which compiles in minutes; prints the ratios'

setup:
	@scripts/setup tools

setup-python:
	@scripts/setup python

plugins: setup
	scripts/build-plugins $(PLUGINS)

build: setup
	cargo build $(WORKSPACE) --bin alluvium

demo: build
	scripts/build-plugins $(PLUGINS) rust
	scripts/demo $(COMMAND) $(DEMO) "$(TEXT)"

test: test-workspace test-plugins

# .ci/run has the tests linted in the same build.
CARGO_TEST ?= cargo test

test-build: setup
	$(CARGO_TEST) $(WORKSPACE) --no-run --all-targets

test-workspace: plugins setup-python
	$(CARGO_TEST) $(WORKSPACE)
	$(CARGO_TEST) $(WORKSPACE) --lib -- --ignored on_s3

test-plugins: plugins
	$(CARGO_TEST) --locked --manifest-path plugins/Cargo.toml --target-dir $(NATIVE) --no-run --all-targets
	$(CARGO_TEST) --locked --manifest-path plugins/Cargo.toml --target-dir $(NATIVE)
	scripts/test-plugins

soak: setup-python
	ALLUVIUM_SOAK=1 scripts/limited $(SOAK_LIMIT) cargo test --locked -p alluvium --no-default-features --lib log:: -- --nocapture
	ALLUVIUM_SOAK=1 ALLUVIUM_SCHEDULES=$${ALLUVIUM_SCHEDULES:-5000} scripts/limited $(SOAK_LIMIT) $(MAKE) model
	ALLUVIUM_SOAK=1 scripts/limited $(SOAK_LIMIT) cargo test --locked -p alluvium --lib -- storms s3:: tests_power --nocapture --include-ignored
	ALLUVIUM_BENCH_LANE=soak scripts/limited $(SOAK_LIMIT) cargo bench --locked -p alluvium-benches --features peers --bench unattended

# A target directory of its own, as everything is compiled with the flag.
model: setup
	RUSTFLAGS='--cfg shuttle -Dwarnings' cargo test --locked -p alluvium --no-default-features --lib \
		--target-dir '$(ALLUVIUM_TARGET_DIR)/model' log::tests::schedules

lint: format-check lint-workspace lint-plugins

format-check: setup
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --all --check --manifest-path plugins/Cargo.toml

lint-workspace: setup
	cargo clippy $(WORKSPACE) --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(WORKSPACE) --no-deps --lib

lint-plugins: setup
	cargo clippy --locked --manifest-path plugins/Cargo.toml --all-targets --target-dir $(NATIVE) -- -D warnings

format:
	cargo fmt --all
	cargo fmt --all --manifest-path plugins/Cargo.toml
	cargo fmt --manifest-path fuzz/Cargo.toml

# One run: what an earlier one left is not part of it. The peers are a feature that nothing else asks for.
REPORT := $(ALLUVIUM_TARGET_DIR)/ingest-report
bench-ingest: setup
	rm -rf '$(REPORT)'
	CRITERION_HOME='$(REPORT)' cargo bench --locked -p alluvium-benches --features peers --bench ingest
	CRITERION_HOME='$(REPORT)' cargo bench --locked -p alluvium-benches --features peers --bench summary
	@echo 'Criterion: $(REPORT)/report/index.html'

# Neither peers nor Lance.
bench-log: setup
	CRITERION_HOME='$(ALLUVIUM_TARGET_DIR)/log-report' cargo bench --locked -p alluvium-benches --no-default-features --bench ingest

# The same features, so that one build serves both.
bench-tiering: setup
	cargo bench --locked -p alluvium-benches --features peers --bench tiering
	cargo bench --locked -p alluvium-benches --features peers --bench unattended

# The plugin host alone, then the whole pipeline; ALLUVIUM_BENCH_PYTHON is a Python with model2vec, if there is one.
# benches/transform/native is the same code outside of the sandbox, for a CPU without AVX2; arrow-udf brings a wasmtime of its own.
bench-transform: setup plugins
	benches/transform/native/build '$(ALLUVIUM_TARGET_DIR)/transform-native'
	benches/transform/arrow-udf/build '$(ALLUVIUM_TARGET_DIR)/transform-arrow-udf'
	cd benches/transform && ALLUVIUM_PLUGIN_PATH='$(PLUGINS)' ALLUVIUM_BENCH_SSE41='$(ALLUVIUM_TARGET_DIR)/transform-native/native-resize-image' \
		ALLUVIUM_BENCH_ARROW_UDF='$(ALLUVIUM_TARGET_DIR)/transform-arrow-udf' \
		cargo bench --locked --target-dir '$(ALLUVIUM_TARGET_DIR)/transform-benches'
	ALLUVIUM_PLUGIN_PATH='$(PLUGINS)' cargo bench --locked -p alluvium-benches --bench pipeline

bench: bench-ingest bench-tiering bench-transform

fuzz: setup
	scripts/fuzz $(FUZZ_SECONDS)

fuzz-smoke: setup
	scripts/fuzz 0

miri:
	scripts/miri
