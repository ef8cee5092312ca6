#!/bin/sh
# need.sh run|test PYTHON: installs what is missing of the system packages that `make run` or `make test` needs.
set -eu

wanted=""

need() { # need PACKAGE COMMAND...: the package if this command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || wanted="$wanted $package"
}

python=$2
need python3-venv "$python" -c 'import ensurepip, venv'
if [ "$1" = test ]; then
    need apache2-bin test -x /usr/sbin/apache2
    need apache2-utils command -v htpasswd
    need caddy command -v caddy
    need composer command -v composer
    need chromium command -v chromium
    need nginx-light command -v nginx
    need haproxy test -x /usr/sbin/haproxy
    need libnginx-mod-nchan test -e /usr/share/nginx/modules-available/mod-nchan.conf
    need nodejs command -v node
    need npm command -v npm
    need openssl command -v openssl
    need perl command -v perl
    need php-cli command -v php
    need php-codesniffer command -v phpcs
    need phpunit command -v phpunit
    need redis-server command -v redis-server
    need varnish test -x /usr/sbin/varnishd
    need gcc command -v cc
    need libc6-dev test -e /usr/include/stdio.h
fi
[ -n "$wanted" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing:$wanted (as Debian calls them); install them and try again" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$wanted"
$sudo apt-get update -qq
# shellcheck disable=SC2086  # the words are packages
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $wanted >/dev/null
