#!/usr/bin/env bash
# What a container of the image `remio` runs: `hypervisor`, `backend-vm` or `frontend-vm` with the arguments of that
# process, or `make-disks BYTES FILE... [-- WHAT ARGUMENTS]`, which makes the disks that are not there yet, then runs WHAT.
# Of an experiment: `shard N RESULTS FILE [OPTIONS]` makes the one of N that the engine says; `gather N RESULTS` waits until
# all of them are made, and makes RESULTS/gathered.
set -euo pipefail
remio=/app/apps/cli/dist/main.js
# As `remio up` starts a platform's processes: young objects in as much memory as a CPU's cache holds, and all of them there.
node=(node --max-semi-space-size=4 --no-allocation-site-pretenuring)
what=${1:-}
[ $# -gt 0 ] && shift
case "$what" in
  hypervisor) exec "${node[@]}" /app/apps/hypervisor/dist/service/main.js "$@" ;;
  backend-vm | frontend-vm) exec "${node[@]}" "/app/apps/$what/dist/main.js" "$@" ;;
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
  shard)
    of=$1 results=$2
    shift 2
    # Kubernetes counts from 0. So does Swarm, of a job's tasks, and gives the id of the node for the 0.
    slot=${JOB_COMPLETION_INDEX:-${REMIO_SLOT:?tells which shard this is}}
    [[ $slot =~ ^[0-9]+$ ]] || slot=0
    index=$((slot % of + 1))
    exec node "$remio" experiment "$@" --shard "$index/$of" --out "$results/shard-$index"
    ;;
  gather)
    of=$1 results=$2 whole=$2/gathered
    trap 'exit 143' TERM
    if [ -e "$whole/report.html" ]; then
      echo "$whole is gathered already"
      exit 0
    fi
    shards=()
    for index in $(seq "$of"); do
      shards+=("$results/shard-$index")
      [ -e "$results/shard-$index/runs.csv" ] || echo "waiting for shard $index/$of"
      until [ -e "$results/shard-$index/runs.csv" ]; do sleep 1; done
    done
    # There is a part of it where whoever made it was ended.
    rm -rf "$whole"
    # 1 says that points failed, which the report shows: it is gathered.
    node "$remio" experiment gather "${shards[@]}" --out "$whole" || [ $? = 1 ]
    ;;
  *)
    echo "run: expected hypervisor, backend-vm, frontend-vm, make-disks, shard or gather, not '$what'" >&2
    exit 2
    ;;
esac
