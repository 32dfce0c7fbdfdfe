# The tasks of this repository. `make` lists them; each does its own set-up.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# Which Python `.venv` gets: 3.11 or newer, with its venv package.
PYTHON ?= python3
# What `make demo` asks.
QUESTION ?= How many hours of annual leave can I carry over to the next leave year?
# What `make test` hands to pytest, and which programs `make bench` runs.
ARGS ?=
BENCHMARKS ?=

venv := .venv/.made
tools := .venv-generate/.made
buf := scripts/buf/node_modules/.bin/buf
uv := .venv-lock/bin/uv
sdks := go typescript java rust
has_npm := $(shell command -v node >/dev/null && command -v npm)

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: venv
venv: $(venv) ## Make .venv: Headwater (.venv/bin/headwater), its tests' and its checks' tools

.PHONY: demo
demo: export ASKED := $(value QUESTION)
demo: $(venv) ## Ask a question about the documents in docs/demo/handbook; QUESTION="…" asks another
	@printf '\n$$ .venv/bin/headwater ask %s docs/demo/handbook\n\n' "$${ASKED@Q}"
	@.venv/bin/headwater ask "$$ASKED" docs/demo/handbook
	@printf '\nNow ask your own, of your own files: .venv/bin/headwater ask "…" PATH…\n'

.PHONY: test
test: $(venv) ## Run all tests, two files at a time; ARGS="tests/client -k break" runs some of them, one at a time
	@.venv/bin/python -m pytest $(or $(ARGS),-n 2 --dist loadfile)

.PHONY: test-http2
test-http2: export HEADWATER_FRONT := http2
test-http2: test ## Run them with the front http2 in the place of grpcio's server

.PHONY: check
check: check-python check-lock check-protos check-generated ## Check style, types, protos, the lock and the generated code

.PHONY: check-python
check-python: $(venv)
	@.venv/bin/ruff check --quiet . && echo "ruff check: clean"
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy clients/python services tests scripts benchmarks

.PHONY: check-lock
check-lock: $(venv)
	@.venv/bin/python scripts/check_lock.py && echo "requirements.lock: in step with pyproject.toml"

.PHONY: check-protos
ifdef has_npm
check-protos: $(buf)
	@$(buf) lint && echo "protos: lint is clean"
	@$(buf) format --diff --exit-code --exclude-path protos/buf --exclude-path protos/google && echo "protos: well formatted"
	@scripts/check_breaking.sh $(buf)
else
check-protos:
	@echo "protos: check skipped, there is no node command, or no npm, here"
endif

.PHONY: check-generated
check-generated: $(tools) $(venv)
	@.venv/bin/python scripts/settings_docs.py --check && echo "docs/settings.md: in step with the settings"
	@.venv/bin/python scripts/retrieval_docs.py --check && echo "docs/retrieval.md: in step with the figures"
	@.venv/bin/python scripts/formats_docs.py --check && echo "docs/retrieval.md: in step with the formats"
	@.venv/bin/python scripts/benchmarks_docs.py --check && echo "docs/benchmarks.md: in step with the figures"
	@.venv/bin/python -m tests.fidelity --check && echo "docs/fidelity.md: in step with the recordings"
	@.venv/bin/python scripts/faults_docs.py --check && echo "docs/faults.md: in step with the figures"
	@.venv-generate/bin/python scripts/generate.py --check \
		&& echo "clients/python: headwater/v1 and buf/validate are what the protos generate"
	@stale=0; for sdk in $(sdks); do $(MAKE) -C clients/$$sdk check || stale=1; done; exit $$stale

.PHONY: generate
generate: $(tools) $(venv) ## Generate the code of the protos, in every language whose tools are here, and the settings' tables
	@.venv/bin/python scripts/settings_docs.py
	@.venv-generate/bin/python scripts/generate.py && echo "clients/python: generated headwater/v1 and buf/validate"
	@for sdk in $(sdks); do $(MAKE) -C clients/$$sdk generate; done

.PHONY: bench
bench: $(venv) ## Run the benchmarks in short form; BENCHMARKS="embedding" runs some of them
	@.venv/bin/python -m benchmarks $(BENCHMARKS)

.PHONY: bench-smoke
bench-smoke: $(venv) ## Notice in half a minute what has made relaying far dearer, by CPU as a ratio, in one run
	@.venv/bin/python -m benchmarks.smoke

.PHONY: faults
faults: $(venv) ## Kill servers in the middle of imports and of answers, cut their power, and more; SEED=… repeats a run's choices
	@failed=0; run() { .venv/bin/python -m "$$@" $(if $(SEED),--seed $(SEED)) || failed=1; }; \
	run tests.faults.import_kills --kills $(or $(KILLS),100); \
	run tests.power_loss --cuts $(or $(CUTS),100); \
	run tests.faults.answers.long $(if $(ANSWERS),--answers $(ANSWERS)); \
	run tests.malformed --calls $(or $(CALLS),100000) --parsers $(or $(INPUTS),1000000); \
	run tests.tenants --operations $(or $(OPERATIONS),100000); \
	run tests.faults.canaries; \
	run benchmarks.overload --keep; \
	run benchmarks.overload --keep --front http2 --rates 40 80 100 120; \
	.venv/bin/python scripts/faults_docs.py || failed=1; \
	exit $$failed

.PHONY: fidelity
fidelity: $(venv) ## Read all recorded streams in all shapes and cuts, and write docs/fidelity.md; needs the recordings, takes minutes
	@.venv/bin/python -m tests.fidelity

.PHONY: lock
lock: $(uv) ## Write requirements.lock anew from pyproject.toml; LOCK=--upgrade takes newer versions
	@$(uv) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra cli --extra serve --group dev --excludes <(echo headwater-minilm) $(LOCK) \
		pyproject.toml --output-file requirements.lock
	@echo "requirements.lock: $$(grep -c == requirements.lock) pins"

.PHONY: clean
clean: ## Remove what these tasks have made, the environments included
	rm -rf .venv .venv-generate .venv-lock .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist \
		scripts/buf/node_modules clients/go/.tools clients/java/target clients/rust/target \
		clients/typescript/{dist,gen,node_modules}
	find clients/python services tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +

# The environments. Each has a file that is written last, and stands for the installation.
.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here: install Python 3.11 or newer" >&2; exit 1; }

$(venv): requirements.lock pyproject.toml services/minilm/pyproject.toml scripts/make_venv.py | python
	@$(PYTHON) scripts/make_venv.py .venv requirements.lock --editable services/minilm . && touch $@

$(tools): scripts/generate-requirements.txt scripts/make_venv.py | python
	@$(PYTHON) scripts/make_venv.py .venv-generate scripts/generate-requirements.txt && touch $@

$(uv): scripts/lock-requirements.txt scripts/make_venv.py | python
	@$(PYTHON) scripts/make_venv.py .venv-lock scripts/lock-requirements.txt && touch $@

$(buf): scripts/buf/package.json scripts/buf/package-lock.json
	@cd scripts/buf && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.bin/buf
