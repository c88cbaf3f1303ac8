# `make test` and `make demo` start from a bare clone and a Python >= 3.10: they make .venv, install everything, and run.
# PYTHON chooses the interpreter, TORCH the torch to install (for example TORCH=torch==2.13.0+cpu).
PYTHON ?= python3
TORCH ?= torch
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EMULATED ?= build/emulated
# torch's CPU builds have no torchvision beside them on PyPI: these two are made for each other.
COMPAT_VENV ?= .venv-compat
COMPAT_TORCH ?= torch==2.14.1 torchvision==0.29.1
# CompressAI needs NumPy 1, and later releases of pyarrow NumPy 2.
COMPAT_EXTRAS ?= compressai timm pyarrow==25.0.1 ray imageio datasets huggingface_hub scikit-learn lpips torch-fidelity
# Tests share the processor: one process a core, each with one thread (tests/conftest.py). Those of threads need all of it.
PARALLEL ?= -n auto --maxprocesses 4 --dist worksteal
ALONE := tests/test_threads.py tests/test_thread_limits.py
# What is tested: the checkout, or a wheel that was built of it.
COMPAT_PACKAGE ?= .
COMPAT_PIP := $(COMPAT_VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: help venv install emulated cuda-report test test-compat demo docs lint format clean
help:
	@echo "make demo         compress, decompress and verify three photographs; results in demo-output/"
	@echo "make test         build, install into $(VENV) and run the tests"
	@echo "make test-compat  the tests beside CompressAI, torchvision, timm, pyarrow, Ray, imageio, datasets, scikit-learn and lpips, in $(COMPAT_VENV) (5 GB)"
	@echo "make emulated     build the modules that run the CUDA kernels on the CPU"
	@echo "make cuda-report  what nvcc and the emulator say about the CUDA kernels, into docs/cuda-report.md"
	@echo "make docs         the documentation, into build/site: open build/site/index.html"
	@echo "make lint         ruff, clang-format and mypy"
	@echo "make format       let ruff and clang-format rewrite the sources"
	@echo "make clean        remove $(VENV), $(COMPAT_VENV) and the build folder"

# The build tools are installed too, so that a rebuild without isolation compiles only what changed.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "pylatent needs Python 3.10 or newer, $(PYTHON) is %d.%d: name another with `make PYTHON=python3.12 ...`" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --upgrade pip
	$(PIP) install -q '$(TORCH)' scikit-build-core pybind11 cmake ninja
	$(PIP) install -q --no-build-isolation '.[test,train,plot,dev,docs]'
	@touch $@

venv: $(VENV)/.ready

install: $(VENV)/.ready
	$(PIP) install -q --no-build-isolation --no-deps --force-reinstall .

# The CUDA kernels for the CPU, in modules that only the tests use (docs/cuda-without-a-gpu.md).
emulated: $(VENV)/.ready
	$(BIN)/cmake -S . -B $(EMULATED) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DPython_EXECUTABLE=$(abspath $(BIN)/python) -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) \
	  -DPYLATENT_EMULATED=ON -DPYLATENT_CUDA=OFF -DPYLATENT_SANITIZE=$(or $(PYLATENT_SANITIZE),OFF) \
	  $(addprefix -D,$(subst ;, ,$(SKBUILD_CMAKE_DEFINE))) > /dev/null
	$(BIN)/cmake --build $(EMULATED) --target emulated_modules

cuda-report: emulated
	$(BIN)/cmake -S . -B build/cuda-report -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DPython_EXECUTABLE=$(abspath $(BIN)/python) -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) \
	  -DPYLATENT_CUDA=ON > /dev/null
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/cuda_report.py build/cuda-report

# A compiler that fails must not pass for a machine without one. The tests run against the installed package.
test: export PYLATENT_REQUIRE_NATIVE ?= 1
test: install emulated
	$(BIN)/pytest -q $(PARALLEL) $(addprefix --ignore=,$(ALONE))
	$(BIN)/pytest -q $(ALONE)

# A package that cannot be installed here is named, and so are the tests that it leaves out.
$(COMPAT_VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(COMPAT_VENV)
	$(COMPAT_PIP) install -q --upgrade pip
	$(COMPAT_PIP) install -q $(COMPAT_TORCH) scikit-build-core pybind11 cmake ninja
	@for extra in $(COMPAT_EXTRAS); do \
	  $(COMPAT_PIP) install -q $$extra || echo "make test-compat: $$extra CANNOT BE INSTALLED, its tests do not run"; \
	done
	$(COMPAT_PIP) install -q --no-build-isolation -C build-dir=build/compat '$(COMPAT_PACKAGE)[test,train]'
	@touch $@

test-compat: export PYLATENT_REQUIRE_NATIVE ?= 1
test-compat: $(COMPAT_VENV)/.ready
	$(COMPAT_PIP) install -q --no-build-isolation --no-deps --force-reinstall -C build-dir=build/compat $(COMPAT_PACKAGE)
	PYLATENT_EXTRAS="$$($(COMPAT_VENV)/bin/python tests/extras.py)" $(COMPAT_VENV)/bin/pytest -q -m extra

demo: install
	$(BIN)/python examples/demo.py

# Pages that open from the disk and fetch nothing; a warning is an error.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.ready
	$(BIN)/mkdocs build --strict
	@! grep -rlE '<(script|link|img)[^>]* (src|href)="https?://' build/site --include=*.html || { echo "these pages fetch"; exit 1; }

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format -i

clean:
	rm -rf $(VENV) $(COMPAT_VENV) build
