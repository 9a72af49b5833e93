# make demo: install, train on the embedded digits, draw, export (under 5 minutes on 2 cores).
# make test: install and run all tests.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint clean

# Made once, and again when the pins change.
$(VENV)/.installed: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

demo: $(VENV)/.installed
	rm -rf runs/digits
	$(BIN)/python -m amr_tf.train --flagfile=configs/digits.cfg
	$(BIN)/python -m amr_tf.interpolate --run=runs/digits
	$(BIN)/python -m amr_tf.export --run=runs/digits --out=saved_models/digits
	@echo "Look at runs/digits/samples/ and runs/digits/interpolation.png."

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build *.egg-info
