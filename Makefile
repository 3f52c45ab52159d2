# Two ways in: `make demo` shows it at work, `make test` checks all of it. Each does its own set-up.

PYTHON := .venv/bin/python

.PHONY: help demo test check format bench bench-page profile bench-quota fuzz chaos schedules alerts pictures pictures-check secured image-check chart lock reference docs licences sbom audit release clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo:  ## the whole way of events on this machine, before your eyes, in about 20 seconds
	@tools/venv demo
	@$(PYTHON) -m consumer demo $(ARGS)

test: check  ## everything that is checked: format, lint, types, tests on both brokers, coverage
	@$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder $(ARGS)
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

bench:  ## how fast, beside the bare loop and others, on a real Kafka: 15 minutes (Java 17, Maven; ARGS="--only order")
	@tools/venv dev
	$(PYTHON) -m benchmarks $(ARGS)

bench-page:  ## take what was measured over into docs/performance.md and its pictures
	@tools/venv dev
	$(PYTHON) -m benchmarks.report $(ARGS)

profile:  ## the flame graph of the closed loop (fetches py-spy)
	@tools/venv dev
	$(PYTHON) -m benchmarks.profile $(ARGS)

bench-quota:  ## how much of the quota is used, and that nothing is refused: 40 minutes (ARGS="--rows text-3-share")
	@tools/venv dev
	$(PYTHON) -m benchmarks.quota $(ARGS)

fuzz:  ## random and mutated answers through the reader and over both transports (ARGS="--seed 2" for others)
	@tools/venv dev
	$(PYTHON) -m fuzz.answers $(ARGS)
	$(PYTHON) -m fuzz.wire $(ARGS)

chaos:  ## real brokers and processes under faults, then an audit (SEEDS=3; ARGS="--seeds 7 --mode exactly_once")
	@tools/venv dev
	$(PYTHON) -m chaos --seeds 1-$(or $(SEEDS),1) $(ARGS)

schedules:  ## 1,000 simulated schedules of faults on a Kafka in memory (ARGS="--seeds 1-10000" for more)
	@tools/venv dev
	$(PYTHON) -m tests.simulation $(or $(ARGS),--seeds 1-1000)

alerts:  ## every alert in its scenario, and a healthy hour beside them, 60 times faster (ARGS="--hours 2" for more)
	@tools/venv dev
	$(PYTHON) -m tests.alerts $(ARGS)

pictures:  ## draw the dashboards with Grafana's components into docs/pictures: 3 minutes (Chromium, Node.js, Prometheus)
	@tools/venv dev
	$(PYTHON) -m config.grafana.build
	$(PYTHON) -m tests.observed.pictures

pictures-check:  ## draw them from a short run and throw it away: no panel may show an error, or nothing
	@tools/venv dev
	$(PYTHON) -m tests.observed.pictures --check

secured:  ## each way to a secured Kafka carries 10,000 events: 2 minutes (Java 17 and Maven)
	@tools/venv dev
	MODERATION_SECURED_EVENTS=10000 $(PYTHON) -m pytest -q tests/kafka/test_secured.py -k carries

image-check:  ## the image built twice without Docker, compared, weighed and run (root, buildah, debootstrap)
	@tools/venv dev
	$(PYTHON) tools/image_check.py $(ARGS)

chart:  ## write the chart's golden renderings and its table of values anew
	@tools/venv dev
	$(PYTHON) -m tests.helm

lock:  ## resolve the dependencies anew into locks/
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		pyproject.toml --extra demo --extra formats --extra tracing --group dev -o locks/dev.txt
	for part in runtime demo formats tracing; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			pyproject.toml $$(test $$part != runtime && echo --extra $$part) -c locks/dev.txt -o locks/$$part.txt; \
	done
	echo 'hatchling>=1.27' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate - -o locks/build.txt

reference:  ## write the pages and the schema anew that are made from the code: settings and metrics
	@tools/venv dev
	$(PYTHON) -m config.reference
	$(PYTHON) -m config.metrics_page

docs:  ## the documentation as a site, built strict into site/
	@tools/venv dev
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet $(ARGS)

licences:  ## write the table of the dependencies' licences anew
	@tools/venv dev
	$(PYTHON) -m tools.licences

sbom:  ## what a release is made of, as CycloneDX, into dist/
	@tools/venv dev
	$(PYTHON) -m tools.sbom

audit:  ## ask whether anything in a release is known to be vulnerable (needs the network)
	@tools/venv dev
	$(PYTHON) -m tools.audit

release:  ## wheel, sdist, SBOMs and checksums into dist/
	@tools/venv dev
	$(PYTHON) -m tools.release

clean:  ## remove what was made
	rm -rf .venv .cache dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
