# Two commands: `make demo` analyzes the demonstration study, `make test` runs all tests. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test clean

demo: $(READY)
	$(BIN)/stenosis-detection phantom --kind demo --output demo-output/demo-study --overwrite
	$(BIN)/stenosis-detection analyze demo-output/demo-study/demo.nrrd --output demo-output --overwrite
	@echo
	@echo "Look at:  demo-output/case-*/report.html   the report"
	@echo "          demo-output/case-*/scene.mrb     the scene, for 3D Slicer"
	@echo "          demo-output/demo-study/          the study that was analyzed, and its truth"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info

$(READY): pyproject.toml Testing/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 demo" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint Testing/constraints.txt --editable ".[test]"
	touch $@
