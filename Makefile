# One word for each thing a person does with this repository; `make help` lists them.
#
# A fresh machine needs Python 3.11+, a Rust toolchain and a C compiler. Everything else is brought
# here at locked versions: uv.lock and Cargo.lock for what the product needs, go.sum for a test client.
# Stamps under .venv remember what is up to date, so nothing is built twice.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
SITE ?= examples/site
LISTEN ?= 0.0.0.0:4433
FUZZ_SECONDS ?= 60
CORE_PROFILE ?= release
SOAK_MINUTES ?= 60

BIN := .venv/bin
UV_VERSION := 0.13.8
# The same uv everywhere: the one on PATH when it is this version, else our own copy of it.
UV := $(if $(findstring uv $(UV_VERSION) ,$(shell uv --version 2>/dev/null) ),$(shell command -v uv),target/tools/bin/uv)

# No tool may fetch an interpreter or a Go toolchain of its own.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
export GOTOOLCHAIN := local
export PYO3_PYTHON := $(abspath $(BIN)/python)
unexport VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

MATURIN = PATH="$(abspath $(dir $(UV))):$$PATH" VIRTUAL_ENV="$(abspath .venv)" $(BIN)/maturin develop --uv --locked

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -o -name Cargo.toml -o -name build.rs)
PYTHON_SOURCES := $(shell find src -name '*.py' -o -name '*.pyi')

##@ Use
.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nVariables: PYTHON=%s SITE=%s LISTEN=%s FUZZ_SECONDS=%s SOAK_MINUTES=%s\n' \
	  '$(PYTHON)' '$(SITE)' '$(LISTEN)' '$(FUZZ_SECONDS)' '$(SOAK_MINUTES)'

.PHONY: build
build: .venv/.bytecode ## Make a .venv with the release core in it

.PHONY: optimized
optimized: .venv/.optimized .venv/.bytecode ## Build the core as releases are: by a profile of what it does

.PHONY: serve
serve: build ## Build, then serve SITE with a self-signed certificate
	@exec $(BIN)/velocity serve --root $(SITE) --self-signed --listen $(LISTEN)

##@ Check
.PHONY: test
test: packages build test-rust test-python ## Run every test: Rust, Python, foreign clients, browser

.PHONY: test-rust
test-rust: .venv/.deps ## Run the Rust tests only
	cargo test --workspace --exclude velocity-python --locked
	cargo test --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --locked

.PHONY: test-python
test-python: build ## Run the Python tests only; ARGS go to pytest
	$(BIN)/python -m pytest $(ARGS)

.PHONY: soak
soak: packages build ## Run the tests that take minutes, then SOAK_MINUTES of mixed load; ARGS go to pytest
	$(BIN)/python -m pytest -m soak $(ARGS)
	$(BIN)/python bench/soak.py --minutes $(SOAK_MINUTES)

.PHONY: lint
lint: .venv/.core ## Check format, types, imports, the stub and every lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=tests $(BIN)/mypy --explicit-package-bases tests
	MYPYPATH=bench $(BIN)/mypy --explicit-package-bases bench
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest --allowlist scripts/stubtest-allowlist velocity._core
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path tests/interop/h3i/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --all-targets --locked -- -D warnings
	scripts/check-crates
	if command -v gofmt >/dev/null; then test -z "$$(gofmt -l tests | tee /dev/stderr)"; fi
	if command -v cargo-deny >/dev/null; then cargo deny --offline check bans licenses sources; fi

.PHONY: fmt
fmt: .venv/.deps ## Format everything and fix what can be fixed
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	cargo fmt --manifest-path tests/interop/h3i/Cargo.toml
	if command -v gofmt >/dev/null; then gofmt -w tests; fi

.PHONY: fuzz
fuzz: ## Fuzz every parser, FUZZ_SECONDS each; ARGS name targets
	@scripts/fuzz $(FUZZ_SECONDS) $(ARGS)

.PHONY: bench
bench: build ## Measure against Caddy and nginx, into bench/results
	$(BIN)/python bench/run.py $(ARGS)

.PHONY: packages
packages: ## Install the Debian packages that tests need (root with apt only)
	@scripts/debian-packages

# --- what the targets above stand on ---------------------------------------------------------------

target/tools/bin/uv:
	$(PYTHON) -m venv target/tools
	target/tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.deps: pyproject.toml uv.lock | $(filter target/%,$(UV))
	$(UV) sync --python $(PYTHON) --locked --inexact --no-install-project --compile-bytecode
	@touch $@

.venv/.core: .venv/.deps $(RUST_SOURCES)
	$(MATURIN) --profile $(CORE_PROFILE)
	@touch $@

# Eight minutes more: an instrumented core does what bench/train.py asks of it, and is built again by what was counted.
.venv/.optimized: .venv/.deps $(RUST_SOURCES) bench/train.py
	if command -v rustup >/dev/null; then rustup component add llvm-tools; fi
	$(MATURIN) --profile release --pgo
	@touch .venv/.core $@

# Imports are most of the time to the first byte served: compile ours as uv compiles the others.
.venv/.bytecode: .venv/.core $(PYTHON_SOURCES)
	$(BIN)/python -m compileall -q src
	@touch $@
