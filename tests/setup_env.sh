#!/usr/bin/env bash
# Makes .venv in the checkout, with aicc installed in place and the extras named as arguments:
#
#     tests/setup_env.sh test dev
#
# Needs Python 3.11 or later ($PYTHON, or the first one found). Returns at once when nothing
# changed: for each extra, .venv holds a stamp with the hash of what decides the installation.
# pip's own variables (PIP_INDEX_URL, PIP_FIND_LINKS, ...) choose the source of packages, such as
# a CPU-only build of torch.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

find_python() {
    local python
    for python in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "aicc needs Python 3.11 or later; none was found. Set PYTHON to one." >&2
    return 1
}

# Debian splits venv's installer of pip off into a package of its own. Where it is missing, the
# system's pip can fill the environment; else the package is installed, if that takes no password.
make_venv() {
    local python=$1 package sudo=()
    rm -rf "$venv"
    "$python" -m venv "$venv" >/dev/null 2>&1 && return
    rm -rf "$venv"
    if "$python" -m venv --without-pip "$venv" 2>/dev/null &&
        "$python" -m pip --python "$venv/bin/python" install -q pip 2>/dev/null; then
        return
    fi
    rm -rf "$venv"
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    if command -v apt-get >/dev/null && "${sudo[@]}" true 2>/dev/null; then
        echo "Installing $package with apt-get" >&2
        "${sudo[@]}" apt-get update -qq &&
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$package" >&2 &&
            "$python" -m venv "$venv" && return
    fi
    rm -rf "$venv"
    echo "$python can't make a virtual environment. Install its venv module (on Debian and" \
        "Ubuntu: sudo apt-get install $package) and run this again." >&2
    return 1
}

setup_env() {
    local python hash extra missing=() extras
    python=$(find_python)
    hash=$(cd "$root" && { pwd && cat pyproject.toml setup.py; } |
        "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    for extra in base "$@"; do
        [ "$(cat "$venv/.aicc-$extra" 2>/dev/null)" = "$hash" ] || missing+=("$extra")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv "$python"
    extras=$(IFS=,; echo "$*")
    echo "Installing aicc${extras:+[$extras]} into .venv (the first time takes minutes)" >&2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check \
        -e "$root${extras:+[$extras]}" >&2
    for extra in base "$@"; do
        echo "$hash" >"$venv/.aicc-$extra"
    done
}

# One at a time, where the system has flock: two installations into one folder break it.
exec 9>"$root/.venv.lock"
if command -v flock >/dev/null; then flock 9; fi
setup_env "$@" </dev/null
