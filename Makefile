# The verbs of this project. `make help` lists them; each one prepares .venv by itself when it has to.
PYTHON ?= python3
ARGS ?=
JOBS ?= 2
KILLS ?= 200

# A question may hold $, quotes and backticks. $(value) takes it as typed, so that make expands nothing in it,
# and tools/search.sh reads it from the environment, so that no shell does.
override DIR := $(value DIR)
override Q := $(value Q)
override K := $(value K)
export DIR Q K PYTHON

# Models come from folders, caches and installed packages; nothing below asks the network for one.
export HF_HUB_OFFLINE := 1

.PHONY: help demo search test lint format types imports check docs bench speed soak memory install clean
.DEFAULT_GOAL := help

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while read -r verb what; do printf '  make %-9s %s\n' "$$verb" "$$what"; done

demo: ## index this project's pages and answer three questions
	@sh tools/venv.sh search
	@sh tools/demo.sh

search: ## search your own files: make search DIR=path Q="question" [K=10]
	@sh tools/search.sh

install: ## create .venv with everything that tests and CI need
	@sh tools/venv.sh dev

# Two processes share the cores: threads that spin while they wait would take the time of the other's.
test: install ## run all tests, two files at a time (make test ARGS="-k pooling" JOBS=0 for some, in one process)
	OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: install ## ruff: rules, and formatting
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: install ## let ruff mend what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

types: install ## mypy --strict on src
	.venv/bin/mypy --strict src

imports: install ## the table of who may import whom, enforced
	.venv/bin/python -m pytest -q tests/contracts/test_import_table.py

check: lint types test ## all that CI runs

docs: install ## write docs/cli.md again from the command line's own help
	.venv/bin/python tools/cli_docs.py

bench: install ## measure all there is to measure (forty minutes); make bench ARGS=--record keeps the results
	.venv/bin/python benchmarks/startup.py $(ARGS)
	.venv/bin/python benchmarks/quality.py $(ARGS)
	.venv/bin/python benchmarks/parity.py $(ARGS)
	.venv/bin/python benchmarks/refusals.py $(ARGS)
	.venv/bin/python benchmarks/tasks.py $(ARGS)
	@$(MAKE) --no-print-directory speed memory

speed: install ## sentvec beside its peers: tokens/s, cosines, memory; ARGS=--help says what can be chosen
	@sh benchmarks/peers/install.sh .venv/bin/python
	.venv/bin/python benchmarks/encode.py $(ARGS)

soak: install ## kill a writing collection many times (KILLS=200), and check it after each
	SENTVEC_SOAK=$(KILLS) .venv/bin/python -m pytest -s -q tests/search/test_crash.py

memory: install ## resident memory during long runs
	.venv/bin/python benchmarks/memory.py $(ARGS)

soak-serve: install ## three minutes of all kinds of clients at a server (SENTVEC_SOAK_S=3600 for an hour)
	SENTVEC_SOAK_S=$${SENTVEC_SOAK_S:-180} .venv/bin/python -m pytest -s tests/serve/test_soak.py $(ARGS)

clean: ## remove .venv, the demo's collections and caches
	rm -rf .venv .demo build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +
