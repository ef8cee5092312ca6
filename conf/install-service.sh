#!/bin/sh
# Installs rplx from this source directory as a service: the program into its own virtual environment in /opt/rplx, the
# configuration into /etc/rplx (kept if it is there), its user, and the systemd unit or, with --sysv, the init script.
# Run again after an update, or when engine.url names another engine. Then
# `systemctl enable --now rplx` or `service rplx start`. With --sockets systemd holds the listening sockets, so that a
# restart refuses nobody: conf/rplx-sockets.conf says more.
#
# With DESTDIR=DIRECTORY the files go below that directory, and nothing of the machine is changed (for packages).

set -eu

PREFIX=${PREFIX:-/opt/rplx}
PYTHON=${PYTHON:-python3}
DESTDIR=${DESTDIR:-}
SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

init=systemd
sockets=
case "${1:-}" in
    "") [ -d /run/systemd/system ] || [ -n "$DESTDIR" ] || echo "note: systemd does not run here, see --sysv" >&2 ;;
    --sysv) init=sysv ;;
    --sockets) sockets=yes ;;
    *)
        echo "usage: $0 [--sysv | --sockets]" >&2
        exit 2
        ;;
esac

fail() {
    echo "$0: $*" >&2
    exit 1
}

[ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || fail "must run as root: sudo $0 $*"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$PYTHON is not Python 3.11 or newer, set PYTHON="
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail "$PYTHON has no venv: apt-get install python3-venv"

# Builds from a copy, so that root leaves nothing behind in the source directory.
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
tar -C "$SOURCE" --exclude=./.git --exclude=./.venv --exclude=node_modules --exclude=./build -cf - . | tar -C "$build" -xf -
"$PYTHON" -m venv "$DESTDIR$PREFIX"
"$DESTDIR$PREFIX/bin/pip" install --quiet --disable-pip-version-check --upgrade "$build${EXTRAS:-}"

# The configuration may hold passwords: the service's group reads it, nobody else. One that we once left open is closed.
config=$DESTDIR/etc/rplx/rplx.toml
install -d -m 755 "$DESTDIR/etc/rplx"
if [ ! -e "$config" ]; then
    # IN listens on the loopback address alone, so nobody needs to call it by another name.
    sed 's/^#hosts = .*/hosts = ["localhost", "127.0.0.1", "[::1]"]/' "$SOURCE/conf/rplx.toml" >"$build/installed.toml"
    install -m 640 "$build/installed.toml" "$config"
elif [ "$(stat -c '%a %u %g' "$config")" = '644 0 0' ]; then
    chmod 640 "$config"
fi

if [ -z "$DESTDIR" ]; then
    id rplx >/dev/null 2>&1 ||
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rplx
    # A Python below somebody's home directory, say, is no good for a service.
    (cd / && runuser -u rplx -- "$PREFIX/bin/rplx" --version >/dev/null) ||
        fail "user rplx may not run $PREFIX/bin/rplx: set PYTHON= to a Python that every user may read"
    [ "$(stat -c '%a %u %g' "$config")" != '640 0 0' ] || chgrp rplx "$config"
fi

# What the configuration asks for beyond the rest: Redis needs a library. With wrong options the start says what is wrong.
engine=$("$DESTDIR$PREFIX/bin/python" -c '
import os, sys
from rplx.options.reading import load
print(load(sys.argv[1], os.environ, []).engine.url.partition(":")[0])' "$config") || engine=
case $engine in
    "" | memory | sqlite) ;;
    *) "$DESTDIR$PREFIX/bin/pip" install --quiet --disable-pip-version-check --upgrade "$build[redis]" ;;
esac

if [ "$init" = systemd ]; then
    install -d -m 755 "$DESTDIR/etc/systemd/system"
    sed "s|/opt/rplx/|$PREFIX/|" "$SOURCE/conf/rplx.service" >"$DESTDIR/etc/systemd/system/rplx.service"
    chmod 644 "$DESTDIR/etc/systemd/system/rplx.service"
    units=rplx
    if [ -n "$sockets" ]; then
        install -d -m 755 "$DESTDIR/etc/systemd/system/rplx.service.d"
        install -m 644 "$SOURCE/conf/rplx-sockets.conf" "$DESTDIR/etc/systemd/system/rplx.service.d/sockets.conf"
        install -m 644 "$SOURCE/conf/rplx-wait.socket" "$SOURCE/conf/rplx-in.socket" "$DESTDIR/etc/systemd/system"
        units="rplx-wait.socket rplx-in.socket rplx"
    fi
    [ -n "$DESTDIR" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
    echo "installed; start it now and with the machine: systemctl enable --now $units"
else
    install -d -m 755 "$DESTDIR/etc/init.d" "$DESTDIR/etc/logrotate.d" "$DESTDIR/var/log/rplx"
    install -d -m 750 "$DESTDIR/var/lib/rplx"
    sed "s|/opt/rplx/|$PREFIX/|" "$SOURCE/conf/rplx.init" >"$DESTDIR/etc/init.d/rplx"
    chmod 755 "$DESTDIR/etc/init.d/rplx"
    install -m 644 "$SOURCE/conf/rplx.logrotate" "$DESTDIR/etc/logrotate.d/rplx"
    if [ -z "$DESTDIR" ]; then
        chown rplx:rplx /var/log/rplx /var/lib/rplx
        if command -v update-rc.d >/dev/null; then update-rc.d rplx defaults; else chkconfig --add rplx; fi
    fi
    echo "installed, it starts with the machine; start it now: service rplx start"
fi
