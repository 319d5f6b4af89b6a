# Everything a person does with this project. `make` alone lists it.
PYTHON := .venv/bin/python

.PHONY: help check
help:  ## show this list
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):[^#]*## /\1\t/' | expand -t 10

check:  ## format, lint, types, import directions, unit tests: seconds
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy --strict
	$(PYTHON) -m mypy --strict -p deploy
	.venv/bin/lint-imports
	$(PYTHON) -m pytest -q tests/unit
