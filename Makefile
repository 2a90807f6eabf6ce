# People and CI run the same commands. `make demo` is the place to start.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A machine without a GPU gets one known CPU version of torch, so that results repeat.
CONSTRAINTS := $(if $(shell command -v nvidia-smi 2>/dev/null),,-c constraints-cpu.txt)

.PHONY: demo install test slow clean

demo: install ## install, then run the main job
	$(BIN)/evolvent demo

install: $(STAMP)

$(STAMP): pyproject.toml constraints-cpu.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(CONSTRAINTS) -e '.[dev]'
	touch $@

test: install ## install, format, lint, types, tests; what CI calls
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

slow: install ## simulations and kill points; GPU tests skip themselves where there is none
	$(BIN)/python -m pytest -q -m "slow or gpu"

clean:
	rm -rf $(VENV)
