# Everything starts here: `make demo` to look at it, `make test` to trust it.
PYTHON ?= python3
PORT ?= 8000
# Histories of `make simulate`. It comes before the seed, so it is never left out.
N ?= 200

.PHONY: demo setup test lint simulate chaos mutants bench clean python

demo: python  ## everything on this machine, with sample data
	@exec $(PYTHON) scripts/bootstrap.py demo --port $(PORT)

setup: python  ## only the virtual environment with the pinned packages
	@$(PYTHON) scripts/bootstrap.py setup

test: python  ## everything that must pass: ruff, mypy, the tests on SQLite and PostgreSQL
	@$(PYTHON) scripts/bootstrap.py test

lint: python  ## ruff and mypy
	@$(PYTHON) scripts/bootstrap.py lint

mutants: python  ## breaks the code on purpose and sees that the tests notice; NAME=… for one seeded bug
	@$(PYTHON) scripts/bootstrap.py mutants $(NAME)

bench: python  ## measures a demo that runs in another window; SQL=1: two databases of its own instead
	@$(PYTHON) scripts/bootstrap.py bench $(if $(SQL),--sql)

simulate: python  ## seeded histories against the real engine: N=2000 SEED=1
	@$(PYTHON) scripts/bootstrap.py simulate $(N) $(SEED)

chaos: python  ## kills, cuts and fills up what it can while people edit; MINUTES=10 DATABASE=sqlite|postgresql SEED=…
	@exec $(PYTHON) scripts/bootstrap.py chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(DATABASE),--database $(DATABASE)) $(if $(SEED),--seed $(SEED))

clean:  ## removes what was generated, the demo's data included; .venv and .data stay
	rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "There is no '$(PYTHON)' on this machine, so nothing was started." >&2; \
	  echo "Install Python 3.11 or newer (Debian: apt install python3 python3-venv) or name one: make demo PYTHON=/path/to/python3.12" >&2; \
	  exit 2; }
