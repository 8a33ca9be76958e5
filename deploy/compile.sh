#!/usr/bin/env bash
# Builds this project once more, into var/compiled, with the engine's pure modules compiled by mypyc.
#
# The same sources (tool.hatch.build.targets.wheel.hooks.mypyc in pyproject.toml names them), the same bytes said, three
# to four times as fast. Whatever is started with PYTHONSAFEPATH=1 and PYTHONPATH=var/compiled uses it.
set -euo pipefail
cd "$(dirname "$0")/.."

# In a copy: what is compiled stands beside its source, where Python would take it instead of the source for ever.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r pyproject.toml README.md schemas services "$copy"
rm -rf var/compiled
HATCH_BUILD_HOOK_ENABLE_MYPYC=1 .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index \
  --target var/compiled "$copy"
echo "compile: $(find var/compiled -name '*.so' | wc -l) modules in var/compiled"
