#!/bin/sh
# `make search`: a folder in DIR and a question in Q, read from the environment so that no shell interprets them;
# ranked passages out, as many as K says. The collection lies in .demo/ of this checkout: nothing is written to the
# user's folder, but it is asked from there, so that files are named as the user knows them.
set -eu
unset CDPATH  # with it, cd could go elsewhere, and print where
cd "$(dirname "$0")/.."
usage='usage: make search DIR=path/to/folder Q="your question"'

fail() { printf 'error: %s\n%s\n' "$1" "$usage" >&2; exit 2; }

[ -n "${DIR:-}" ] || fail "DIR is not given: the folder (or file) to search."
[ -n "${Q:-}" ] || fail "Q is not given: the question to ask."
case $DIR in "~"|"~/"*) DIR=$HOME${DIR#"~"} ;; esac  # not every shell expands a tilde after DIR=
[ -e "$DIR" ] || fail "DIR does not exist: $DIR (looked for from $PWD)"

sh tools/venv.sh search

whole=$(cd -- "$(dirname -- "$DIR")" && pwd -P)/$(basename -- "$DIR")
[ -d "$DIR" ] && whole=$(cd -- "$DIR" && pwd -P)
name=$(basename -- "$whole" | tr -c 'A-Za-z0-9._\n-' '_')
key=$(printf '%s' "$whole" | cksum | cut -d ' ' -f 1)
collection=.demo/$name-$key.sv

root=$PWD
[ -d "$collection" ] || printf 'Reading %s into %s (next time only what has changed)\n' "$whole" "$collection"
.venv/bin/sentvec index -c "$collection" --model sentence-transformers/all-MiniLM-L6-v2 --prune -- "$whole"
printf '\n'
if [ -d "$whole" ]; then cd -- "$whole"; else cd -- "$(dirname -- "$whole")"; fi
"$root/.venv/bin/sentvec" search -c "$root/$collection" -k "${K:-5}" -- "$Q"
