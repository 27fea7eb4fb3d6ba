#!/usr/bin/env bash
# What a container of the image `remio` runs: `hypervisor`, `backend-vm` or `frontend-vm` with the arguments of that
# process, or `make-disks BYTES FILE... [-- WHAT ARGUMENTS]`, which makes the disks that are not there yet, then runs WHAT.
set -euo pipefail
what=${1:-}
[ $# -gt 0 ] && shift
case "$what" in
  hypervisor) exec node /app/apps/hypervisor/dist/service/main.js "$@" ;;
  backend-vm | frontend-vm) exec node "/app/apps/$what/dist/main.js" "$@" ;;
  make-disks)
    size=$1
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
      [ -e "$1" ] || truncate -s "$size" "$1"
      shift
    done
    if [ $# -gt 0 ]; then
      shift
      exec bash "$0" "$@"
    fi
    ;;
  *)
    echo "run: expected hypervisor, backend-vm, frontend-vm or make-disks, not '$what'" >&2
    exit 2
    ;;
esac
