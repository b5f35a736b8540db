# Everything needs only Python 3.11, make and git; the environment is made on first use.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
# Set, it would make each of the many processes of a test compile every library again.
unexport PYTHONDONTWRITEBYTECODE

UV := $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)

.PHONY: setup demo test lint bench lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$(UV)"
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: $(READY)
	$(BIN)/huika demo

# One more than there are processors: tests that wait for a process or a moment leave theirs to another.
TESTERS = $(shell $(PYTHON) -c 'import os; print(min(1 + (os.cpu_count() or 1), 4))')

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(TESTERS) --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

bench: $(READY)
	$(BIN)/huika bench

lock:
	test -x $(BIN)/uv || ($(PYTHON) -m venv .venv && $(BIN)/pip install --quiet "$(UV)")
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --group dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv .huika-demo
