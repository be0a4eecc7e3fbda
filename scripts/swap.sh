#!/bin/sh
# Puts presence.so into Kamailio's module folder, keeping Kamailio's own beside it as presence.so.stock; and back.
# usage: swap.sh install|uninstall SO MODULES
# Both may be repeated. Every file appears by rename: a Kamailio that starts meanwhile finds a whole module.
set -eu

fail() {
	echo "error: $1" >&2
	exit 1
}

[ $# = 3 ] || fail "usage: swap.sh install|uninstall SO MODULES"
action=$1 so=$2 modules=${3%/}
current=$modules/presence.so
kept=$current.stock
part=$modules/.presence.so.$$
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM

# A module in Rust is told from Kamailio's own by a name that every Rust runtime reads from the environment.
is_ours() {
	grep -q -a RUST_BACKTRACE "$1"
}

# put FROM TO: a whole copy in place of TO.
put() {
	cp -p "$1" "$part" && mv -f "$part" "$2" || fail "$2 cannot be written"
}

check_folder() {
	[ -d "$modules" ] || fail "there is no folder $modules: name Kamailio's module folder with KAMAILIO_MODULES"
	[ -w "$modules" ] || fail "$modules is not writable: run this as root"
}

# Keeps the module in place if it is Kamailio's own; after an upgrade of the package, in place of the older one.
keep_stock() {
	if [ ! -e "$current" ]; then
		[ -e "$kept" ] || fail "there is no presence.so in $modules: is this Kamailio's module folder, and the package kamailio-presence-modules installed?"
	elif is_ours "$current"; then
		[ -e "$kept" ] || echo "warning: there is no $kept: to go back, reinstall the package kamailio-presence-modules" >&2
	elif [ -e "$kept" ] && cmp -s "$current" "$kept"; then
		:
	else
		[ ! -e "$kept" ] || echo "Kamailio's presence.so was replaced since the last time (an upgrade): the new one is kept"
		put "$current" "$kept"
	fi
}

install_ours() {
	[ -f "$so" ] || fail "there is no $so: run make build"
	is_ours "$so" || fail "$so is not this project's module"
	check_folder
	keep_stock
	if [ -e "$current" ] && cmp -s "$so" "$current"; then
		echo "$current is this build already"
		return
	fi
	cp "$so" "$part" && chmod 644 "$part" && mv -f "$part" "$current" || fail "$current cannot be written"
	echo "installed $current; Kamailio's own is kept as $kept. Restart Kamailio to load it"
}

uninstall_ours() {
	check_folder
	if [ -e "$current" ] && ! is_ours "$current"; then
		# An upgrade of the package has put a newer one there than the one that is kept.
		rm -f "$kept"
		echo "$current is Kamailio's own already"
	elif [ -e "$kept" ]; then
		mv -f "$kept" "$current" || fail "$current cannot be written"
		echo "Kamailio's own $current is back. Restart Kamailio to load it"
	else
		fail "there is no $kept: reinstall the package kamailio-presence-modules"
	fi
}

case $action in
install) install_ours ;;
uninstall) uninstall_ours ;;
*) fail "usage: swap.sh install|uninstall SO MODULES" ;;
esac
