#!/bin/sh
# Installs Debian packages that are missing: install.sh PACKAGE…  As root, or with sudo; says what to do where neither works.
#
# Services of the packages are not started: no server may take a port that the user has other plans for.
set -eu

missing=
for package in "$@"; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
    *' installed') continue ;;
    esac
    # Installed by other means is as good.
    if command -v "$package" >/dev/null; then continue; fi
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

give_up() {
    echo "install: $1" >&2
    echo "install: please install these yourself, then run make again:$missing" >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "this machine has no apt-get"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
    echo "install: sudo may ask for your password, to install:$missing" >&2
else
    give_up "this needs root, and there is no sudo"
fi

echo "install:$missing" >&2
# policy-rc.d is Debian's way to say "do not start services"; one that is there already is left alone.
policy=/usr/sbin/policy-rc.d
made=
cleanup() { [ -z "$made" ] || $as_root rm -f "$policy"; }
trap cleanup EXIT
if [ ! -e "$policy" ] && printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null; then
    made=yes
    $as_root chmod 755 "$policy"
fi
$as_root apt-get update -qq >&2 || echo "install: apt-get update failed; trying with the lists that are there" >&2
# shellcheck disable=SC2086 # one word a package
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null >&2 ||
    give_up "apt-get install failed, the lines above say why"
case "$missing" in
*redis-server*)
    echo "install: Debian's own Redis service was not started; it would be at the next boot: $as_root systemctl disable redis-server prevents that" >&2
    ;;
esac
