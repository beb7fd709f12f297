# Each target makes its own environment in .venv when there is none.
PYTHON ?= python3
# Threads that wait sleep: where they spin, tests beside another busy process take ten times as long (docs/cpu.md).
export OMP_WAIT_POLICY ?= PASSIVE
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The networks of other libraries and nnU-Net have environments of their own on top of the first: they bring PyPI's
# torchvision, which is made for CUDA builds of torch, and pytorch-lightning cannot be imported where it does not fit.
NETWORKS := $(VENV)-networks
NNUNET   := $(VENV)-nnunet
TRIED    := tests/surgery tests/nnunet tests/examples
PURELIB  := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

.PHONY: test ptx networks networks-table nnunet demo docs-check gpu gpu-offline clean

$(STAMP): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "nerd-fast needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Name one with: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,examples,onnx]'
	touch $@

# One for each extra that is named so.
$(VENV)-%/.installed: $(STAMP)
	$(PYTHON) -m venv $(VENV)-$*
	$(BIN)/python $(PURELIB) > $$($(VENV)-$*/bin/python $(PURELIB))/first.pth
	$(VENV)-$*/bin/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	touch $@

test: $(STAMP) $(NETWORKS)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -q -m interpreter
	NERD_FAST_LAUNCH=1 $(BIN)/python -m pytest -q -m launch
	$(BIN)/python -m pytest -q -m "not interpreter and not launch and not networks"
	$(NETWORKS)/bin/python -m pytest -q -m networks $(TRIED)

networks: $(NETWORKS)/.installed
	$(NETWORKS)/bin/python -m pytest -q -m networks $(TRIED)

networks-table: $(NETWORKS)/.installed
	$(NETWORKS)/bin/python -m tests.surgery.table

# nnU-Net itself with our trainers, three minutes on two cores; it brings forty packages, so it is no part of `make test`.
nnunet: $(NNUNET)/.installed
	$(NNUNET)/bin/python -m pytest -q tests/nnunet tests/examples tests/docs -k nnunet

demo: $(STAMP)
	$(BIN)/nerd-fast demo --out demo

docs-check: $(STAMP)
	$(BIN)/python -m tests.docs.check

# The compiled kernels executed on a CPU, for four architectures: about twenty minutes on one core.
ptx: $(STAMP)
	$(BIN)/python -m pytest -q -m ptx

gpu: $(STAMP)
	$(BIN)/python -m tests.gpu.lane --out gpu-results

# Without a package index: in the Python that is there, which must have torch with CUDA, triton, numpy, pytest and
# setuptools from 70.1 on (an older one needs wheel beside it).
gpu-offline:
	$(PYTHON) -m pip install --quiet --no-index --no-deps --no-build-isolation -e .
	$(PYTHON) -m tests.gpu.lane --out gpu-results

clean:
	rm -rf demo build *.egg-info .pytest_cache .ruff_cache .mypy_cache
