# make demo: set up, train one network with every rule on real data, compare.   make test: set up, lint, types, tests.
# make docs: set up, the documentation as a site, with the tutorials run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types docs docs-links clean

demo: $(VENV)/ready
	$(BIN)/rheobase compare --out runs/demo --overwrite
	@echo "Open it in a browser: $(CURDIR)/runs/demo/report.html"

test: lint types
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

docs: $(VENV)/ready
	$(BIN)/python -m sphinx -W --keep-going -n docs build/site
	@echo "Open it in a browser: $(CURDIR)/build/site/index.html"

# Links to other sites; needs the network.
docs-links: $(VENV)/ready
	$(BIN)/python -m sphinx -b linkcheck -D plot_gallery=0 docs build/links

# PyTorch first and pinned: a looser requirement would fetch the newest build.
$(VENV)/ready: pyproject.toml constraints.txt tests/others.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rheobase needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/others.txt || echo "Tests with other libraries' nets will be skipped."
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
