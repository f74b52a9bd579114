# The commands of a developer. `make run` and `make test` need Python 3.11 or newer, and nothing else.
PYTHON ?= python3
MINUTES ?= 3
BIN := .venv/bin
READY := .venv/ready
BENCH_READY := .venv/bench-ready

.PHONY: run demo test test-compiled lint format compiled bench soak faults lock clean

run: $(READY)  ## a gateway in front of the local emulator
	@$(BIN)/sagemaker-gateway emulate --config config/emulator.yaml --gateway config/local.yaml

demo: $(READY)  ## the seed experiment, measured
	@$(BIN)/sagemaker-gateway demo

test: $(READY)  ## every promise
	$(BIN)/python -m pytest

test-compiled: $(READY)  ## the promises of the compiled gateway; needs a C compiler
	$(BIN)/python -m pytest tests/compiled/promises.py

lint: $(READY)  ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

compiled: .venv-compiled/ready  ## .venv-compiled: the same source with its hot path compiled; needs a C compiler

bench: $(BENCH_READY)  ## figures beside Envoy's and the SDK's, in the same run: table, plot, README; a quarter of an hour
	$(BIN)/python -m tests.bench

soak: $(READY)  ## minutes of overload, faults and hang-ups: make soak MINUTES=10
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

faults: $(READY)  ## every fault, played: the table with what was measured; make faults FULL=1 takes a minute longer
	@$(BIN)/python -m tests.faults $(if $(FULL),--full)

lock: $(READY)  ## the newest versions that setup.cfg allows
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make lock" setup.cfg --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make lock" --extra test setup.cfg \
		--constraint requirements.lock --output-file requirements-test.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make lock" --extra bench setup.cfg \
		--constraint requirements-test.lock --output-file requirements-bench.lock

clean:
	rm -rf .venv .venv-compiled build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements-test.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(BENCH_READY): requirements-bench.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-bench.lock
	@touch $@

# The wheel of the source as it is, in an environment of its own.
.venv-compiled/ready: requirements.lock tests/compiled/build.py setup.py setup.cfg $(shell find gateway -name '*.py') $(READY)
	$(PYTHON) -m venv .venv-compiled
	.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	set -e; place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; $(BIN)/python -m tests.compiled.build "$$place"; \
		.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$$place"/*.whl
	@touch $@
