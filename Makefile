PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(VENV)/.installed: pyproject.toml CMakeLists.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q '.[test,dev,train,plot]'
	touch $@

.PHONY: test
test: $(VENV)/.installed
	$(BIN)/pip install -q --no-deps --force-reinstall .
	$(BIN)/python -m pytest -q
