# Each target sets up .venv from requirements.lock by itself.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test mutants soak format

demo: .venv/ready
	$(BIN)/orch sweep --space evae.yaml
	$(BIN)/orch optimize --objective mz_max

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# edits that make the science wrong, one at a time; each must be caught
mutants: .venv/ready
	$(BIN)/python tests/mutants/mutants.py

# an hour of every command on four nodes while drivers, workers and nodes are killed at random
soak: .venv/ready
	SOAK_SECONDS=3600 $(BIN)/python -m pytest -m slow -s tests/storm/test_soak.py

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch first: once it is there, nothing else asks for a larger build of it
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $$(grep '^torch==' requirements.lock)
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@
