.DEFAULT_GOAL := help
.PHONY: help install web kafka run up down test lint format sim week hostile chaos mutants bench limits costs compile lock holes

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Begin
install: ## Build .venv from the lock file; quick when nothing has changed
	@deploy/install.sh
	@deploy/web.sh --if-possible
web: ## Build the page that the gateway serves at /, or say why it cannot be; needs .venv
	@deploy/web.sh
run: install ## A whole exchange in memory, nothing but Python needed; gone when it stops
	.venv/bin/hourbook sandbox

##@ Every day
test: install kafka ## All tests that are not slow, on real servers; narrow with T=tests/matching/test_book.py
	.venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(or $(T),tests)
lint: install ## Style, types and import rules
	.venv/bin/ruff format --check --output-format concise .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@deploy/web.sh --check
format: install ## Mend what the linter can mend by itself
	.venv/bin/ruff format --quiet .
	.venv/bin/ruff check --fix .

##@ Before a release
sim: install ## Random days with faults; one again with HOURBOOK_SEED=123, more with HOURBOOK_SEEDS=2000
	HOURBOOK_SEEDS=$${HOURBOOK_SEEDS:-60} .venv/bin/pytest -s tests/simulation/test_random_day.py
week: install ## A week of the market with everybody in it, the desk included, audited; one again with HOURBOOK_SEED=123
	.venv/bin/pytest -s -m slow tests/simulation/test_week.py
hostile: install kafka ## A stranger asks all that the OpenAPI document allows and more; CASES=50000, one again with HOURBOOK_SEED=123
	.venv/bin/python -m tests.hostile --cases $(or $(CASES),5000)
mutants: install ## Plant bugs one by one; each must be caught by a test that names its invariant
	.venv/bin/python -m tests.mutants
chaos: install kafka ## A hostile day: real processes under orders, hurt and judged; longer with MINUTES=60, short with ONCE=1, one again with HOURBOOK_SEED=123
	.venv/bin/python -m tests.chaos
bench: install kafka ## Measure the figures of docs/benchmarks.md; takes minutes and wants a quiet machine
	.venv/bin/python -m bench
limits: install kafka ## Clients who take too much, a million open orders: what others are served, and docs/reliability.md; a quarter of an hour
	.venv/bin/python -m bench.limits
costs: install kafka ## What an order, a shard and a reader cost, two gateways and two shards: the tables of docs/scaling.md
	.venv/bin/python -m bench.costs
compile: install ## The engine's pure modules as machine code in var/compiled; needs a C compiler (docs/operations.md)
	@deploy/compile.sh
lock: install ## Resolve the dependencies again; UPGRADE=1 takes the newest versions
	@deploy/lock.sh $(if $(UPGRADE),--upgrade)
holes: install ## Known holes in what is locked; asks vulnerability services on the Internet
	.venv/bin/uv tool run pip-audit@2.10.1 --strict --disable-pip --require-hashes --requirement requirements-dev.lock

##@ A durable exchange on this machine
kafka: ## Fetch Apache Kafka into var/kafka/libs, where Java and Maven are installed
	@deploy/kafka/fetch.sh
up: install kafka ## Start broker, database and every service; data below var/
	.venv/bin/hourbook up
down: install ## Stop them; keeps the data
	.venv/bin/hourbook down
