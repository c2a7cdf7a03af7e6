# The few verbs of this project. Each makes its own environment from a bare python3 and the pinned, hashed requirements.
#
#   make demo [ARGS=--headless]    train on real digits, serve, ask, look back
#   make example NAME=churn        one of examples/: train on the real data, serve, ask, check every promise
#   make test [ARGS="-k journal"]  the tests of every package
#   make test-slow                 chaos, browsers, examples, pages of the documentation
#   make test-all                  both
#   make lint                      format, lint, types, layers, changelog
#   make bench [ARGS=…]            the figures of benchmarks/RESULTS.md
#   make container [ARGS=…]        build both images, start them, look whether they keep what they promise (root, buildah)
#   make lock                      resolve and pin the requirements anew
#   make docs                      write the generated reference pages
#   make clean                     remove what the verbs above made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Twice quiet: errors only. What is installed stands in requirements/.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
# No package is built on this machine: a wheel's hash covers what runs, a source's hash does not cover what its build does.
PINNED := $(PIP) --require-hashes --only-binary :all:

# The library reports usage unless this is set before it loads.
export ORT_DISABLE_TELEMETRY := 1

# Many tests wait for servers and browsers. Which of them run in the same process: tests/support/xdist_scheduler.py.
PARALLEL := -n 2 --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo example test test-slow test-all lint bench container lock docs clean

help:
	@sed -n '2,13s/^# *//p' Makefile

demo: $(VENV)/demo.stamp
	$(BIN)/relevo demo $(ARGS)

# The environment has every extra: an example may need any framework.
example: $(VENV)/dev.stamp
	@test -n "$(NAME)" || { echo "Which one? make example NAME=$$(ls examples/*/check.py | cut -d / -f 2 | paste -s -d '|')"; exit 1; }
	$(BIN)/python -m examples.run $(NAME) $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(ARGS)

test-all: test test-slow

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py
	$(BIN)/python docs/check_changelog.py
	$(BIN)/python docs/make_reference.py --check

bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/run.py $(ARGS)

container: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/container.py $(ARGS)

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/make_reference.py

lock: $(VENV)/lock.stamp
	$(LOCK) requirements/build.in --extra dev -o requirements/dev.txt
	$(LOCK) requirements/build.in --extra demo -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) -c requirements/dev.txt -o requirements/base.txt
	$(LOCK) --extra postgres --extra tls --extra sealing --extra oidc -c requirements/dev.txt -o requirements/container.txt
	$(LOCK) --extra console --extra tls -c requirements/dev.txt -o requirements/console.txt
	$(RESOLVE) requirements/build.in -c requirements/dev.txt -o requirements/build.txt

RESOLVE = $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --universal \
	--python-version 3.11
LOCK = $(RESOLVE) pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build demo-home example-home

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Relevo needs Python 3.11 or newer."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "Installing $< into $(VENV); the first time takes a minute."
	@$(PINNED) -r $<
	@$(if $(filter lock,$*),,$(PIP) --no-deps --no-build-isolation --editable .)
	@touch $@
