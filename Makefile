# Short names for the commands of CONTRIBUTING.md.
.PHONY: run test check lock soak bench docs

UV = uv run --no-project --with-editable .

run:            ## train and serve the churn example
	$(UV) --with-requirements requirements/run.txt stanchion run examples/churn/system.py

test:           ## all tests; suites that need a server skip without one
	$(UV) --with-requirements requirements/test.txt python -m pytest -q

check:          ## lint, types and arrows
	ruff check . && ruff format --check . && mypy && for each in examples/*/; do mypy $$each || exit 1; done && PYTHONPATH=tests/house lint-imports --no-cache

soak:           ## the full count of every crash test (half an hour)
	STANCHION_SOAK=1 $(UV) --with-requirements requirements/test.txt python -m pytest -q -m soak

bench:          ## every benchmark that has a target (wants wrk, and the machine for itself)
	$(UV) --with-requirements requirements/run.txt python benchmarks/run.py

docs:           ## the documentation as a site, and the reference made from the code
	$(UV) --with-requirements requirements/docs.txt python docs/make_reference.py
	$(UV) --with-requirements requirements/docs.txt mkdocs build --strict

LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
	--custom-compile-command "make lock" --exclude-newer "$$(date -u -d '7 days ago' +%Y-%m-%d)"
lock:           ## pin every dependency with its hashes, none younger than seven days
	$(LOCK) -o requirements/base.txt
	$(LOCK) --extra train --extra features --extra gateway --extra schemas --extra pipelines --extra checks -o requirements/run.txt
	$(LOCK) --extra train --extra features --extra gateway --extra schemas --extra pipelines --extra checks --extra documents -o requirements/documents.txt
	$(LOCK) --all-extras --group test -o requirements/test.txt
	$(LOCK) --extra train --extra features --extra gateway --extra schemas --extra pipelines --extra checks --group docs -o requirements/docs.txt
