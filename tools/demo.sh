#!/bin/sh
# The demo: this project's own pages in, three questions and their answers out (a ready .venv is needed).
set -eu
unset CDPATH  # with it, cd could go elsewhere, and print where
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
model=sentence-transformers/all-MiniLM-L6-v2
collection=.demo/docs.sv

run() { printf '\n$ sentvec'; printf ' %s' "$@"; printf '\n'; sentvec "$@"; }
ask() { printf '\n$ sentvec search "%s" -c %s -k 3\n' "$1" "$collection"; sentvec search "$1" -c "$collection" -k 3; }

begun=$(date +%s)
echo "Reading this project's pages into a collection. The model is all-MiniLM-L6-v2, from an installed package: no network."
run index docs -c "$collection" --model "$model" --prune
ask "How do I add a new architecture?"
ask "What happens to a text that is too long?"
ask "Which file formats can I search?"

printf '\nDone in %s s. The same over your own files: make search DIR=path Q="question"\n' "$(($(date +%s) - begun))"
