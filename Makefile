# `make run` and `make test` do all set-up themselves on a Debian machine that has cargo.

CARGO ?= cargo
BUILT = $${CARGO_TARGET_DIR:-target}

.DEFAULT_GOAL := help
.PHONY: help run test fmt lint doc bench

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Build, start a throw-away Redis and the sidecar on 127.0.0.1:6380, say what to try (ARGS="--port 0" and so on)
	@command -v cc >/dev/null || sh tests/install.sh gcc libc6-dev
	@sh tests/install.sh redis-server
	$(CARGO) build --bin gripfast
	@exec $(BUILT)/debug/gripfast dev $(ARGS)

test: ## Install what the tests need, check format, lints and docs, and run all tests
	sh tests/setup.sh
	@$(MAKE) --no-print-directory lint doc
	. target/test.env && $(CARGO) test

fmt: ## Format the code
	$(CARGO) fmt

lint: ## Check format and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

doc: ## Build the documentation; src/lib.rs is the architecture page
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps

bench: ## Run the benchmarks
	$(CARGO) bench
