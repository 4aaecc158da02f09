# Everything runs in one .venv, prepared when it is missing. PYTHON may name another interpreter (3.11 to 3.13).
PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
TEST_PROCESSES ?= 2
EXTRAS := serve,train,track,compress,dashboards,cpu,demo,dev
READY := .venv/.ready
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

export PYTHONUNBUFFERED := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test check bench bench-methods soak kafka images prepare format

demo: $(READY)
	@$(BIN)/trillium demo

# Tests never fetch: the parts they need are brought here, first. What can't be had is said, and the tests
# that need it skip with the reason; with CI=true they fail.
# Two processes share them, one thread each: more threads would stand in each other's way.
test: prepare
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder

check: $(READY)
	@$(BIN)/ruff format --no-cache --check --quiet . && $(BIN)/ruff check --no-cache --quiet .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# No container engine is needed: a clean environment per image, every entry point run in it.
images: $(READY)
	@$(BIN)/python docker/check.py

bench: $(READY)
	@$(BIN)/python tests/benchmarks/run_all.py

# What each method of a recipe gains over the plain one, and what it costs; only missing rows run.
bench-methods: $(READY)
	@$(BIN)/python tests/benchmarks/methods.py

soak: prepare
	@$(BIN)/python tests/chaos/soak.py --items 20000

# A real Apache Kafka broker in the foreground; Ctrl-C stops it cleanly.
kafka: $(READY)
	@$(BIN)/python -m pipelines.commands.kafka start

prepare: $(READY)
	@$(BIN)/python -m pipelines.commands.kafka prepare || echo "note: no local Kafka broker (see above)"
	@if [ -z "$(CHROMIUM)" ]; then \
	  if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    apt-get update -qq > /dev/null && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core > /dev/null; \
	  else echo "note: no Chromium; browser tests will skip (Debian: apt-get install chromium)"; fi; fi

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "error: Python 3.11 to 3.13 is needed; call make PYTHON=/path/to/python3.12"; exit 2; }
	@command -v uv > /dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@export PATH="$$PWD/$(BIN):$$PATH"; uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
