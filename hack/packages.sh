#!/usr/bin/env bash
# Lists the packages, of those that the pattern names, whose tests start real programs
# (suites) or whose tests do not (unit). They are known by what their tests import.
#
# usage: packages.sh unit|suites PATTERN...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=$1
shift
go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}} {{len .TestGoFiles}}{{len .XTestGoFiles}}' "$@" |
  awk -v kind="$kind" '
    $NF == "00" { next }
    / fairlead\.dev\/fairlead\/test\/testenv / || / sigs\.k8s\.io\/controller-runtime\/pkg\/envtest / {
      if (kind == "suites") print $1
      next
    }
    kind == "unit" { print $1 }'
