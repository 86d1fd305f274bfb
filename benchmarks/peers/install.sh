#!/bin/sh
# A Python's path in, the peers of benchmarks/encode.py installed for it out, as far as they install.
# One after the other: a peer that has no wheel for this machine becomes a line of the table, and no error.
python=$1
list=$(dirname "$0")/../requirements.txt
sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$list" | while read -r package; do
    "$python" -m pip --disable-pip-version-check install -qq --no-deps "$package" || echo "without $package"
done
