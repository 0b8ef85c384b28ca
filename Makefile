# Everything here runs from a clean clone with Python ≥ 3.11 and make. `make` alone lists what there is.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

AIRFLOW_3 := .venv/airflow-3.3
AIRFLOW_2 := .venv/airflow-2.11
BENCHMARK := .venv/benchmark
PACKAGE := -e '.[parquet,sandbox]' --group test --group browser
# Two for each processor, since tests also wait. Each process starts servers of its own, once.
PYTEST := -m pytest -m 'not system and not long' -n $(shell echo $$((2 * $$(nproc)))) --dist loadgroup
# What knows nothing of Airflow but that an operator runs: one line is enough by hand, CI has it on both.
NO_AIRFLOW := tests/test_house.py tests/audit_events tests/integration/audit_events tests/integration/sandbox \
	tests/integration/operators/test_reconciling.py tests/integration/test_memory_bucket.py \
	$(patsubst %,tests/integration/transfers/test_%.py,creation_only hostile_api keeping killed live_users receipts \
		unfit_stores written_once)

.PHONY: help demo test test-3.3 test-2.11 golden mutants system browser matrix stores lint types docs benchmark constraints clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(AIRFLOW_3)/.made ## Export three days from a sandbox API to a real S3 through Airflow, and check every object
	$(AIRFLOW_3)/bin/python -m airflow_provider_akinon.sandbox.demo

test: test-3.3 test-2.11 ## Run the tests on Airflow 3.3, and those that know Airflow on 2.11

test-3.3: $(AIRFLOW_3)/.made ## Run the tests on Airflow 3.3
	.ci/with-airflow $(AIRFLOW_3) python $(PYTEST) $(ARGS)

test-2.11: $(AIRFLOW_2)/.made ## Run the tests that know Airflow on Airflow 2.11; others by ARGS
	.ci/with-airflow $(AIRFLOW_2) python $(PYTEST) $(or $(ARGS),$(NO_AIRFLOW:%=--ignore=%))

golden: $(AIRFLOW_3)/.made ## Renew the golden files of the archive, and show what changed
	AKINON_RENEW_GOLDEN=1 .ci/with-airflow $(AIRFLOW_3) python $(PYTEST) tests/integration/test_golden.py
	@# Or new files would not show.
	git add --intent-to-add tests/golden
	git --no-pager diff --stat -- tests/golden
	git --no-pager diff -- tests/golden

system: $(AIRFLOW_3)/.made $(AIRFLOW_2)/.made ## Run the tests in a whole Airflow, and of the wheel, on both lines (PostgreSQL needed)
	.ci/with-airflow $(AIRFLOW_3) python -m pytest -m 'system and not browser' $(ARGS)
	.ci/with-airflow $(AIRFLOW_2) python -m pytest -m 'system and not browser' $(ARGS)

browser: $(AIRFLOW_3)/.made $(AIRFLOW_2)/.made ## Use the connection's form in Chromium, on both lines; pictures in .pictures/ (PostgreSQL needed)
	.ci/with-airflow $(AIRFLOW_3) python -m pytest -m browser $(or $(ARGS),tests/browser)
	.ci/with-airflow $(AIRFLOW_2) python -m pytest -m browser $(or $(ARGS),tests/browser)

mutants: $(AIRFLOW_3)/.made $(AIRFLOW_2)/.made ## Break the code in thirty places, and see the tests fail
	.ci/with-airflow $(AIRFLOW_3) python -m tests.mutants --also $(AIRFLOW_2)/bin/python $(ARGS)

matrix: $(AIRFLOW_3)/.made ## Install the wheel beside each Airflow, and let it work there; ARGS=short or whole (needs uv)
	.ci/with-airflow $(AIRFLOW_3) python -m tests.matrix $(ARGS)

stores: $(AIRFLOW_3)/.made ## Try the archive in other stores of S3 than the tests' (needs uv; npm and Ceph for some)
	AIRFLOW__LOGGING__LOGGING_LEVEL=CRITICAL .ci/with-airflow $(AIRFLOW_3) python -m tests.stores $(ARGS)

lint: $(AIRFLOW_3)/.made ## Check style and format
	$(AIRFLOW_3)/bin/ruff check .
	$(AIRFLOW_3)/bin/ruff format --check .

types: $(AIRFLOW_3)/.made ## Check the types
	$(AIRFLOW_3)/bin/mypy

docs: $(AIRFLOW_3)/.made ## Build the documentation into docs/_build/html
	.ci/with-airflow $(AIRFLOW_3) sphinx-build -W -n -q --keep-going docs docs/_build/html

benchmark: $(BENCHMARK)/.made ## Compare with what else could do the job; prints a table, draws a plot
	$(BENCHMARK)/bin/python -m benchmarks $(ARGS)

constraints: ## Pin the newest versions that fit together (needs uv)
	.ci/constraints

clean: ## Remove environments and everything built
	rm -rf .venv .demo dist docs/_build

$(AIRFLOW_3)/.made: pyproject.toml constraints/airflow-3.3.txt .ci/environment
	.ci/environment airflow-3.3 constraints/airflow-3.3.txt "3.11 3.12 3.13" \
		$(PACKAGE) --group lint --group docs 'apache-airflow~=3.3.0'

$(AIRFLOW_2)/.made: pyproject.toml constraints/airflow-2.11.txt .ci/environment
	.ci/environment airflow-2.11 constraints/airflow-2.11.txt "3.12 3.11" $(PACKAGE) 'apache-airflow~=2.11.0'

$(BENCHMARK)/.made: pyproject.toml constraints/benchmark.txt benchmarks/requirements.txt .ci/environment
	.ci/environment benchmark constraints/benchmark.txt "3.11 3.12 3.13" -e '.[parquet]' -r benchmarks/requirements.txt
