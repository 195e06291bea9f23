# Everything runs from $(VENV), which the first target that needs it makes; nothing has to be activated.
# The stamps depend on the files that name the packages, so a later run installs only after one of them changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= torch,coral,report,timm-deps
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST_ARGS ?=

comma := ,
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
RUN_STAMP := $(VENV)/.installed-$(subst $(comma),+,$(EXTRAS))
DEV_STAMP := $(RUN_STAMP)+dev
PACKAGES := pyproject.toml constraints.txt

.PHONY: help demo install install-dev test lint format bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | while IFS= read -r line; do \
	  printf '  make %-12s %s\n' "$${line%%:*}" "$${line##*## }"; done
	@printf '\n  PYTHON=%s VENV=%s EXTRAS=%s JOBS=%s PYTEST_ARGS=%s\n' '$(PYTHON)' '$(VENV)' '$(EXTRAS)' '$(JOBS)' '$(PYTEST_ARGS)'

demo: install ## export the embedded Vision Transformer for the Coral Edge TPU into out/demo
	$(VENV)/bin/edgevit export --target coral -o out/demo --force

install: $(RUN_STAMP) ## make the environment with the extras of EXTRAS

install-dev: $(DEV_STAMP) ## the same, with what tests and linters need

test: install-dev ## run the tests; PYTEST_ARGS="-k quant -x" and JOBS=1 are passed on
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

lint: install-dev ## ruff, mypy --strict and the import layers
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: install-dev ## apply ruff's fixes and its formatting
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: install-dev ## run every benchmarks/bench_*.py
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; $(PY) "$$bench"; done

clean: ## remove the environment, caches and everything that was built or exported
	rm -rf $(VENV) build dist out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./.git -prune -o -type d \( -name __pycache__ -o -name '*.egg-info' \) -exec rm -rf {} +

$(PY):
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "edgevit needs Python 3.10 or later as PYTHON ('$(PYTHON)' is not): make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	'$(PYTHON)' -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "No virtual environment could be made. On Debian: apt-get install python3-venv" >&2; exit 1; }

# torch comes first and alone, by its exact version: an index may hold the CPU build under just that version, and a
# range would be answered with a newer release and its GPU libraries. timm comes without its dependencies, because
# torchvision has no build that matches this torch everywhere; edgevit stands in for the names that timm imports of it.
$(RUN_STAMP): $(PACKAGES) | $(PY)
	@case ',$(EXTRAS),' in *,torch,*|*,timm-deps,*|*,timm,*|*,all,*) \
	  echo "Installing $$(grep '^torch==' constraints.txt), the largest package"; \
	  $(PIP) install -c constraints.txt "$$(grep -o '^torch==[^; ]*' constraints.txt)";; esac
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@case ',$(EXTRAS),' in *,timm-deps,*) \
	  $(PIP) install --no-deps "$$(grep -o '^timm==[^; ]*' constraints.txt)";; esac
	@touch '$@'

$(DEV_STAMP): $(RUN_STAMP)
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch '$@'
