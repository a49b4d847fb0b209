# Luna: development tasks. `make setup`, `make test`, `make demo`; `make help` lists all.
#
# Everything lives in .venv and build/; nothing is installed outside this folder.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The Python the virtual environment is made with: the first of these that runs and is new enough.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)

VENV := .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.environment
INSTALLED := $(VENV)/.installed
NATIVE := $(wildcard scheduler/*.pyx scheduler/*.pxd scheduler/*.h scheduler/*.hpp)
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
PYTEST_ARGS ?=
SIMULATE_ARGS ?=
MINUTES ?= 10
SEED ?=

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(INSTALLED)  ## .venv with the locked dependencies and the native core

$(ENVIRONMENT): requirements/dev.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "Luna needs Python 3.11 or newer and found none; install one (Debian: apt-get install python3 python3-venv python3-dev) or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11 or newer; name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@# One without pip is left from an attempt that failed half-way.
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# Compiles the native core in place; a Python-only change needs no new installation. A machine without
# a C++ compiler takes the one of the ziglang package, which is there for the guests anyway.
$(INSTALLED): $(ENVIRONMENT) pyproject.toml setup.py $(NATIVE)
	@if [ -z "$$CXX" ] && ! command -v c++ >/dev/null; then \
		echo "no c++ found: building the native core with ziglang"; \
		export CC="$(CURDIR)/$(BIN)/python -m ziglang cc" CXX="$(CURDIR)/$(BIN)/python -m ziglang c++"; \
	fi; \
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

.PHONY: guests
guests: setup  ## the example and test programs, in build/guests
	@$(BIN)/python tools/build_guests.py

.PHONY: test
test: setup guests  ## all tests; PYTEST_ARGS="-k name" picks some
	$(BIN)/pytest $(PYTEST_ARGS)

.PHONY: integration
integration: setup guests  ## tests with a cluster in containers, each node a host of its own; needs Docker
	@# Minutes after a change of the native core: seen, and before the clocks of the tests run. They judge a failure.
	$(BIN)/python -m integration.hosts.image --prometheus || true
	$(BIN)/pytest integration/hosts $(PYTEST_ARGS)

.PHONY: soak
soak: setup guests  ## a workload under faults, every message accounted for; MINUTES=10, SEED=..., report in build/soak
	$(BIN)/python -m integration.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: simulate
simulate: setup  ## simulated clusters under random faults, until stopped; SIMULATE_ARGS="--first 1000000"
	$(BIN)/python -m tests.simulation $(SIMULATE_ARGS)

.PHONY: sanitize
sanitize: setup guests  ## the native core's tests under AddressSanitizer, then ThreadSanitizer
	$(BIN)/python tools/sanitize.py address $(PYTEST_ARGS)
	$(BIN)/python tools/sanitize.py thread $(PYTEST_ARGS)

.PHONY: lint
lint: setup  ## style, types, generated files, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .types/luna tools tests benchmarks examples integration/hosts integration/soak
	$(BIN)/python tools/generate_stubs.py --check
	$(BIN)/python tools/generate_header.py --check
	$(BIN)/python tools/generate_all_imports.py --check
	$(BIN)/python tools/generate_hostcall_docs.py --check
	$(BIN)/python tools/generate_compatibility.py --check
	$(BIN)/python tools/generate_limits_docs.py --check
	$(BIN)/pytest -q tests/test_layering.py

.PHONY: format
format: setup  ## put the sources into the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: setup  ## everything that is generated: stubs, C header, all-imports guest, and three pages
	$(BIN)/python tools/generate_stubs.py
	$(BIN)/python tools/generate_header.py
	$(BIN)/python tools/generate_all_imports.py
	$(BIN)/python tools/generate_hostcall_docs.py
	$(BIN)/python tools/generate_compatibility.py
	$(BIN)/python tools/generate_limits_docs.py

.PHONY: demo
demo: setup guests  ## a cluster on this machine, explained as it goes
	@$(BIN)/python tools/demo.py

.PHONY: bench
bench: setup guests  ## the benchmarks
	@$(BIN)/python -m benchmarks

.PHONY: lock
lock: setup  ## the locked requirements anew, with today's versions
	$(LOCK) pyproject.toml requirements/dev.in --upgrade --output-file requirements/dev.txt
	@# The image is built with the versions that were tested.
	$(LOCK) pyproject.toml --constraints requirements/dev.txt --output-file requirements/runtime.txt
	$(LOCK) requirements/build.in --constraints requirements/dev.txt --output-file requirements/build.txt

.PHONY: clean
clean:  ## remove what was built, but not .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache $(INSTALLED)
	rm -f scheduler/*.so
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
