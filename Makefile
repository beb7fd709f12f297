# Each target makes its own environment in .venv when there is none.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: test demo gpu clean

$(STAMP): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "nerd-fast needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Name one with: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,examples,onnx]'
	touch $@

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -q -m interpreter
	NERD_FAST_LAUNCH=1 $(BIN)/python -m pytest -q -m launch
	$(BIN)/python -m pytest -q -m "not interpreter and not launch"

demo: $(STAMP)
	$(BIN)/nerd-fast demo --out demo

gpu: $(STAMP)
	$(BIN)/python -m tests.gpu.lane --out gpu-results

clean:
	rm -rf demo build *.egg-info .pytest_cache .ruff_cache
