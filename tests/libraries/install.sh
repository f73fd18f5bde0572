#!/bin/sh
# Installs the session libraries that tests/libraries.rs drives, into target/libraries; what is there already is not
# installed again. Versions are pinned by the lock files beside each app; PHP's and Ruby's are Debian's.
set -eu

cd "$(dirname "$0")/../.."
HERE=tests/libraries
INTO=target/libraries
mkdir -p "$INTO"
say() { echo "libraries: $*" >&2; }

# Some machines have a node of their own.
command -v node >/dev/null && command -v npm >/dev/null || sh tests/install.sh nodejs npm
sh tests/install.sh php-cli php-redis puma ruby-redis-rack ruby-actionpack ruby-connection-pool

# is_new NAME FILE…: whether NAME was not yet installed from these files; done_with NAME says that now it is.
is_new() {
    name=$1
    shift
    cat "$@" | cksum >"$INTO/$name.wanted"
    ! cmp -s "$INTO/$name.wanted" "$INTO/$name.installed"
}
done_with() { mv "$INTO/$1.wanted" "$INTO/$1.installed"; }

if is_new express "$HERE/express/package.json" "$HERE/express/package-lock.json"; then
    say "npm packages into $INTO/express"
    mkdir -p "$INTO/express"
    cp "$HERE/express/package.json" "$HERE/express/package-lock.json" "$HERE/express/.npmrc" "$INTO/express"
    (cd "$INTO/express" && npm ci --ignore-scripts --loglevel=error >&2)
    done_with express
fi

if is_new python "$HERE/python-requirements.txt"; then
    say "python packages into $INTO/python"
    rm -rf "$INTO/python"
    "${PYTHON:-python3}" -m venv "$INTO/python"
    "$INTO/python/bin/pip" install --quiet --disable-pip-version-check -r "$HERE/python-requirements.txt" >&2
    done_with python
fi

# Not built by `cargo test`: a crate of its own, with a lock file of its own. Cargo knows what is new.
CARGO_TARGET_DIR="$INTO/tower-sessions" "${CARGO:-cargo}" build --quiet --locked \
    --manifest-path "$HERE/tower-sessions/Cargo.toml" >&2
