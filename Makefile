# Everything a person does with this project. `make` alone lists it.
PYTHON3 ?= python3
VENV := .venv/bin/python
JOBS ?= 3
# Plain standard library, before there is anything else (-B: leave no files behind, this may be root).
RUN := $(PYTHON3) -B -m deploy.run

TOO_OLD := error: Python 3.11 or newer is needed, name one: make PYTHON3=/path/to/python3.11 $(MAKECMDGOALS)
NEW_ENOUGH := $(PYTHON3) -c 'import sys; sys.exit("$(TOO_OLD)" if sys.version_info < (3, 11) else 0)'

UV := uv==0.13.9
COMPILE = "$$uv/bin/uv" pip compile -q --universal --generate-hashes --no-strip-extras --no-header --python-version 3.11 $(UPGRADE)
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

export WS_GATEWAY_CLEAN

.PHONY: help run status logs stop clean check lint test bench lock packages packages-dev .env
.NOTPARALLEL:

help:  ## show this list
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):[^#]*## /\1\t/' | expand -t 10

run:  ## install what is missing, start everything, show live events
	@$(NEW_ENOUGH)
	@$(RUN) prepare
	@$(VENV) -m deploy.run up

status:  ## which programs run
	@$(RUN) status

logs:  ## follow all logs
	@$(RUN) logs

stop:  ## end everything; data stays in .run/
	@$(RUN) stop

clean:  ## stop, then remove .run/ (all data) and .venv/
	@$(RUN) clean

.env:  ## make .env with random secrets, when there is none
	@$(RUN) env

packages:  ## install PostgreSQL, RabbitMQ and python3-venv from the distribution (as root)
	@$(RUN) packages

packages-dev:  ## and nginx, for the tests (as root)
	@$(RUN) packages-dev

check: lint  ## format, lint, types, import directions, unit tests: seconds
	$(VENV) -m pytest -q tests/unit

lint:
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy --strict
	$(VENV) -m mypy --strict -p deploy
	.venv/bin/lint-imports

test:  ## every test from a bare machine: installs what it needs, starts servers of its own
	@$(NEW_ENOUGH)
	@$(RUN) prepare-dev
	@$(MAKE) --no-print-directory lint
	CI=true $(VENV) -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(TESTS)

bench:  ## measure
	@$(VENV) -m bench

lock:  ## pin the dependencies again; UPGRADE=--upgrade takes the newest
	@uv=$$(mktemp -d) && trap 'rm -rf "$$uv"' EXIT && $(PYTHON3) -m venv "$$uv" && "$$uv/bin/pip" -q install $(UV) && \
	$(COMPILE) -o requirements.lock pyproject.toml && \
	$(COMPILE) -o requirements-simulator.lock --extra simulator -c requirements.lock pyproject.toml && \
	$(COMPILE) -o requirements-dev.lock --extra dev -c requirements-simulator.lock pyproject.toml && \
	$(PYTHON3) -c '$(BUILD_REQUIRES)' | $(COMPILE) -o requirements-build.lock -
