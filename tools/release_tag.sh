#!/usr/bin/env bash
# Print the tag that a release deploys: the pushed tag in GITHUB_REF, or, if GITHUB_REF is main and ROLL_BACK is true, the tag
# before the newest one. The tag must be on main, so only merged code is released.
set -euo pipefail

refuse() {
    echo "error: $1" >&2
    exit 1
}

version='^v[0-9]+\.[0-9]+\.[0-9]+$'
how="push a tag such as v1.2.3 on main, or start the workflow on main with roll_back."
case "${GITHUB_REF:?}:${ROLL_BACK:-false}" in
    refs/tags/*:false) tag=${GITHUB_REF#refs/tags/} ;;
    refs/heads/main:true)
        tag=$(git tag --merged origin/main --sort=-version:refname | { grep -E "$version" || true; } | sed -n 2p)
        [ -n "$tag" ] || refuse "main has fewer than two tags, so there is no earlier release: push a new tag."
        ;;
    *) refuse "$GITHUB_REF is not a release: $how" ;;
esac
[[ "$tag" =~ $version ]] || refuse "tag $tag is not a version: $how"
git merge-base --is-ancestor "refs/tags/$tag^{commit}" origin/main ||
    refuse "tag $tag is not on main: merge its commit, and push a new tag."
echo "$tag"
