#!/bin/sh
# A machine in; Chromium and its driver on it out, where Debian's or Ubuntu's packages can be installed without asking.
# The pages of sentvec.inspect are tested in it. Without one those tests are skipped, and say so.
set -eu
command -v chromedriver >/dev/null 2>&1 && command -v chromium >/dev/null 2>&1 && exit 0
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || { echo "no Chromium, and no right to install it"; exit 0; }
    as_root="sudo -n"
fi
command -v apt-get >/dev/null 2>&1 || { echo "no Chromium, and no apt-get to install it with"; exit 0; }
export DEBIAN_FRONTEND=noninteractive
{ $as_root apt-get update -qq && $as_root apt-get install -qq -y --no-install-recommends chromium chromium-driver >/dev/null; } ||
    echo "no Chromium: apt-get could not install it"
