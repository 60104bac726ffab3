.DEFAULT_GOAL := help
.PHONY: help run test test-all features oldest soak fuzz bench bench-peers lint doc ci

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

run: ## serve on 127.0.0.1:5000, with more flags in ARGS='--collection notes'
	@cargo run --release -- --access-log $(ARGS)

# A test waits most of its time; those of the browser wait for each other, too.
test: export RUST_TEST_THREADS ?= 12
test-all features soak: export RUST_TEST_THREADS ?= 6

test: ## run every test of the default build
	cargo test --locked

# What the stores do by themselves, and with several servers, and what needs no door, is tried once.
again = cargo test --locked --all-features --test it -- --skip store:: --skip sqlite:: --skip postgres:: \
	--skip servers:: --skip failover:: --skip pgbouncer:: --skip seeded:: --skip the_whole_space --skip run_py \
	--skip browser_windows::

# `make test` tries the page in a browser; it is the same with every feature.
test-all: ## run every test with every feature, at each door and with each store
	cargo test --locked --all-features -- --skip browser_windows::
	IFMATCH_TEST_DOOR=hyper $(again)
	IFMATCH_TEST_STORE=sqlite $(again)
	IFMATCH_TEST_DOOR=hyper IFMATCH_TEST_THREADS=4 IFMATCH_TEST_STORE=postgres $(again)

# With none, each alone, and each pair; a door or a store brings `server`.
features: ## check every set of one or two features, and WebAssembly where its target is installed
	for set in '' server http hyper sqlite postgres server,http http,sqlite http,postgres \
		hyper,sqlite hyper,postgres sqlite,postgres; do echo "features: $$set"; \
		cargo clippy --quiet --locked --no-default-features --features "$$set" -- --deny warnings || exit 1; done
	cargo test --quiet --locked --no-default-features
	if rustup target list --installed 2>/dev/null | grep -q wasm32-unknown-unknown; then \
		cargo check --locked --no-default-features --features http --target wasm32-unknown-unknown; fi

# The packages that are locked are the newest, and may want a newer compiler: it chooses its own.
oldest: ## check with the oldest compiler that Cargo.toml admits, whose programs are in BIN=/usr/bin
	rm -rf target/oldest/source && mkdir -p target/oldest/source
	cp -R Cargo.toml README.md src tests examples target/oldest/source
	cd target/oldest/source && export PATH="$(or $(BIN),/usr/bin):$$PATH" CARGO_TARGET_DIR=.. && \
		rustc --version | grep -F "$(shell sed -n 's/^rust-version = "\(.*\)"/\1./p' Cargo.toml)" && \
		cargo check --quiet --no-default-features && cargo check --quiet --features hyper

soak: ## load and faults at each door, for MINUTES=10
	for door in tiny_http hyper; do echo "$$door"; IFMATCH_TEST_DOOR=$$door IFMATCH_SOAK_MINUTES=$(or $(MINUTES),10) \
		cargo test --quiet --locked --release --all-features --test it -- --ignored --nocapture soak || exit 1; done

# New inputs stay below target/; one that breaks a property is kept below fuzz/artifacts/.
fuzz: ## look for inputs that break a property, for MINUTES=1 each
	@cargo +nightly --version >/dev/null 2>&1 || { echo "A nightly toolchain is missing; get it with: rustup toolchain install nightly" >&2; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing; get it with: cargo install cargo-fuzz" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "A C++ compiler is missing; install g++ or clang, with c++ as its name" >&2; exit 1; }
	for target in $$(cargo fuzz list); do mkdir -p target/fuzz/$$target; \
		cargo +nightly fuzz run $$target target/fuzz/$$target fuzz/corpus/$$target -- \
		-max_total_time=$$((60 * $(or $(MINUTES),1))) -print_final_stats=1 || exit 1; done

# Below the usual one, so that neither build undoes the other.
bench_target = --release --locked --target-dir target/bench

bench: ## measure speed, memory and growth in minutes, or something of it in one: QUICK=1
	cargo build $(bench_target) --all-features
	cargo build $(bench_target) --manifest-path benches/Cargo.toml
	BENCH_QUICK=$(QUICK) target/bench/release/bench

flask = target/flask

bench-peers: ## compare with Flask under its own server and under gunicorn
	@python3 -m venv $(flask) && $(flask)/bin/pip install --quiet --requirement benches/flask/requirements.txt || \
		{ echo 'Flask cannot be installed here: that takes python3 with venv, and a package index' >&2; exit 1; }
	cargo build $(bench_target) --all-features
	cargo build $(bench_target) --manifest-path benches/Cargo.toml
	BENCH_QUICK=$(QUICK) target/bench/release/bench peers

lint: ## check the format and every lint
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --all-targets --all-features -- --deny warnings
	cargo fmt --check --manifest-path benches/Cargo.toml
	cargo clippy --locked --all-targets --manifest-path benches/Cargo.toml --target-dir target/bench -- --deny warnings

doc: ## build the documentation
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --all-features --no-deps --document-private-items
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-default-features --features http --no-deps --target-dir target/judgement

ci: lint doc test test-all features oldest ## what must pass before a change lands
