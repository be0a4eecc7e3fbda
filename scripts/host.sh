#!/bin/sh
# Unpacks another Debian release's Kamailio into a folder, beside the installed one, with the libraries and the
# headers that belong to it, and prints the variables with which `make` and the tests use it.
# usage: host.sh SUITE FOLDER     (eval "$(sh scripts/host.sh trixie target/hosts/trixie)")
set -eu
suite=$1
folder=$2
packages="kamailio kamailio-presence-modules kamailio-sqlite-modules libc6 libpcre2-8-0 libreadline8t64 libxml2
	libtinfo6 libsqlite3-0 zlib1g liblzma5 libgcc-s1 libcurl4t64 libicu76 libstdc++6"
multiarch=x86_64-linux-gnu

fetch() {
	rm -rf "$folder"
	mkdir -p "$folder/apt/parts" "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/debs"
	folder=$(cd "$folder" && pwd)
	: >"$folder/apt/status"
	# The machine's own Debian entries, with the other release in the place of its own.
	own=$(. /etc/os-release && echo "$VERSION_CODENAME")
	for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
		[ -e "$file" ] && grep -q "debian-archive-keyring\|[ /]debian\(-security\)\?[ /]*$own" "$file" || continue
		sed -e "/^Suites:/s/$own/$suite/g" -e 's/^Types:.*/Types: deb deb-src/' -e "/^deb /s/$own/$suite/g" \
			-e 's/^deb \(.*\)/deb \1\ndeb-src \1/' "$file" >"$folder/apt/parts/$(basename "$file")"
	done
	# In deb822 files several suites stand in one line; those without an -updates twin are no loss.
	apt="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$folder/apt/parts -o Dir::State::lists=$folder/apt/lists
		-o Dir::State::status=$folder/apt/status -o Dir::Cache=$folder/apt -o APT::Sandbox::User=root"
	apt-get $apt -qq update >&2
	(cd "$folder/debs" && apt-get $apt -qq download $packages && apt-get $apt -qq source --download-only kamailio) >&2
	for deb in "$folder"/debs/*.deb; do
		dpkg-deb -x "$deb" "$folder/root"
	done
	dpkg-source -q --no-check -x "$folder"/debs/kamailio_*.dsc "$folder/src" >&2
	rm -rf "$folder/apt" "$folder/debs"
}

[ -d "$folder/src" ] || fetch
folder=$(cd "$folder" && pwd)
root=$folder/root
loader=$(ls "$root"/lib64/ld-linux-x86-64.so.2 "$root/usr/lib/$multiarch/ld-linux-x86-64.so.2" 2>/dev/null | head -n 1)
libraries=$root/usr/lib/$multiarch:$root/lib/$multiarch:$root/usr/lib/$multiarch/kamailio
cat <<EOF
export KAMAILIO_SRC='$folder/src'
export KAMAILIO_BIN='$loader --library-path $libraries $root/usr/sbin/kamailio'
export KAMAILIO_LIBDIR='$root/usr/lib/$multiarch/kamailio'
export KAMAILIO_MODULES='$root/usr/lib/$multiarch/kamailio/modules'
EOF
