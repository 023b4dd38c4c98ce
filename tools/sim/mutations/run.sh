#!/bin/sh
# Puts each known bug of mutations/*.patch back into a copy of the last commit and counts the seeds that it takes to find it.
# usage: tools/sim/mutations/run.sh [SEEDS [NAME...]]       default: 400 seeds, every patch
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
seeds=${1:-400}
[ $# -gt 0 ] && shift
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
target=${CARGO_TARGET_DIR:-$root/target}/mutations
missed=0
for patch in "$here"/*.patch; do
    name=$(basename "$patch" .patch)
    if [ $# -gt 0 ]; then
        case " $* " in *" $name "*) ;; *) continue ;; esac
    fi
    rm -rf "$copy/tree"
    mkdir "$copy/tree"
    git -C "$root" archive HEAD | tar xmf - -C "$copy/tree"
    if ! patch -s -p1 -d "$copy/tree" <"$patch"; then
        echo "$name: the patch no longer applies"
        missed=1
        continue
    fi
    # The same path for every patch, so that only this workspace is built again; `tar m` sets the times of files to now,
    # without which the patch before this one would stay built in.
    (cd "$copy/tree" && CARGO_TARGET_DIR="$target" cargo build -q --locked -p windrow-sim)
    # Bugs of replication show with several replicas.
    case $name in replica-*) kind=--cluster ;; *) kind= ;; esac
    # shellcheck disable=SC2086 # no word where it is empty
    if output=$("$target/debug/windrow-sim" $kind --seeds "0..$seeds" 2>/dev/null); then
        echo "$name: NOT FOUND in $seeds seeds"
        missed=1
    else
        seed=$(echo "$output" | sed -n 's/^seed \([0-9]*\) FAILED.*/\1/p')
        problem=$(echo "$output" | sed -n 's/^seed [0-9]* FAILED at [0-9]* µs: //p' | cut -c1-120)
        printf '%-32s %4s seeds: %s\n' "$name" "$((seed + 1))" "$problem"
    fi
done
exit "$missed"
