# Everything sets itself up: a machine with Python 3.11 or newer and make needs nothing else.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python,$(if $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(p))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: setup dev demo test test-slow durable conformance js interop lint types floors skill docs docs-reference check bench fault-matrix constraints clean

setup: .venv/.ready  ## Make .venv with the package and what it needs

dev: .venv/.ready-dev  ## The same with the tools of a developer

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

demo: setup  ## The main job, offline, with no key
	@sh examples/demo.sh

test: dev  ## All quick tests
	$(BIN)/python -m pytest -n 2

test-slow: dev  ## The heavy ones: hundreds of megabytes, memory bounds
	$(BIN)/python -m pytest -m slow -o addopts="-ra --import-mode=importlib" tests

conformance: dev  ## Official clients against the emulator: google-genai's own tests, an older SDK, the JavaScript SDK
	$(BIN)/python -m pytest -m "conformance or js" tests/conformance

js: dev  ## The JavaScript SDK alone; needs node and npm
	$(BIN)/python -m pytest -m js tests/conformance

crash-matrix: dev  ## Death at every call and every write of a run, all of them, over a socket too
	CRASH_POINTS=all $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=3600 tests/engine tests/crashes/test_crashes.py

interop: dev  ## Other people's Gemini batch clients, and OpenAI-compatible servers, in environments of their own
	$(BIN)/python -m pytest -m interop tests/interop

durable: dev  ## Runs in a thousand generated worlds, in want of room, and in every trouble
	PROPERTY_EXAMPLES=1000 $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=3600 tests/crashes

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

floors: dev  ## Nothing imports upward
	$(BIN)/lint-imports --no-logo

skill: dev  ## The Agent Skills rules, on a copy in a folder of the right name
	@rm -rf .venv/skill && mkdir -p .venv/skill/gemini-batch
	@cp -r SKILL.md scripts references .venv/skill/gemini-batch/
	$(BIN)/agentskills validate .venv/skill/gemini-batch

PAGES := README.md SKILL.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md CHANGELOG.md LICENSE docs references examples

docs: dev  ## The site, into build/site; broken links, pages without a place and anything loaded from elsewhere are errors
	@rm -rf build/pages build/site && mkdir -p build/pages/benchmarks
	@cp -r $(PAGES) build/pages/ && cp benchmarks/README.md build/pages/benchmarks/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@! grep -rEo '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^>]*' build/site --include='*.html'

docs-reference: dev  ## Write the generated pages in docs/reference anew: --help, --json, error codes
	PYTHONPATH=tools $(BIN)/python -m reference

check: lint types floors skill docs test demo  ## What CI runs

bench: dev  ## Ratios against the official SDK, measured in this run
	$(BIN)/python -m benchmarks

fault-matrix: dev  ## Eight situations, our commands, our row: written to README.md and docs/fault-matrix.md
	PYTHONPATH=tests $(BIN)/python -m fault_matrix

constraints: dev  ## Write constraints.txt anew: names and versions only
	$(BIN)/python -m pip --quiet install uv
	env -u PIP_CONSTRAINT $(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --all-extras --group dev pyproject.toml -o constraints.txt

clean:
	rm -rf .venv build demo-work .mypy_cache .ruff_cache .pytest_cache
