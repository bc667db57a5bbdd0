# Everything sets itself up: a machine with Python 3.11 or newer and make needs nothing else.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python,$(if $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(p))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: setup dev demo test test-slow durable conformance js interop lint types floors skill docs docs-reference check bench fault-matrix constraints clean

setup: .venv/.ready  ## Create .venv with the package and what it needs

dev: .venv/.ready-dev  ## The same, with the development tools

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade "pip>=25.1"

.venv/.ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --editable .
	@touch $@

.venv/.ready-dev: .venv/.ready
	$(PIP) install --editable ".[speed]" --group dev
	@touch $@

demo: setup  ## Run the first minute of the README: offline, without a key
	@sh examples/demo.sh

test: dev  ## Run the quick tests
	$(BIN)/python -m pytest -n 2

test-slow: dev  ## Run the slow tests: files of hundreds of megabytes, memory bounds
	$(BIN)/python -m pytest -m slow -o addopts="-ra --import-mode=importlib" tests

conformance: dev  ## Test the emulator with official clients: google-genai's own tests, an older SDK, the JavaScript SDK
	$(BIN)/python -m pytest -m "conformance or js" tests/conformance

js: dev  ## Test the emulator with the JavaScript SDK only; needs node and npm
	$(BIN)/python -m pytest -m js tests/conformance

crash-matrix: dev  ## End the process at every call and every write of a run, also over a socket
	CRASH_POINTS=all $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=3600 tests/engine tests/crashes/test_crashes.py

interop: dev  ## Test the emulator with other Gemini batch clients and OpenAI-compatible servers, in separate environments
	$(BIN)/python -m pytest -m interop tests/interop

durable: dev  ## Test runs in a thousand generated worlds, with full quotas and every kind of fault
	PROPERTY_EXAMPLES=1000 $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=3600 tests/crashes

lint: dev  ## Check style and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev  ## Check types with mypy
	$(BIN)/mypy

floors: dev  ## Check that nothing imports upward
	$(BIN)/lint-imports --no-logo

skill: dev  ## Check SKILL.md against the Agent Skills rules, in a copy whose folder has the right name
	@rm -rf .venv/skill && mkdir -p .venv/skill/gemini-batch
	@cp -r SKILL.md scripts references .venv/skill/gemini-batch/
	$(BIN)/agentskills validate .venv/skill/gemini-batch

PAGES := README.md SKILL.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md CHANGELOG.md LICENSE docs references examples

docs: dev  ## Build the site into build/site; broken links, pages missing from the navigation and external resources are errors
	@rm -rf build/pages build/site && mkdir -p build/pages/benchmarks
	@cp -r $(PAGES) build/pages/ && cp benchmarks/README.md build/pages/benchmarks/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@! grep -rEo '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^>]*' build/site --include='*.html'

docs-reference: dev  ## Regenerate the pages in docs/reference: --help, --json, error codes
	PYTHONPATH=tools $(BIN)/python -m reference

check: lint types floors skill docs test demo  ## Run what CI runs

bench: dev  ## Measure speed and memory against the official SDK
	$(BIN)/python -m benchmarks

fault-matrix: dev  ## Test our commands in eight situations and write our rows to README.md and docs/fault-matrix.md
	PYTHONPATH=tests $(BIN)/python -m fault_matrix

constraints: dev  ## Update constraints.txt: names and versions only
	$(BIN)/python -m pip --quiet install uv
	env -u PIP_CONSTRAINT $(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --all-extras --group dev pyproject.toml -o constraints.txt

clean:  ## Delete .venv, caches and everything that was built
	rm -rf .venv build demo-work .mypy_cache .ruff_cache .pytest_cache
