# The commands of this repository. Everything they need is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo down test clocks check chaos fuzz bench bench-gpu format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    scan real photographs on this machine (IMAGES=<source> MODEL=<key or folder>)"
	@echo "make down    stop the demo's servers (its rows stay)"
	@echo "make test    run the whole test suite against real servers"
	@echo "make clocks  the suite under other hours, a leap day, changes of daylight saving (CLOCKS='tests/unit')"
	@echo "make check   lint, types, the direction of imports, known vulnerabilities"
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

check: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if $(BIN)/python -c 'import urllib.request as r; r.urlopen("https://api.osv.dev/v1/vulns/OSV-2020-111", timeout=10)' 2>/dev/null; then \
		$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --vulnerability-service osv --progress-spinner off; \
	else echo "pip-audit is left out: api.osv.dev, which knows the vulnerabilities, does not answer"; fi

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

.venv/demo: pyproject.toml constraints.txt
	$(call install,worker$(comma)local$(comma)demo)
	@touch $@

.venv/dev: pyproject.toml constraints.txt
	$(call install,worker$(comma)local$(comma)api$(comma)parquet$(comma)demo$(comma)dev)
	@touch $@ .venv/demo

comma := ,

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fakesweep needs Python 3.11 or newer; set PYTHON=python3.11")'
	@echo "Installing fakesweep and what it needs into .venv (PyTorch is large: minutes the first time)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@{ $(BIN)/pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt \
		--editable '.[$(1)]'; echo $$? > .venv/status; } \
		| sed -u -n 's/^Collecting \([^ ]*\).*/  \1/p; s/^Successfully installed.*/  done/p'
	@exit $$(cat .venv/status)
endef
