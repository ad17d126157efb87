#!/usr/bin/env bash
# Resolve what a service and a node require, and lock every file of it by its hash.
#
#   scripts/lock.sh           writes scripts/locked/service.txt and node.txt anew
#   scripts/lock.sh sbom      writes sbom.json: what this environment holds, as CycloneDX
#   scripts/lock.sh audit     asks for known advisories of what is locked (needs their data base)
#
# Install what is locked, before a wheel of Pointsman itself:
#   pip install --require-hashes -r scripts/locked/service.txt && pip install --no-deps WHEEL
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/python -c 'import cyclonedx_py, pip_audit, uv' 2>/dev/null ||
    .venv/bin/python -m pip install --disable-pip-version-check -qq -e '.[release]'

lock() {
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --python-version 3.11 "${@:2}" pyproject.toml \
        --output-file "scripts/locked/$1.txt"
}

case "${1:-lock}" in
lock)
    lock service --extra server
    lock node --extra tls
    ;;
sbom) .venv/bin/cyclonedx-py environment .venv --output-file sbom.json ;;
audit)
    for file in scripts/locked/*.txt; do
        .venv/bin/pip-audit --require-hashes --disable-pip -r "$file"
    done
    ;;
*)
    printf 'lock.sh: %s is none of lock, sbom, audit\n' "$1" >&2
    exit 2
    ;;
esac
