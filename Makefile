# make demo   a fresh machine to pictures in about five minutes
# make test   everything CI checks
# make check  the linters alone
# make docs   the documentation as web pages, in docs/_build
# make ui-test  the tests of srkit-ui, in an environment of its own: Gradio holds Pillow below 13
# make trackio-test  the tests of srkit-trackio, in the same one: trackio does too
# make ray-test  the tests of srkit-ray, in an environment of its own, with Ray and an object store

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
DEMO_TIME ?= 2m
BIN = $(VENV)/bin
SRKIT = $(BIN)/srkit
PHOTO = plugins/srkit_builtin/samples/chelsea.png

# These are there without what they need (Gradio, Ray, trackio), for their other tests; NAME-test runs all of them
APART = plugins/srkit-ui plugins/srkit-ray plugins/srkit-trackio
OFFICIAL = $(filter-out $(APART),$(wildcard plugins/srkit-*))
UI_VENV ?= .venv-ui
RAY_VENV ?= .venv-ray

.PHONY: demo test check docs ui-test trackio-test ray-test
.SILENT:

$(VENV)/installed: pyproject.toml
	echo "installing into $(VENV): PyTorch is large, this takes a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev,docs]'
	touch $@

demo: $(VENV)/installed
	rm -rf $(DEMO) && mkdir -p $(DEMO)
	echo "1. upscale a photograph, made half as large, with the weights that ship"
	$(BIN)/python benchmarks/side_by_side.py shrink $(PHOTO) 2 $(DEMO)/photo.png
	$(SRKIT) upscale $(DEMO)/photo.png -o $(DEMO)/shipped.png
	$(SRKIT) upscale $(DEMO)/photo.png --model bicubic
	echo "2. train the same network for $(DEMO_TIME) on eight photographs, and upscale with it"
	$(SRKIT) train --model edsr-small --set optimizer.name=muon --set lr=2e-3 --set validate_every=200 --max-time $(DEMO_TIME) --out $(DEMO)/trained
	$(SRKIT) upscale $(DEMO)/photo.png --model $(DEMO)/trained -o $(DEMO)/trained.png
	echo "3. score all of them on the two photographs that none has seen"
	$(SRKIT) bench $(DEMO)/trained --models bicubic,edsr-small --sets samples --scales 2
	$(BIN)/python benchmarks/side_by_side.py show $(DEMO)/side-by-side.png --crop 120,75,100,100 --zoom 3 \
	    "small photo=$(DEMO)/photo.png" "bicubic=$(DEMO)/photo_bicubic_x2.png" \
	    "EDSR, trained $(DEMO_TIME)=$(DEMO)/trained.png" "EDSR, as it ships=$(DEMO)/shipped.png" "original=$(PHOTO)"
	echo "the pictures are in $(DEMO)/: look at $(DEMO)/side-by-side.png first"

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python benchmarks/longest_functions.py srkit --limit 60

$(VENV)/installed-plugins: $(VENV)/installed $(OFFICIAL:=/pyproject.toml)
	echo "installing the official plugins"
	$(BIN)/pip install --quiet $(foreach plugin,$(OFFICIAL),--editable $(plugin))
	$(BIN)/pip install --quiet --no-deps $(foreach plugin,$(APART),--editable $(plugin))
	touch $@

test: check $(VENV)/installed-plugins
	$(BIN)/pytest -rs -n logical --maxprocesses 4 --dist worksteal

docs: $(VENV)/installed
	$(BIN)/sphinx-build -W -q -b html docs docs/_build
	echo docs/_build/index.html

IN_UI_VENV = plugins/srkit-server plugins/srkit-ui plugins/srkit-trackio

$(UI_VENV)/installed: pyproject.toml $(IN_UI_VENV:=/pyproject.toml)
	$(PYTHON) -m venv $(UI_VENV)
	$(UI_VENV)/bin/pip install --quiet pytest --editable . $(foreach plugin,$(IN_UI_VENV),--editable $(plugin))
	npm install --silent --prefix $(UI_VENV) axe-core@4 || echo "no npm: the page is not tested for accessibility"
	touch $@

ui-test: $(UI_VENV)/installed
	AXE_CORE=$(UI_VENV)/node_modules/axe-core/axe.min.js $(UI_VENV)/bin/pytest -rs plugins/srkit-ui/tests

trackio-test: $(UI_VENV)/installed
	$(UI_VENV)/bin/pytest -rs plugins/srkit-trackio/tests

$(RAY_VENV)/installed: pyproject.toml plugins/srkit-ray/pyproject.toml
	$(PYTHON) -m venv $(RAY_VENV)
	$(RAY_VENV)/bin/pip install --quiet --upgrade pip
	$(RAY_VENV)/bin/pip install --quiet pytest s3fs 'moto[server]' psutil --editable . --editable plugins/srkit-ray
	touch $@

ray-test: $(RAY_VENV)/installed
	$(RAY_VENV)/bin/pytest -rs plugins/srkit-ray/tests tests/cli/test_train_s3.py
