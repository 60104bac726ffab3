.DEFAULT_GOAL := help
.PHONY: help run test lint doc ci

help: ## list what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

run: ## serve on 127.0.0.1:5000
	@cargo run --release -- --access-log

test: ## run every test
	cargo test --locked

lint: ## check the format and every lint
	cargo fmt --check && cargo clippy --locked --all-targets -- --deny warnings

doc: ## build the documentation
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items

ci: lint doc test ## what must pass before a change lands
