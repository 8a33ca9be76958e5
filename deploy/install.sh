#!/usr/bin/env bash
# Builds .venv from requirements-dev.lock and installs this project into it, editable. Quick when nothing has changed.
#
# Every download is checked against a hash in the lock file; the project itself is installed without a download.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/installed
want=$(cat requirements-dev.lock pyproject.toml deploy/install.sh | cksum)
is_current() { [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; }
is_current && exit 0

# Two installs at once would tear the environment: the second waits, and then finds the work done.
if command -v flock >/dev/null; then
  mkdir -p var
  exec 9>var/install.lock
  flock 9
  is_current && exit 0
fi

# A python on the PATH may be a version manager's stand-in that only prints an error: believe what runs.
newest_python() {
  local version candidate
  for version in 3.13 3.12 3.11; do
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python python3; do
      if "$candidate" -c "import sys, ensurepip, ssl, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" \
        2>/dev/null; then
        echo "$candidate"
        return
      fi
    done
  done
  echo "install: needs Python 3.11, 3.12 or 3.13 with venv" >&2
  return 1
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  python=$(newest_python)
  echo "install: building .venv with $("$python" --version); a minute or two"
  "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip install --quiet --require-hashes -r requirements-dev.lock
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
echo "$want" >"$stamp"
echo "install: $(.venv/bin/python --version), $(grep -c '^[a-z0-9].*==' requirements-dev.lock) locked packages"
