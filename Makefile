# make demo: a fresh machine to a report. make test: lint and the daily tests. make test-all: everything that CI checks.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PEERS  ?= .venv-peers
SEVEN  ?= .venv-7net
# TORCH=cpu installs the pinned CPU build; TORCH=cuda keeps or takes the build that pip finds for your GPU.
TORCH  ?= cpu
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXTRAS ?= test,lint,fireworks,remote,xtb

ifeq ($(TORCH),cuda)
CONSTRAINTS := $(VENV)/constraints-cuda.txt
else
CONSTRAINTS := constraints.txt
endif

.PHONY: install dev demo potentials test test-slow test-slurm test-all lint types layers bench docs clean

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "phonotune needs Python >= 3.11, found " + sys.version'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	grep -v -E '^(torch|nvidia)' constraints.txt > $(VENV)/constraints-cuda.txt
	$(PIP) install -c $(CONSTRAINTS) torch
	$(PIP) install -c $(CONSTRAINTS) -e .
	touch $@

# A MongoDB wire server for the tests, run as a process of its own (GPL: never a dependency of the package).
$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	$(PIP) install -c $(CONSTRAINTS) SecantusDB==0.7.0b3
	touch $@

demo: install
	$(BIN)/phonotune demo

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) -j 2 types layers

types: dev
	$(BIN)/mypy

layers: dev
	$(BIN)/lint-imports --no-cache

# One thread per process and two processes: small tensors gain nothing from more threads. COVERAGE=1 measures the
# branch coverage of the daily tier; at least 95 % are asked for.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
ifdef COVERAGE
COVER  := --cov --cov-report=term --cov-fail-under=95
endif

test: dev lint
	$(PYTEST) -n 2 --dist worksteal -m 'not slow and not slurm' $(COVER) $(PYTEST_ARGS)

# A file stays on one of the two processes: the tests of a file often share one run of the DAG.
test-slow: dev
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m 'slow and not slurm' $(PYTEST_ARGS)

# They share one Slurm, and mostly wait for it: `.ci/run` runs them beside the others.
test-slurm: dev
	$(PYTEST) -m slurm $(PYTEST_ARGS)

test-all:
	$(MAKE) test COVERAGE=1
	$(MAKE) test-slow
	$(MAKE) test-slurm

# Equitrain and mace_run_train get an environment of their own, with the same torch.
$(PEERS)/.installed: constraints.txt | $(VENV)/.installed
	$(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install -c $(CONSTRAINTS) torch
	$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install -c $(CONSTRAINTS) \
		'equitrain[torch]==1.0.0' mace-torch==0.3.16
	touch $@

# SevenNet needs another e3nn than MACE, so it gets an environment of its own, with the same torch. Its wheel holds the weights.
$(SEVEN)/.installed: constraints.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(SEVEN)
	grep -E '^(torch|numpy|scipy|ase|--)' constraints.txt > $(SEVEN)/constraints.txt
	$(SEVEN)/bin/python -m pip --disable-pip-version-check --quiet install -c $(SEVEN)/constraints.txt torch
	$(SEVEN)/bin/python -m pip --disable-pip-version-check --quiet install -c $(SEVEN)/constraints.txt sevenn==0.13.0
	touch $@

SEVEN_WEIGHTS := $(SEVEN)/lib/python3*/site-packages/sevenn/pretrained_potentials
ADD_SEVEN = $(BIN)/phonotune models add --python $(SEVEN)/bin/python --calculator sevenn.calculator:SevenNetCalculator \
	--level-of-theory 'PBE and PBE+U as in MPtrj'

potentials: install $(SEVEN)/.installed
	$(ADD_SEVEN) 7net-0 --set model=7net-0 --weights $(SEVEN_WEIGHTS)/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth
	$(ADD_SEVEN) 7net-l3i5 --set model=7net-l3i5 --weights $(SEVEN_WEIGHTS)/SevenNet_l3i5/checkpoint_l3i5.pth

bench: dev $(PEERS)/.installed
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/finetune.py --peers-python $(PEERS)/bin/python $(BENCH_ARGS)

docs: dev
	$(PIP) install -c $(CONSTRAINTS) -e '.[docs]'
	$(BIN)/sphinx-build -nW -b html docs docs/_build/html

clean:
	rm -rf $(VENV) $(PEERS) $(SEVEN) docs/_build build dist .pytest_cache .mypy_cache .ruff_cache
