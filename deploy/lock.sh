#!/usr/bin/env bash
# Writes the lock files: exact versions and hashes, for every Python and system at once, and no download addresses.
#
# requirements.lock runs the exchange; requirements-dev.lock adds the sandbox's servers and the tools; requirements-node.lock is
# Node for machines without one. What the page is built with, web/package-lock.json has: `npm update` in web/.
# Without arguments the versions stay as they are wherever they still fit; `--upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@"
}
compile pyproject.toml --output-file requirements.lock "$@"
compile pyproject.toml --all-extras --constraint requirements.lock --output-file requirements-dev.lock "$@"
compile deploy/node.in --output-file deploy/requirements-node.lock "$@"
