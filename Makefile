# The front door: `make` alone lists the targets.  What takes more than a few
# lines is a script in tools/.  All paths here are relative, because make cannot
# name a prerequisite whose path holds a space, and a checkout's path may.

PYTHON ?= python3
ARGS ?=

# One environment for each interpreter's name: .venv, .venv-3.12, .venv-3.13t.
# The stamps in it carry the whole of PYTHON, so that another interpreter of the
# same name is noticed; tools/setup.sh then makes the environment anew.
space := $(subst ,, )
venv := .venv$(addprefix -,$(patsubst python%,%,$(filter-out python python3,$(lastword $(subst /, ,$(PYTHON))))))
stamp := $(venv)/.for-$(subst /,-,$(subst $(space),-,$(PYTHON)))
run := $(venv)/bin/python

# Folders are in the list because their time changes when a file goes.
sources := $(shell find src -name __pycache__ -prune -o -print)

.PHONY: help
help: ## list the targets (this is the default)
	@echo 'usage: make TARGET [PYTHON=python3.12] [ARGS="-k word"]'
	@sed -n 's/^\([a-z-]*\):.*## /  \1#/p' Makefile | awk -F'#' '{printf "%-22s%s\n", $$1, $$2}'

.PHONY: demo
demo: $(stamp)-built ## see what the library does, in a few seconds
	@$(run) examples/demo.py $(ARGS)

.PHONY: test
test: $(stamp)-built $(stamp)-test ## run the tests; ARGS goes to pytest
	@$(run) -m pytest $(ARGS)

.PHONY: threads
threads: $(stamp)-built $(stamp)-test $(stamp)-threads ## run the tests, each in four threads at once where it can; without a GIL
	@$(run) -m pytest --parallel-threads=4 -o faulthandler_timeout=0 $(ARGS)

.PHONY: lint
lint: $(stamp)-built $(stamp)-test $(stamp)-lint ## check format, warnings, bug patterns, types and house rules
	@tools/lint.sh $(venv)

.PHONY: format
format: $(stamp)-lint ## lay out C and Python as lint wants it
	@tools/format.sh $(venv)

.PHONY: sanitize
sanitize: ## run the tests under ASan and UBSan, the C tests also under TSan; ARGS goes to pytest
	@tools/sanitize.sh '$(PYTHON)' $(ARGS)

.PHONY: stress
stress: $(stamp)-built $(stamp)-test ## try to lose messages or permits, to crash or tear segments; ARGS="--messages 10000000"
	@$(run) tools/stress.py $(ARGS)
	@$(run) tools/stress_memory.py

.PHONY: refcounts
refcounts: ## count references over every public call with a debug interpreter; ARGS are words of the calls' names
	@tools/refcounts.sh $(if $(filter python3,$(PYTHON)),python3-dbg,'$(PYTHON)') $(ARGS)

.PHONY: bench
bench: $(stamp)-built $(stamp)-test $(stamp)-rivals ## measure speed; ARGS="--quick", "--curves" or names of questions
	@$(run) -m benchmarks --rivals $(venv)-rivals $(ARGS)

.PHONY: bench-instructions
bench-instructions: $(stamp)-built ## count instructions, fail where a call takes 5 % more; ARGS=--write keeps the counts
	@$(run) -m benchmarks.instructions $(ARGS)

.PHONY: bench-plots
bench-plots: $(stamp)-build $(stamp)-plot ## draw the last full result into docs/
	@$(run) -m benchmarks.plots $(ARGS)

.PHONY: docs
docs: $(stamp)-built $(stamp)-test ## run every code block of the README and the docs
	@$(run) -m pytest tests/project/test_docs.py $(ARGS)

.PHONY: package
package: $(stamp)-built ## build sdist and wheel, look into them, test what they install; ARGS goes to pytest
	@$(run) tools/check_packaging.py '$(PYTHON)' $(ARGS)

.PHONY: freezers
freezers: $(stamp)-freezers ## freeze a program by PyInstaller, cx_Freeze and Nuitka (minutes); ARGS are names
	@$(venv)-freezers/bin/python tools/check_freezers.py $(ARGS)

.PHONY: clean
clean: ## remove all that make made
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(stamp)-build $(stamp)-test $(stamp)-threads $(stamp)-lint $(stamp)-plot: $(stamp)-%: pyproject.toml tools/setup.sh
	@tools/setup.sh '$(PYTHON)' $(venv) $*
	@touch $@

# What the benchmarks compare with lives apart: 1.2.0 has the library's own name.
$(stamp)-rivals: $(stamp)-build pyproject.toml tools/setup.sh
	@PIP_NO_BINARY=sysv-ipc tools/setup.sh '$(PYTHON)' $(venv)-rivals compare
	@touch $@

# These live apart, too: what the tests need brings NumPy into any program.
$(stamp)-freezers: $(stamp)-build meson.build pyproject.toml tools/setup.sh tools/install.sh $(sources)
	@for group in build freezers; do \
	    tools/setup.sh '$(PYTHON)' $(venv)-freezers $$group || exit 1; done
	@tools/install.sh $(venv)-freezers
	@touch $@

$(stamp)-built: $(stamp)-build meson.build meson_options.txt pyproject.toml README.md tools/install.sh $(sources)
	@tools/install.sh $(venv)
	@touch $@
