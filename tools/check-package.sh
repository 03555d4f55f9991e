#!/bin/sh
# Builds the sdist, the wheel from the sdist, and uses the wheel as a user would: from outside of this folder.
# What the package depends on is taken from VENV. Called by the Makefile as: tools/check-package.sh VENV
set -eu

venv=$(cd "$1" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$venv/bin/python" -m build --no-isolation --outdir "$folder/dist" . >"$folder/build.log" 2>&1 || {
    cat "$folder/build.log" >&2
    exit 1
}
"$venv/bin/python" -m venv "$folder/venv"
purelib() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
echo "$(purelib "$venv")" >"$(purelib "$folder/venv")/dependencies.pth"
"$folder/venv/bin/python" -m pip install -qq --no-deps --disable-pip-version-check "$folder"/dist/*.whl

cd "$folder"
venv/bin/rewake --version
venv/bin/python -c 'import rewake, pathlib; assert pathlib.Path(rewake.__file__).is_relative_to(pathlib.Path.cwd())'
venv/bin/rewake explain RW1001 >/dev/null
venv/bin/rewake example claim_handoffs >/dev/null 2>&1
test -f claim_handoffs/app.py
venv/bin/rewake demo >demo.log 2>&1 || {
    cat demo.log >&2
    exit 1
}
echo "The wheel built from the sdist runs the demo: $(basename dist/*.whl)"
