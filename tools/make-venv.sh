#!/bin/sh
# Makes the virtual environment FOLDER with PYTHON, or with the first Python 3.11 or newer on the PATH.
# Called by the Makefile as: tools/make-venv.sh FOLDER [PYTHON]
set -eu

folder=$1
wanted=${2:-}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

for python in ${wanted:-python3 python3.13 python3.12 python3.11}; do
    if is_new_enough "$python"; then
        if "$python" -m venv "$folder"; then
            exit 0
        fi
        rm -rf "$folder"
        echo "'$python -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
done
echo "Python 3.11 or newer is needed and was not found as ${wanted:-python3}. Name one: make PYTHON=/path/to/python3" >&2
exit 1
