#!/usr/bin/env bash
# Prints config/default with the manager's image set, without changing a file that git
# knows: the image goes into an overlay under dist/, which git ignores.
#
# usage: render.sh KUSTOMIZE IMAGE
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p dist
overlay=$(mktemp -d dist/overlay.XXXXXX)
trap 'rm -rf "$overlay"' EXIT
cat >"$overlay/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- ../../config/default
YAML
kustomize=$(realpath "$1")
(cd "$overlay" && "$kustomize" edit set image "controller=$2")
"$kustomize" build "$overlay"
