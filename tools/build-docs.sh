#!/bin/sh
# Builds the documentation as a site into ./site and fails on a broken link. Builds from a copy, because zensical
# empties a folder .cache beside its configuration. Called by the Makefile as: tools/build-docs.sh VENV
set -eu

venv=$(cd "$1" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cp -R docs mkdocs.yml "$folder"
(cd "$folder" && NO_COLOR=1 "$venv/bin/zensical" build --strict --config-file mkdocs.yml)
rm -rf site
cp -R "$folder/site" site
