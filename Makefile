# Every target does all the set-up that it needs: a virtual environment in .venv, made anew when setup.py changes.
# Needed: Linux, Python >= 3.11 with its venv module, and a package index for pip. A CPU is enough.
#
#   make try         ask billiards-mini, the model that comes with the package, three questions about a clip
#   make demo        draw the clips, train every stage from the encoder to the chat model, evaluate, ask three questions,
#                    write the reports
#   make demo-encoder  its first part: the encoder, evaluated, with its report
#   make mini        train billiards-mini anew: the demo for longer, on eight times as many clips
#   make test        every test that is not marked slow
#   make lint        style, formatting, types and the openers of docstrings
#   make docs        the documentation as a web site in site/, with its own virtual environment in .venv-docs
#   make seeds       the demo with three seeds, the mean of each figure and its range: three quarters of an hour
#   make controls    the demo's encoder under every other local loss, three seeds each: hours
#   make results     the pages of results from the published tables in docs/data, without training: seconds
#   make connectors  the demo's stage align with every connector, three seeds each, after the demo: hours
#   make test-slow   the tests that train, kill and restart whole runs
#   make test-torch  the tests that load published formats and exported models on torch (its CPU build)
#   make test-tpu    the tests that compile for TPU pods, which needs no TPU
#
# make demo EXTRAS=test,cuda    the same on a GPU (EXTRAS=test,tpu on a TPU host)
# make test PYTHON=python3.12   another Python

PYTHON ?= python3
EXTRAS ?= test
WORKERS ?= 2

VENV := .venv
READY := $(VENV)/ready-$(EXTRAS)

DOCS_VENV := .venv-docs
DOCS_READY := $(DOCS_VENV)/ready
DOCS_EXTRA := import runpy, setuptools; setuptools.setup = lambda **given: print(*given["extras_require"]["docs"], sep="\n"); runpy.run_path("setup.py")

# tcmalloc keeps the large temporaries of a CPU train step mapped; without it each step pays for fresh pages.
TCMALLOC := $(firstword $(wildcard $(addsuffix /libtcmalloc_minimal.so.4,/usr/lib/$(shell uname -m)-linux-gnu /usr/lib64 /usr/lib)))
PRELOAD := $(if $(TCMALLOC),LD_PRELOAD=$(TCMALLOC) TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD=1000000000000)
RUN := $(strip $(PRELOAD) $(VENV)/bin/python)

.PHONY: try demo demo-encoder seeds mini results connectors test test-slow test-torch test-tpu lint docs controls venv allocator
.NOTPARALLEL:
.DELETE_ON_ERROR:

try: venv
	$(RUN) -m hilight_jax.chat --checkpoint billiards-mini --video hilight_jax/pretrained/shot.mp4 \
	  --prompt "Which ball is hit first?" --prompt "Is the red ball potted?" --prompt "Into which pocket does the red ball fall?"

demo: demo-encoder
	$(RUN) -m hilight_jax.train --config configs/align.py:demo --workdir runs/align-demo
	$(RUN) -m hilight_jax.train --config configs/tune.py:demo --workdir runs/tune-demo
	$(RUN) -m hilight_jax.evaluate --checkpoint runs/tune-demo --per_kind 50
	$(RUN) -m hilight_jax.report runs/tune-demo
	$(RUN) -m hilight_jax.evaluate --checkpoint runs/tune-demo --ask 3

demo-encoder: venv allocator
	$(RUN) -m hilight_jax.generate --world demo-v2
	$(RUN) -m hilight_jax.train --config configs/encoder.py:demo --workdir runs/encoder-demo
	$(RUN) -m hilight_jax.evaluate --checkpoint runs/encoder-demo
	$(RUN) -m hilight_jax.report runs/encoder-demo

mini: venv allocator
	$(RUN) -m hilight_jax.generate --world demo-v2 --split train=32000 --data_dir data/mini
	$(RUN) -m hilight_jax.train --config configs/encoder.py:mini --data_dir data/mini --workdir runs/encoder-mini
	$(RUN) -m hilight_jax.evaluate --checkpoint runs/encoder-mini
	$(RUN) -m hilight_jax.train --config configs/align.py:mini --data_dir data/mini --workdir runs/align-mini
	$(RUN) -m hilight_jax.evaluate --checkpoint runs/align-mini --per_kind 100
	$(RUN) -m hilight_jax.export runs/align-mini --format packed --dtype float16 --quantize int8 --to runs/billiards-mini

seeds: venv allocator
	$(RUN) -m hilight_jax.generate --world demo-v2
	$(RUN) -m hilight_jax.ablate demo

connectors: venv allocator
	$(RUN) -m hilight_jax.ablate connectors

results: venv
	$(RUN) -m hilight_jax.ablate results

controls: venv allocator
	$(RUN) -m hilight_jax.ablate losses

test: venv
	$(VENV)/bin/python -m pytest -q -m "not slow and not tpu_compiler" -n $(WORKERS) --dist loadfile --durations=25

test-slow: venv
	$(VENV)/bin/python -m pytest -q -m "slow and not tpu_compiler" -n $(WORKERS) --dist loadfile --durations=25

# Torch and transformers are no part of the package: an extra of its own, so the virtual environment is made anew.
test-torch:
	$(MAKE) venv EXTRAS=test,loaders
	JAX_PLATFORMS=cpu $(VENV)/bin/python -m pytest -q -m torch -n $(WORKERS) --dist loadfile

# The TPU compiler needs no TPU, but libtpu: an extra of its own, so the virtual environment is made anew.
test-tpu:
	$(MAKE) venv EXTRAS=test,tpu
	JAX_PLATFORMS=cpu $(VENV)/bin/python -m pytest -q -m tpu_compiler

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright
	$(VENV)/bin/python -m pytest -q tests/test_prose.py

# mkdocstrings reads the source and does not import it: an environment of the extra's packages alone.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --strict --quiet
	@echo "open site/index.html; with its search: python3 -m http.server -d site"

$(DOCS_READY): setup.py
	@echo "installing mkdocs into $(DOCS_VENV) (once)"
	@rm -rf $(DOCS_VENV)
	@$(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check setuptools
	@$(DOCS_VENV)/bin/python -c '$(DOCS_EXTRA)' > $(DOCS_VENV)/requirements.txt
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $(DOCS_VENV)/requirements.txt
	@touch $@

venv: $(READY)

$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  "hilight_jax needs Python 3.11 or newer, but $(PYTHON) is: $$($(PYTHON) --version 2>&1);" \
	  "install one and name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
	  "$(PYTHON) cannot make virtual environments;" \
	  "install its venv module (Debian, Ubuntu: apt-get install -y python3-venv) and run make again." >&2; exit 1; }
	@test ! -e $(VENV) || ls $(VENV)/ready-* >/dev/null 2>&1 || test -e $(VENV)/making || { echo \
	  "$(VENV) is not make's own, so make does not replace it; rename or delete it, or name another: make VENV=.venv-make $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing hilight_jax[$(EXTRAS)] into $(VENV) (some minutes, once)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $(VENV)/making
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

allocator:
	@$(if $(TCMALLOC),:,echo "tcmalloc is not installed: training on a CPU takes 1.2 to 1.5 times as long (Debian, Ubuntu: apt-get install libtcmalloc-minimal4)")
