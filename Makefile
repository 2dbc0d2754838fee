# `make` alone lists the targets.  Longer recipes are scripts in tools/.  All
# paths are relative, because make does not support prerequisites whose path
# contains a space, and the path of a checkout may contain one.

PYTHON ?= python3
ARGS ?=

# One environment for each interpreter's name: .venv, .venv-3.12, .venv-3.13t.
# The names of the stamps contain all of PYTHON, so that make notices another
# interpreter with the same name; tools/setup.sh then replaces the environment.
space := $(subst ,, )
venv := .venv$(addprefix -,$(patsubst python%,%,$(filter-out python python3,$(lastword $(subst /, ,$(PYTHON))))))
stamp := $(venv)/.for-$(subst /,-,$(subst $(space),-,$(PYTHON)))
run := $(venv)/bin/python

# Folders are in the list because their time changes when a file is removed.
sources := tools/embed.py $(shell find src -name __pycache__ -prune -o -print)

.PHONY: help
help: ## list the targets (this is the default)
	@echo 'usage: make TARGET [PYTHON=python3.12] [ARGS="-k word"]'
	@sed -n 's/^\([a-z-]*\):.*## /  \1#/p' Makefile | awk -F'#' '{printf "%-22s%s\n", $$1, $$2}'

.PHONY: demo
demo: $(stamp)-built ## show what the library does, in a few seconds
	@$(run) examples/demo.py $(ARGS)

.PHONY: test
test: $(stamp)-built $(stamp)-test ## run the tests, in two processes unless ARGS="-n 0"; ARGS goes to pytest
	@$(run) -m pytest -n 2 --dist loadfile $(ARGS)

.PHONY: threads
threads: $(stamp)-built $(stamp)-test $(stamp)-threads ## run the tests, each in four threads at once if possible; for builds without the GIL
	@$(run) -m pytest --parallel-threads=4 -o faulthandler_timeout=0 $(ARGS)

.PHONY: lint
lint: $(stamp)-built $(stamp)-test $(stamp)-lint ## check format, warnings, bug patterns, types, rules for C and English
	@tools/lint.sh $(venv)

.PHONY: format
format: $(stamp)-lint ## format C and Python
	@tools/format.sh $(venv)

.PHONY: sanitize
sanitize: ## run the tests under ASan and UBSan, the C tests also under TSan; ARGS goes to pytest
	@tools/sanitize.sh '$(PYTHON)' $(ARGS)

.PHONY: stress
stress: $(stamp)-built $(stamp)-test ## try to lose messages or permits, or to crash a segment; ARGS="--messages 10000000"
	@$(run) tools/stress.py $(ARGS)
	@$(run) tools/stress_memory.py

.PHONY: refcounts
refcounts: ## check the reference counts of every public call with a debug interpreter; ARGS selects calls
	@tools/refcounts.sh $(if $(filter python3,$(PYTHON)),python3-dbg,'$(PYTHON)') $(ARGS)

.PHONY: bench
bench: $(stamp)-built $(stamp)-test $(stamp)-rivals ## measure speed; ARGS="--quick", "--curves" or names of questions
	@$(run) -m benchmarks --rivals $(venv)-rivals $(ARGS)

.PHONY: bench-instructions
bench-instructions: $(stamp)-built ## count instructions, fail if a call takes 5 % more; ARGS=--write saves the counts
	@$(run) -m benchmarks.instructions $(ARGS)

.PHONY: bench-plots
bench-plots: $(stamp)-build $(stamp)-plot ## draw the last full result for docs/
	@$(run) -m benchmarks.plots $(ARGS)

.PHONY: docs
docs: build/site/.built $(stamp)-built $(stamp)-test ## build the site of docs/ and run every code block of it and of the README
	@$(run) -m pytest tests/project/test_docs.py tests/project/test_faq.py tests/project/test_tutorial.py $(ARGS)

.PHONY: site
site: build/site/.built ## build the site of docs/, look at it in Chromium and save pictures; ARGS goes to pytest
	@PYTHONPATH=tools $(venv)-docs/bin/python -m pytest --confcutdir=tests/site tests/site $(ARGS)
	@$(venv)-docs/bin/python tools/site_pictures.py build/site build/pictures

.PHONY: package
package: $(stamp)-built ## build, check and test the sdist and the wheel; ARGS goes to pytest
	@$(run) tools/check_packaging.py '$(PYTHON)' $(ARGS)

.PHONY: wheels
wheels: $(stamp)-build $(stamp)-wheels ## build wheels for five kinds of machines in dist/ and check them (minutes); ARGS are names
	@$(run) tools/make_wheels.py $(ARGS)

.PHONY: freezers
freezers: $(stamp)-freezers ## freeze a program with PyInstaller, cx_Freeze and Nuitka (minutes); ARGS are names
	@$(venv)-freezers/bin/python tools/check_freezers.py $(ARGS)

.PHONY: clean
clean: ## remove everything that make created
	rm -rf build .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(stamp)-build $(stamp)-test $(stamp)-threads $(stamp)-lint $(stamp)-wheels $(stamp)-plot: $(stamp)-%: pyproject.toml tools/setup.sh
	@tools/setup.sh '$(PYTHON)' $(venv) $*
	@touch $@

# The rivals of the benchmarks have their own environment: 1.2.0 has the same name.
$(stamp)-rivals: $(stamp)-build benchmarks/rivals.txt tools/setup.sh
	@PIP_NO_BINARY=sysv-ipc tools/setup.sh '$(PYTHON)' $(venv)-rivals benchmarks/rivals.txt
	@touch $@

# Sphinx has one too, which needs nothing of the library.
$(stamp)-docs: pyproject.toml tools/setup.sh
	@tools/setup.sh '$(PYTHON)' $(venv)-docs docs
	@touch $@

# Links that lead nowhere are warnings, and warnings are errors.  -E: every page
# has the side bar, which lists all pages.
build/site/.built: $(stamp)-docs CHANGES.md $(shell find docs -mindepth 1)
	@$(venv)-docs/bin/sphinx-build -E -W --keep-going -q -d build/doctrees docs build/site
	@touch $@

# The freezers have one too: packages of the tests would add NumPy to the program.
$(stamp)-freezers: $(stamp)-build meson.build pyproject.toml tools/setup.sh tools/install.sh $(sources)
	@for group in build freezers; do \
	    tools/setup.sh '$(PYTHON)' $(venv)-freezers $$group || exit 1; done
	@tools/install.sh $(venv)-freezers
	@touch $@

$(stamp)-built: $(stamp)-build meson.build meson_options.txt pyproject.toml README.md tools/install.sh $(sources)
	@tools/install.sh $(venv)
	@touch $@
