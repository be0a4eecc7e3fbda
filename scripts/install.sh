#!/bin/sh
# Installs what is missing on Debian, says what and why. SKIP_INSTALL=1: only checks.
# usage: install.sh [build|test]   (test: also what only the tests and the benchmark need)
set -eu
want=${1:-build}

# package | a file or command that proves it is there | why
list() {
	cat <<'LIST'
build|cmd:kamailio|kamailio|the server that loads the module
build|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/presence_xml.so|kamailio-presence-modules|the stock event packages presence_xml, presence_mwi, presence_dialoginfo
build|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/db_sqlite.so|kamailio-sqlite-modules|Kamailio's SQLite driver
build|cmd:sqlite3|sqlite3|creates and shows the tables
build|cmd:cc|gcc|compiles the shim
build|file:/usr/include/stdio.h|libc6-dev|headers for the shim
build|cmd:make|make|asks Kamailio's makefiles for their compile flags
build|cmd:dpkg-source|dpkg-dev|unpacks Kamailio's source package, for its headers
build|glob:/usr/lib/llvm-*/lib/libclang.so*|libclang-dev|bindgen reads the headers with it
build|glob:/usr/lib/llvm-*/lib/clang/*/include/stddef.h|clang|the compiler's own headers, for bindgen
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so|kamailio-tls-modules|phones over TLS
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/websocket.so|kamailio-websocket-modules|phones over WebSocket
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/pua_json.so|kamailio-json-modules|what comes as JSON is published
test|glob:/usr/lib/postgresql/*/bin/initdb|postgresql|the storage tests start one of their own
test|cmd:psql|postgresql-client|the storage tests look into its tables
test|cmd:mariadbd|mariadb-server|the storage tests and Kamailio's default configuration start one of their own
test|cmd:mariadb|mariadb-client|the storage tests look into its tables
test|cmd:redis-server|redis-server|what works with Redis, and what is refused
test|cmd:redis-cli|redis-tools|puts the versions of the tables into it
test|cmd:setpriv|util-linux|the database servers do not run as root
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/db_postgres.so|kamailio-postgres-modules|Kamailio's PostgreSQL driver
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/db_mysql.so|kamailio-mysql-modules|Kamailio's driver for MySQL and MariaDB
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/db_redis.so|kamailio-redis-modules|Kamailio's Redis driver
test|cmd:xmllint|libxml2-utils|validates the documents that the server sends
test|cmd:valgrind|valgrind|counts leaks in the interface tests
test|cmd:python3|python3|a second SQLite writer in the contention tests
test|cmd:pkg-config|pkg-config|Kamailio's makefiles ask for it when the C modules of the tests are built
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/app_lua.so|kamailio-lua-modules|scripts in Lua
test|file:/usr/lib/x86_64-linux-gnu/kamailio/modules/app_python3.so|kamailio-python3-modules|scripts in Python
LIST
}

present() {
	case $1 in
	cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 ;;
	file:*) [ -e "${1#file:}" ] ;;
	glob:*) set -- ${1#glob:}; [ -e "$1" ] ;;
	esac
}

missing=
while IFS='|' read -r when proof package why; do
	[ "$when" = build ] || [ "$want" = test ] || continue
	if ! present "$proof"; then
		echo "missing: $package ($why)"
		missing="$missing $package"
	fi
done <<LIST
$(list)
LIST

# The Rust toolchain: any that is new enough; else Debian's.
minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
new_enough() {
	command -v "$1" >/dev/null 2>&1 || return 1
	have=$("$1" --version | sed -n 's/^[a-z]* \([0-9.]*\).*/\1/p')
	[ "$(printf '%s\n%s\n' "$minimum" "$have" | sort -V | head -n 1)" = "$minimum" ]
}
if ! new_enough rustc || ! command -v cargo >/dev/null 2>&1; then
	echo "missing: a Rust toolchain of version $minimum or later"
	missing="$missing rustc-web cargo-web"
fi

[ -n "$missing" ] || exit 0
if [ -n "${SKIP_INSTALL:-}" ]; then
	echo "error: not installed:$missing (SKIP_INSTALL is set: install them yourself)" >&2
	exit 1
fi
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
if [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; then
	echo "error: not installed:$missing; run as root, or install sudo" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "error: not installed:$missing; this machine has no apt-get: install them by its own means and set SKIP_INSTALL=1" >&2
	exit 1
fi
echo "installing:$missing"
$sudo apt-get update -qq
# --no-upgrade: what is there stays as it is.
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
if ! new_enough rustc; then
	echo "error: Rust $minimum or later is needed; after installing there is $(rustc --version 2>/dev/null || echo none)" >&2
	exit 1
fi
