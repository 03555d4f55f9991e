#!/bin/sh
# test-frameworks.sh [PYTHON]: the adapter tests with the oldest and the newest version of each framework that we claim.
#
# Each version goes into a folder of its own under .cache/frameworks, before the environment's own on the path; the test
# run fails if the framework was not imported from there. Lines below: module, requirements of a version, its tests.
set -eu
python=${1:-.venv/bin/python}
folder=.cache/frameworks
mkdir -p "$folder"

run() {
	module=$1 requirements=$2 tests=$3
	place=$PWD/$folder/$(printf '%s' "$requirements" | tr -c 'a-zA-Z0-9.\n' '-')
	rm -rf "$place"
	# shellcheck disable=SC2086  # several requirements
	"$python" -m pip install -qq --disable-pip-version-check --no-deps --target "$place" $requirements
	found=$(PYTHONPATH=$place "$python" -c "import $module; print($module.__file__)")
	case $found in
	"$place"/*) echo "$requirements: $found" ;;
	*) echo "$module was imported from $found instead of $place" >&2 && exit 1 ;;
	esac
	# shellcheck disable=SC2086  # several files
	PYTHONPATH=$place "$python" -m pytest -q $tests
}

pydantic="tests/adapters/test_pydantic_private.py tests/adapters/test_pydantic_rules.py tests/adapters/test_rows.py -k pydantic"
run pydantic_ai "pydantic-ai-slim==2.62.0 pydantic-graph==2.62.0" "$pydantic"
run pydantic_ai "pydantic-ai-slim<3 pydantic-graph<3" "$pydantic"

openai="tests/adapters/test_openai_private.py tests/adapters/test_openai_edges.py tests/adapters/test_rows.py -k openai"
run agents "openai-agents==0.21.0" "$openai"  # the oldest for version 3 of the client library
run agents "openai-agents<1" "$openai"
