#!/bin/sh
# Unpacks another Debian release's Kamailio into a folder, beside the installed one, with the libraries and the
# headers that belong to it, and prints the variables with which `make` and the tests use it.
# usage: host.sh SUITE FOLDER     (eval "$(sh scripts/host.sh trixie target/hosts/trixie)")
set -eu
suite=$1
folder=$2
# Those of scripts/install.sh that the tests load; apt knows what each needs.
packages="kamailio kamailio-presence-modules kamailio-sqlite-modules kamailio-postgres-modules kamailio-mysql-modules
	kamailio-redis-modules kamailio-tls-modules kamailio-websocket-modules kamailio-json-modules kamailio-lua-modules
	kamailio-python3-modules"
multiarch=x86_64-linux-gnu

fetch() {
	rm -rf "$folder"
	mkdir -p "$folder/apt/parts" "$folder/apt/lists/partial" "$folder/apt/archives/partial"
	folder=$(cd "$folder" && pwd)
	# Nothing is installed there: apt fetches the packages with all that they need, down to the C library.
	: >"$folder/apt/status"
	# The machine's own Debian entries, with the other release in the place of its own.
	own=$(. /etc/os-release && echo "$VERSION_CODENAME")
	for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
		[ -e "$file" ] && grep -q "debian-archive-keyring\|[ /]debian\(-security\)\?[ /]*$own" "$file" || continue
		sed -e "/^Suites:/s/$own/$suite/g" -e 's/^Types:.*/Types: deb deb-src/' -e "/^deb /s/$own/$suite/g" \
			-e 's/^deb \(.*\)/deb \1\ndeb-src \1/' "$file" >"$folder/apt/parts/$(basename "$file")"
	done
	# In deb822 files several suites stand in one line; those without an -updates twin are no loss.
	apt="-qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$folder/apt/parts -o Dir::State=$folder/apt
		-o Dir::State::status=$folder/apt/status -o Dir::Cache=$folder/apt -o APT::Sandbox::User=root"
	# shellcheck disable=SC2086
	{
		apt-get $apt update
		apt-get $apt --yes --download-only --no-install-recommends install $packages
		(cd "$folder/apt" && apt-get $apt source --download-only kamailio)
	} >&2
	for deb in "$folder"/apt/archives/*.deb; do
		dpkg-deb -x "$deb" "$folder/root"
	done
	dpkg-source -q --no-check --no-copy -x "$folder"/apt/kamailio_*.dsc "$folder/src" >&2
	rm -rf "$folder/apt"
	echo "$packages" >"$folder/packages"
}

# Fetched anew if it was with another list.
[ "$(cat "$folder/packages" 2>/dev/null || true)" = "$packages" ] || fetch
folder=$(cd "$folder" && pwd)
root=$folder/root
loader=$(ls "$root"/lib64/ld-linux-x86-64.so.2 "$root/usr/lib/$multiarch/ld-linux-x86-64.so.2" 2>/dev/null | head -n 1)
libraries=$root/usr/lib/$multiarch:$root/lib/$multiarch:$root/usr/lib/$multiarch/kamailio
# Python, within the server, looks for its library below PYTHONHOME.
cat <<EOF
export KAMAILIO_SRC='$folder/src'
export KAMAILIO_BIN='env PYTHONHOME=$root/usr $loader --library-path $libraries $root/usr/sbin/kamailio'
export KAMAILIO_LIBDIR='$root/usr/lib/$multiarch/kamailio'
export KAMAILIO_MODULES='$root/usr/lib/$multiarch/kamailio/modules'
export KAMAILIO_SHARE='$root/usr/share/kamailio'
EOF
