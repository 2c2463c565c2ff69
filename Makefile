# make demo   trains LeNet-5 on real handwritten digits and shows what it sees
# make test   ruff and the tests
# Another interpreter: make test PYTHON=python3.12 VENV=.venv312

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test clean

demo: $(VENV)/installed
	$(RUN) -m experiments.train --config=configs/classification/lenet_digits.py --workdir=runs/demo

test: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(RUN) -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

# Touched when the install is whole, so that it is not repeated.
$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("jaxcv needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs
