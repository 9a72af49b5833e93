# make demo: install, train on the embedded digits, draw, export (the training takes 6 minutes on 2 cores).
# make test: install and run all tests; make coverage: with a report of the lines they reach.
# make test-oldest: the fast tests with the oldest versions that pyproject.toml allows.
# make docs: the documentation site, in build/site/.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test coverage test-oldest docs lint clean

# Made once, and again when the pins change.
$(VENV)/.installed: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

# A second `make demo` goes on from what the first has trained; it deletes nothing.
demo: $(VENV)/.installed
	if [ -e runs/demo/config.json ]; \
	then $(BIN)/python -m amr_tf.train --run_dir=runs/demo --resume; \
	else $(BIN)/python -m amr_tf.train --flagfile=configs/digits.cfg --run_dir=runs/demo; fi
	$(BIN)/python -m amr_tf.interpolate --run=runs/demo
	$(BIN)/python -m amr_tf.export --run=runs/demo --out=saved_models/demo
	@echo "Look at runs/demo/samples/ and runs/demo/interpolation.png."

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

coverage: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov --cov-report=term --cov-report=html:build/coverage

$(VENV)/oldest/.installed: requirements-oldest.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)/oldest
	$(VENV)/oldest/bin/pip install --quiet -r requirements-oldest.txt
	$(VENV)/oldest/bin/pip install --quiet --no-deps -e .
	touch $@

test-oldest: $(VENV)/oldest/.installed
	$(VENV)/oldest/bin/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

$(VENV)/docs/.installed: requirements-docs.txt
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/pip install --quiet -r requirements-docs.txt
	touch $@

docs: $(VENV)/docs/.installed
	$(VENV)/docs/bin/mkdocs build --strict

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info
