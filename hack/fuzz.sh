#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given, one after the other: go test
# fuzzes one target of one package at a time.
#
# usage: fuzz.sh TIME, such as 30s
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "== $target in $(dirname "$file") for $1"
  # An interesting input is made smaller before it counts. For objects of ten kilobytes that
  # would take the default of a minute each, whatever the time given.
  go test -trimpath -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "./$(dirname "$file")"
done < <(git ls-files --cached --others --exclude-standard '*_test.go' |
  xargs grep -oE '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed 's/:func /:/')
[ "$found" -gt 0 ] || { echo "fuzz: there is no fuzz target" >&2; exit 1; }
