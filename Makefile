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

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build *.egg-info
