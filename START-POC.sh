#!/bin/sh
# Starts the cluster: finds Python 3.11 or later and hands over to cluster/bootstrap.py.
# All words go there; `./START-POC.sh --help` explains them.

script=$0
while [ -L "$script" ]; do # the place of this file, also through symbolic links
    link=$(readlink "$script")
    case $link in
        /*) script=$link ;;
        *) script=$(dirname "$script")/$link ;;
    esac
done
root=$(CDPATH='' cd -- "$(dirname -- "$script")" && pwd) || exit 1

# A Python that can make environments is best; one that cannot gets told what to install.
for modules in "sys, venv, ensurepip" "sys"; do
    for python in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if "$python" -c "import $modules; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then
            exec "$python" "$root/cluster/bootstrap.py" "$@"
        fi
    done
done

cat >&2 <<'END'
Python 3.11 or later is needed and was not found. Install it, then start again:
    Debian, Ubuntu:  sudo apt install python3 python3-venv
    Fedora:          sudo dnf install python3
    macOS:           brew install python
    others:          https://www.python.org/downloads/
END
exit 1
