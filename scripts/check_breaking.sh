#!/usr/bin/env bash
# Compares the protos with earlier ones by `buf breaking`; run by `make check`, which gives the path of buf.
#
# Earlier are those of BREAKING_BASE (a commit or tag) if that is set; else of where this branch left origin/main; on main
# itself, of the last commit if the protos in the working tree differ from it, and of the commit before the last that changed
# them if not: so a change is judged the same before and after it is committed, and in a clone. A break that is meant stands in
# buf.yaml, under breaking.ignore, with its reason.
set -euo pipefail
buf=$1
cd "$(dirname "$0")/.."

skip() {
    echo "protos: breaking changes not looked for, $1"
    exit 0
}

git rev-parse --verify --quiet 'HEAD^{commit}' >/dev/null || skip "there is no commit to compare with"
base=${BREAKING_BASE:-}
if [ -z "$base" ]; then
    base=$(git merge-base HEAD origin/main 2>/dev/null || true)
    [ "$base" != "$(git rev-parse HEAD)" ] || base=
fi
if [ -z "$base" ]; then
    if [ -n "$(git status --porcelain -- protos/headwater)" ]; then
        base=HEAD
    else
        base="$(git rev-list -1 HEAD -- protos/headwater)^"
    fi
fi
git rev-parse --verify --quiet "$base^{commit}" >/dev/null || skip "this clone has no earlier protos"
git cat-file -e "$base:protos/headwater" 2>/dev/null || skip "$base has no protos"

earlier=$(mktemp -d)
trap 'rm -rf "$earlier"' EXIT
git archive "$base" buf.yaml protos | tar -x -C "$earlier"
name=$(git describe --always "$base")
"$buf" breaking --against "$earlier" || {
    echo "protos: the above breaks callers of those of $name" >&2
    exit 1
}
echo "protos: nothing breaks those of $name"
