#!/bin/sh
# Sets up everything on a fresh machine, then runs every check and every test.
#
#   ./scripts/test.sh              all of it, fast ones first
#   ./scripts/test.sh -k replies   words for pytest: only some of it
#
# It makes its environment in .venv beside the code. What the tests need of the system (an etcd, its
# etcdctl, a browser, a library that moves clocks) is installed with apt-get when it is missing and
# this may be done.
set -eu
cd "$(dirname "$0")/.."

need() { # need COMMAND PACKAGE: install the package when the command is missing
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

missing=""
need etcd etcd-server
need etcdctl etcd-client
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing libfaketime" # no command
command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || need chromium chromium
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    echo "Installing:$missing"
    as_root=""
    [ "$(id -u)" -eq 0 ] || as_root="sudo"
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "This system has no apt-get. Install by other means:$missing" >&2
        exit 2
    fi
    # Packages only, no services: the tests start their own etcd on ports of their own.
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # one word for each package
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq \
        --no-install-recommends $missing >/dev/null
fi

python=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed: apt-get install python3" >&2
    exit 2
fi
"$python" cluster/bootstrap.py --prepare-only --extra test

bin=.venv/bin
if [ $# -gt 0 ]; then
    exec "$bin/python" -m pytest "$@"
fi

echo "ruff and mypy"
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"

# The long ones run beside the others: each half waits much of its time.
long=$(ls tests/test_dashboard*.py tests/test_simulation.py tests/test_chaos.py)
said=$(mktemp)
# shellcheck disable=SC2086 # one word for each file
"$bin/python" -m pytest $long >"$said" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null || true; rm -f "$said"' EXIT
trap 'exit 130' INT TERM
failed=0
"$bin/python" -m pytest --ignore-glob='*/test_dashboard*' \
    --ignore=tests/test_simulation.py --ignore=tests/test_chaos.py || failed=$?
echo "The pages, simulated clusters, and two minutes of faults:"
wait "$beside" || failed=$?
cat "$said"
exit "$failed"
