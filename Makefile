# The commands of this repository. Everything they need is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin

comma := ,
PRODUCER := api,parquet
DEMO := worker,local,demo
DEV := worker,local,api,parquet,demo,dev

.PHONY: help demo down test clocks man current-sql check audit lock chaos fuzz bench bench-gpu format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    scan real photographs on this machine (IMAGES=<source> MODEL=<key or folder>)"
	@echo "make down    stop the demo's servers (its rows stay)"
	@echo "make test    run the whole test suite against real servers"
	@echo "make clocks  the suite under other hours, a leap day, changes of daylight saving (CLOCKS='tests/unit')"
	@echo "make check   lint, types, the direction of imports, known vulnerabilities (INSIST=yes: never unchecked)"
	@echo "make man     write the manual page, build/fakesweep.1, from the help of every command"
	@echo "make current-sql  write schema/ledger/current.sql, the tables, views and functions after every migration"
	@echo "make lock    write the hashes of everything constraints.txt names, but for torch's builds"
	@echo "make chaos   a scan under random faults (CHAOS='--seed 7 --faults 100' for a long one)"
	@echo "make fuzz    break image files for minutes (FUZZ='--minutes 10 --seed 1')"
	@echo "make bench   fakesweep beside its peers (BENCH='--quick' for three minutes of it)"
	@echo "make bench-gpu  the engine on this machine's GPU, beside transformers' pipeline"
	@echo "make clean   stop the demo's servers and remove .venv"

demo: .venv/demo
	@$(BIN)/fakesweep scan $(if $(MODEL),--model "$(MODEL)") --name demo \
		"$${IMAGES:-$$($(BIN)/python -c 'import importlib.util as u; print(u.find_spec("skimage").submodule_search_locations[0] + "/data")')}"

down: .venv/demo
	@$(BIN)/fakesweep down

test: .venv/dev
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

clocks: .venv/dev
	$(BIN)/python -m tests.clocks $(or $(CLOCKS),-n 3 --dist loadfile)

man: .venv/dev
	@mkdir -p build
	$(BIN)/fakesweep manual > build/fakesweep.1

current-sql: .venv/dev
	$(BIN)/python -m tests.current_sql

check: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory audit

audit:
	@if $(BIN)/python -c 'import urllib.request as r; r.urlopen("https://api.osv.dev/v1/vulns/OSV-2020-111", timeout=10)' 2>/dev/null; then \
		$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --vulnerability-service osv --progress-spinner off; \
	else echo "VULNERABILITIES ARE NOT CHECKED: api.osv.dev, which knows them, does not answer (INSIST=yes makes this an error)" >&2; \
		test -z "$(INSIST)"; fi

lock: .venv/dev
	$(call lock,$(PRODUCER),producer)
	$(call lock,worker,worker)
	$(call lock,$(DEMO),demo)
	$(call lock,$(DEV),dev)

chaos: .venv/dev
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: .venv/dev
	$(BIN)/python -m tests.fuzz $(FUZZ)

bench: .venv/dev
	$(BIN)/python -m benchmarks --json bench-results/bench.json $(BENCH)

bench-gpu: .venv/dev
	$(BIN)/python benchmarks/gpu.py --json bench-results/gpu.json $(BENCH)

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	@if [ -x $(BIN)/fakesweep ]; then $(BIN)/fakesweep down; fi
	rm -rf .venv

.venv/demo: pyproject.toml constraints.txt infra/locks/demo.txt
	$(call install,$(DEMO),demo)
	@touch $@

.venv/dev: pyproject.toml constraints.txt infra/locks/dev.txt
	$(call install,$(DEV),dev)
	@touch $@ .venv/demo

# First everything by its hash; then this repository, with torch and what its build brings.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fakesweep needs Python 3.11 or newer; set PYTHON=python3.11")'
	@echo "Installing fakesweep and what it needs into .venv (PyTorch is large: minutes the first time)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@{ $(BIN)/pip install --disable-pip-version-check --progress-bar off --no-deps --require-hashes \
		--requirement infra/locks/$(2).txt \
		&& $(BIN)/pip install --disable-pip-version-check --progress-bar off --no-build-isolation \
		--constraint constraints.txt --editable '.[$(1)]'; echo $$? > .venv/status; } \
		| sed -u -n 's/^Collecting \([^ ]*\).*/  \1/p; s/^Successfully installed.*/  done/p'
	@exit $$(cat .venv/status)
endef

space := $() $()

define lock
	@printf 'hatchling\neditables\n' | $(BIN)/uv pip compile --quiet pyproject.toml - \
		$(addprefix --extra ,$(subst $(comma),$(space),$(1))) --constraint constraints.txt --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		| awk '/^[A-Za-z0-9]/ {kept = !/^((cuda|nvidia)-[a-z0-9-]*|torch|triton|pip|setuptools)==/} kept' \
		> infra/locks/$(2).txt
endef
