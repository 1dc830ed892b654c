# Every target but `clean` and `help` sets up first what is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

#: A Python 3.11 or 3.12; unset: the first of python3.11 and python3.12 that runs.
PYTHON ?=

BIN := .venv/bin
STAMP := .venv/.set-up

.PHONY: setup lint test faults chaos bench demo docs lock clean help

setup: $(STAMP)  ## make .venv with the pinned versions (done again only when they change)

$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
		found=; \
		for python in $(PYTHON) python3.11 python3.12; do \
			if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
				2>/dev/null; then found="$$python"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "make setup: neither python3.11 nor python3.12 runs here; install one of them," \
				"or name it: make setup PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		"$$found" -m venv .venv; \
	fi
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo 'set-up is done'

lint: setup  ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Three at a time: the tests wait for processes for a third of their time. Should one of the three die, its
# test is named and the run ends: pytest-xdist, which would start another, then waits for ever. In the
# order of the folders the long files come early, and not at the end, where the others have nothing to do.
test: setup  ## run all tests
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0

#: One fault of the table by its name; unset: all of them.
FAULT ?=

faults: setup  ## kill, stop and cut off everything once, in mid-job, and count (FAULT=name: one)
	$(BIN)/python -m tests.faults $(FAULT)

#: For how long chaos reigns, and what it is drawn from.
CHAOS_SECONDS ?= 600
CHAOS_SEED ?= 1

chaos: setup  ## do so at random for ten minutes, and count (CHAOS_SECONDS, CHAOS_SEED)
	$(BIN)/python -m tests.faults.chaos --seconds $(CHAOS_SECONDS) --seed $(CHAOS_SEED)

#: Labelled data whose texts are classified, and how many of them, how often.
BENCH_DATA ?=
BENCH_ROWS ?= 20000
BENCH_ROUNDS ?= 3
#: Where the table goes as JSON, and its picture, which the README shows.
BENCH_JSON ?= docs/pictures/speed.json
BENCH_PICTURE ?= docs/pictures/speed.svg

bench: setup  ## label the texts of BENCH_DATA as people do today, and by us (BENCH_ROWS, BENCH_ROUNDS)
	@if [ -z "$(BENCH_DATA)" ]; then \
		echo "make bench: name labelled data, as training fit takes it: make bench BENCH_DATA=my-labels/" >&2; \
		exit 2; \
	fi
	$(BIN)/python -m benchmarks.end_to_end $(BENCH_DATA) --rows $(BENCH_ROWS) --rounds $(BENCH_ROUNDS) \
		--json $(BENCH_JSON) --picture $(BENCH_PICTURE)

# What the environment or a .env says of a database, a broker or a model is not the demo's.
demo: setup  ## label examples/tweets.csv with nothing configured, and look at the results
	@unset $${!LABELSTREAM_*}; \
	export LABELSTREAM_BROKER_URL= LABELSTREAM_DATABASE_URL= LABELSTREAM_REGISTRY_DIR=; \
	export LABELSTREAM_HOME_DIR=.labelstream LABELSTREAM_MODEL=emotion@production; \
	$(BIN)/producer ingest examples/tweets.csv --again; \
	$(BIN)/python examples/show_results.py

# The variable: no advertisement of another tool among our own warnings.
docs: setup  ## build the documentation as a site into site/, without a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The local part of a version (torch's +cpu) says which build, and that is each machine's own.
lock: setup  ## write constraints.txt from what stands in .venv
	@packages=$$($(BIN)/python -m pip freeze --exclude-editable); \
	if grep --quiet ' @ ' <<<"$$packages"; then \
		echo "make lock: a package in .venv came from a path or URL;" \
			"remove .venv and run make setup first" >&2; \
		exit 1; \
	fi; \
	{ echo '# The versions that the tests ran with. Made by `make lock`; do not edit.'; \
	  sed 's/+[A-Za-z0-9.]*$$//' <<<"$$packages"; } > constraints.txt
	@touch $(STAMP)

clean:  ## remove caches and build folders; .venv and .labelstream stay
	rm -rf build dist site ./*.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' Makefile | while IFS=$$'\t' read -r name what; do \
		printf 'make %-6s %s\n' "$$name" "$$what"; done
