#!/bin/sh
# Build the wheels of the daemon and of the client: build-wheels.sh SOURCE OUT
# Needs Python 3.11 or later with venv, and cargo. The daemon's wheel is abi3: it runs on every later Python, too.
set -eu
source=$1
out=$2
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --constraint "$source/constraints.txt" "build>=1.2"
# An environment for each build, with what it asks for: maturin for the daemon, hatchling for the client.
"$tools/bin/python" -m build --wheel --outdir "$out" "$source"
"$tools/bin/python" -m build --wheel --outdir "$out" "$source/clients/python"
