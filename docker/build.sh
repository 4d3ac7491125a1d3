#!/usr/bin/env bash
# Builds the image from what this machine has, pulling nothing:
#
#   docker/build.sh [TAG]     default: monedula
#
# The file tree is made here and given to docker/Dockerfile as its first stage. What is needed stands in assemble.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-monedula}
stage=${CARGO_TARGET_DIR:-target}/docker
mkdir -p "$stage"
stage=$(cd "$stage" && pwd)

docker/assemble.sh "$stage/image"
mkdir -p "$stage/bin"
cp "$stage/image/bin/busybox" "$stage/bin/sh"
tar -C "$stage" --owner=0 --group=0 -c bin image | docker import - monedula-parts >/dev/null
docker build --build-arg PARTS=monedula-parts --file docker/Dockerfile --tag "$tag" docker
docker image rm monedula-parts >/dev/null
docker image prune --force --filter label=monedula.parts >/dev/null
