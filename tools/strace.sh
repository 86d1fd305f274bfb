#!/bin/sh
# A machine in; strace on it out, where Debian's or Ubuntu's package can be installed without asking.
# Tests hold with it what a collection syncs to the disk, and let disks fail. Without it they are skipped, and say so.
set -eu
command -v strace >/dev/null 2>&1 && exit 0
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || { echo "no strace, and no right to install it"; exit 0; }
    as_root="sudo -n"
fi
command -v apt-get >/dev/null 2>&1 || { echo "no strace, and no apt-get to install it with"; exit 0; }
export DEBIAN_FRONTEND=noninteractive
{ $as_root apt-get update -qq && $as_root apt-get install -qq -y --no-install-recommends strace >/dev/null; } ||
    echo "no strace: apt-get could not install it"
