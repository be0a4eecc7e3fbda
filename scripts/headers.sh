#!/bin/sh
# Puts the source tree of the very Kamailio that is installed into target/kamailio-src, for its headers.
# With KAMAILIO_SRC set there is nothing to do: the caller has a tree.
set -eu
[ -z "${KAMAILIO_SRC:-}" ] || exit 0

if ! command -v dpkg-query >/dev/null 2>&1 || ! version=$(dpkg-query -W -f '${Version}' kamailio 2>/dev/null) || [ -z "$version" ]; then
	echo "error: kamailio is not installed as a Debian package: set KAMAILIO_SRC to the source tree it was built from" >&2
	exit 1
fi
tree=target/kamailio-src
[ "$(cat "$tree/.version" 2>/dev/null || true)" = "$version" ] && exit 0

# deb-src entries made of the machine's own deb entries, in folders of our own: apt's configuration stays untouched.
work=$(pwd)/target/headers
rm -rf "$work" "$tree"
mkdir -p "$work/lists/partial" "$work/parts"
for file in /etc/apt/sources.list.d/*.sources; do
	[ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
	[ -e "$file" ] && sed -n 's/^deb[[:space:]]/deb-src /p' "$file" >"$work/parts/$(echo "$file" | tr / _).list"
done
apt="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$work/parts -o Dir::State::lists=$work/lists -o APT::Sandbox::User=root"
echo "fetching the source package of kamailio $version for its headers"
# Entries that have no source (a third party's) fail the update as a whole; the download below decides.
apt-get $apt -qq update >/dev/null 2>"$work/update.log" || true
if ! (cd "$work" && apt-get $apt -qq source --download-only "kamailio=$version" >/dev/null 2>"$work/source.log"); then
	cat "$work/update.log" "$work/source.log" >&2
	echo "error: no source package of kamailio $version to be had with apt: set KAMAILIO_SRC to a source tree of that version" >&2
	exit 1
fi
dpkg-source -q --no-check -x "$work"/kamailio_*.dsc "$tree" >/dev/null
echo "$version" >"$tree/.version"
rm -rf "$work"
