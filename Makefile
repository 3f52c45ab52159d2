# Two ways in: `make demo` shows it at work, `make test` checks all of it. Each does its own set-up.

PYTHON := .venv/bin/python

.PHONY: help demo test check format bench bench-quota fuzz chaos schedules lock clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo:  ## the whole way of events on this machine, before your eyes, in about 20 seconds
	@tools/venv demo
	@$(PYTHON) -m consumer demo $(ARGS)

test: check  ## everything that is checked: format, lint, types, tests on both brokers, coverage
	@$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)
	@$(PYTHON) -m coverage combine --quiet
	@$(PYTHON) -m coverage report --format=total | sed 's/^/coverage: /;s/$$/ %/'
	@$(PYTHON) -m coverage report >.cache/coverage.txt || (tail -n 40 .cache/coverage.txt; exit 1)

check:  ## format, lint and types
	@tools/venv dev
	@mkdir -p .cache
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m ruff check --quiet .
	$(PYTHON) -m mypy

format:  ## put the code into its form
	@tools/venv dev
	$(PYTHON) -m ruff check --quiet --fix .
	$(PYTHON) -m ruff format --quiet .

bench:  ## how fast, beside the bare loop, on a real Kafka (needs Java 17 and Maven)
	@tools/venv dev
	$(PYTHON) -m benchmarks.closed_loop $(ARGS)

bench-quota:  ## how much of the quota is used, and that nothing is refused: 40 minutes (ARGS="--rows text-3-share")
	@tools/venv dev
	$(PYTHON) -m benchmarks.quota $(ARGS)

fuzz:  ## 100,000 random and mutated answers through the reader (ARGS="--seed 2" for others)
	@tools/venv dev
	$(PYTHON) -m fuzz.answers $(ARGS)

chaos:  ## real brokers and processes under faults, then an audit (SEEDS=3; ARGS="--seeds 7 --mode exactly_once")
	@tools/venv dev
	$(PYTHON) -m chaos --seeds 1-$(or $(SEEDS),1) $(ARGS)

schedules:  ## 1,000 simulated schedules of faults on a Kafka in memory (ARGS="--seeds 1-10000" for more)
	@tools/venv dev
	$(PYTHON) -m tests.simulation $(or $(ARGS),--seeds 1-1000)

lock:  ## resolve the dependencies anew into locks/
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		pyproject.toml --extra demo --extra tracing --group dev -o locks/dev.txt
	for part in runtime demo; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			pyproject.toml $$(test $$part = demo && echo --extra demo) -c locks/dev.txt -o locks/$$part.txt; \
	done

clean:  ## remove what was made
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
