# Everything a person does with this project. `make` alone lists it.
PYTHON3 ?= python3
VENV := .venv/bin/python
# Plain standard library, before there is anything else (-B: leave no files behind, this may be root).
RUN := $(PYTHON3) -B -m deploy.run

TOO_OLD := error: Python 3.11 or newer is needed, name one: make PYTHON3=/path/to/python3.11 $(MAKECMDGOALS)
NEW_ENOUGH := $(PYTHON3) -c 'import sys; sys.exit("$(TOO_OLD)" if sys.version_info < (3, 11) else 0)'

export WS_GATEWAY_CLEAN

.PHONY: help run status logs stop clean check test bench lock packages .env
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

check:  ## format, lint, types, import directions, unit tests: seconds
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy --strict
	$(VENV) -m mypy --strict -p deploy
	.venv/bin/lint-imports
	$(VENV) -m pytest -q tests/unit

bench:  ## measure
	@$(VENV) -m bench
