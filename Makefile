.DEFAULT_GOAL := help
.PHONY: help run test test-all soak lint doc ci

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: ## serve on 127.0.0.1:5000
	@cargo run --release -- --access-log

test: ## run every test of the default build
	cargo test --locked

# What the stores do by themselves, and with several servers, is tried once.
again = cargo test --locked --all-features --test it -- --skip store:: --skip sqlite:: --skip postgres:: --skip servers::

test-all: ## run every test with every feature, at each door and with each store
	cargo test --locked --all-features
	IFMATCH_TEST_DOOR=hyper $(again)
	IFMATCH_TEST_STORE=sqlite $(again)
	IFMATCH_TEST_DOOR=hyper IFMATCH_TEST_STORE=postgres $(again)

soak: ## load and faults at each door, for MINUTES=10
	for door in tiny_http hyper; do echo "$$door"; IFMATCH_TEST_DOOR=$$door IFMATCH_SOAK_MINUTES=$(or $(MINUTES),10) \
		cargo test --quiet --locked --release --all-features --test it -- --ignored --nocapture soak || exit 1; done

lint: ## check the format and every lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --all-targets --all-features -- --deny warnings

doc: ## build the documentation
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --all-features --no-deps --document-private-items

ci: lint doc test test-all ## what must pass before a change lands
