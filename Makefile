# Targets install what they need. You need only Python 3.11 or newer and make.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python,$(if $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(p))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: setup dev demo test test-slow durable conformance conformance-fast js interop schedulers daft objects bigquery lint types floors skill docs docs-reference check bench fault-matrix catalog constraints clean

setup: .venv/.ready  ## Create .venv with the package and its dependencies

dev: .venv/.ready-dev  ## Create .venv with the development tools, too

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade "pip>=25.1"

.venv/.ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --editable ".[tables]"
	@touch $@

.venv/.ready-dev: .venv/.ready
	$(PIP) install --editable ".[objects,report,speed,tables,vertex,webhooks]" --group dev
	@touch $@

demo: setup  ## Run the first example of the README, offline, without a key
	@sh examples/demo.sh

test: dev  ## Run all quick tests
	$(BIN)/python -m pytest -n 2

test-slow: dev  ## Run the slow tests: hundreds of megabytes, memory bounds
	$(BIN)/python -m pytest -m slow -o addopts="-ra --import-mode=importlib" tests

conformance: dev  ## Test Google's clients against the emulator: google-genai's own tests, and lives of jobs in Python and JavaScript
	$(BIN)/python -m pytest -m "conformance or js" -n 2 tests/conformance

conformance-fast: dev  ## Test the newest of Google's clients: google-genai's own tests of batches and files, and lives of jobs
	$(BIN)/python -m pytest -m fast -n 2 tests/conformance

js: dev  ## Test the JavaScript SDK alone, in all versions
	$(BIN)/python -m pytest -m js tests/conformance

crash-matrix: dev  ## End the process at every call and every write of a run, also over a socket
	CRASH_POINTS=all $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=3600 tests/engine tests/crashes/test_crashes.py tests/crashes/test_flex.py tests/crashes/test_flex_matrix.py tests/crashes/test_tables.py tests/crashes/test_limit_deaths.py

interop: dev  ## Test third-party Gemini batch clients and OpenAI-compatible servers, each in its own environment
	$(BIN)/python -m pytest -m interop tests/interop

schedulers: dev  ## Test the programs for Airflow, Dagster and Prefect in real ones, each in its own environment
	$(BIN)/python -m pytest -m schedulers -n 2 tests/schedulers

daft: dev  ## Test shards that Daft, Ray Data and Spark make, in environments of their own; Spark where there is Java
	$(BIN)/python -m pytest -m "daft or spark" tests/engines

objects: dev  ## Test work in buckets against a server that speaks S3, in an environment of its own
	$(BIN)/python -m pytest -m objects tests/objects

bigquery: dev  ## Test tables of BigQuery against the emulator with Google's client, in an environment of its own
	$(BIN)/python -m pytest -m bigquery_home tests/bigquery

durable: dev  ## Test runs in a thousand generated worlds, and against a thousand hostile services
	PROPERTY_EXAMPLES=1000 $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=3600 tests/crashes

lint: dev  ## Run ruff: lint rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev  ## Run mypy in strict mode
	$(BIN)/mypy

floors: dev  ## Check that nothing imports upward
	$(BIN)/lint-imports --no-logo

skill: dev  ## Write skills/gemini-batch, the copy of the skill for installers, and check it against the Agent Skills rules
	PYTHONPATH=tools $(BIN)/python -m skill_copy
	$(BIN)/agentskills validate skills/gemini-batch

PAGES := README.md SKILL.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md CHANGELOG.md LICENSE docs references examples

docs: dev  ## Build the site into build/site; broken links, pages missing from the navigation and external resources are errors
	@rm -rf build/pages build/site && mkdir -p build/pages/benchmarks
	@cp -r $(PAGES) build/pages/ && cp benchmarks/README.md benchmarks/results.md build/pages/benchmarks/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@! grep -rEo '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^>]*' build/site --include='*.html'

docs-reference: dev  ## Regenerate the pages in docs/reference: --help, --json, error codes
	PYTHONPATH=tools $(BIN)/python -m reference

check: lint types floors skill docs test conformance-fast demo  ## Run what CI runs

bench: dev  ## Measure ten points against other ways to do the same; write benchmarks/results.md; takes an hour
	$(BIN)/python -m benchmarks

fault-matrix: dev  ## Measure our commands in eight situations; write the rows to README.md and docs/fault-matrix.md
	PYTHONPATH=tests $(BIN)/python -m fault_matrix

catalog: dev  ## List where the catalog differs from genai-prices and google-genai; a difference without a reason is an error
	PYTHONPATH=tools $(BIN)/python -m catalog_differences

constraints: dev  ## Update constraints.txt: names and versions only
	$(BIN)/python -m pip --quiet install uv
	env -u PIP_CONSTRAINT $(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --extra report --extra speed --extra tables --extra webhooks --group dev pyproject.toml -o constraints.txt

clean:
	rm -rf .venv build demo-work .mypy_cache .ruff_cache .pytest_cache
