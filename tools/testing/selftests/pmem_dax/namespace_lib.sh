# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of namespaces share: what the driver has, and namespaces of region1 in
# all modes. lib.sh comes before.

# taken: what the driver has, on one line.
taken() {
	local link names=()

	for link in "$DRIVERS"/pmem_dax/*[0-9].*[0-9]; do
		[ ! -L "$link" ] || names+=("${link##*/}")
	done
	echo "${names[*]}"
}

claim() {
	echo "$1" 2>/dev/null >"$DRIVERS/pmem_dax/claim"
}

bind() {
	echo "$1" 2>/dev/null >"$DRIVERS/pmem_dax/bind"
}

# one_line PATTERN: the driver said it since log_mark, in one line.
one_line() {
	local lines

	lines=$(log_since "$1" | wc -l)
	[ "$lines" = 1 ] || fail "$lines lines in the log instead of one: $1"
}

# region STATE: region1 goes or comes back, and with it what was set up of it. Its namespaces are
# registered by and by.
region() {
	echo region1 >"$DRIVERS/nd_region/$1"
	cat /sys/class/nd/ndctl*/device/wait_probe >/dev/null
}

# labels [VERSION]: region1 has labels, and no namespace. What uses it takes all drivers
# away first.
labels() {
	unload_all
	region unbind
	ndctl init-labels -f -V "${1:-1.1}" nmem1 >/dev/null 2>&1
	region bind
}

# create_only MODE [SIZE]: a namespace of region1 in that mode. Tells its name.
create_only() {
	# shellcheck disable=SC2086 # a mode may have options behind it
	ndctl create-namespace -r region1 -s "${2:-32M}" -m $1 |
		sed -n 's/.*"dev":"\([^"]*\)".*/\1/p'
}

# create MODE: the same, but it has no driver and no other personality set up.
create() {
	create_only "$@"
	unload_all
	region unbind
	region bind
}

# pfn_of NAMESPACE DRIVER: the device by which it is used, when the driver has that. The
# bus makes it and offers it to drivers when it likes.
pfn_of() {
	local i pfn

	for ((i = 0; i < 50; i++)); do
		pfn=$(cat "$DEVICES/$1/holder")
		if [ -n "$pfn" ] && [ "$(driver_of "$pfn")" = "$2" ]; then
			echo "$pfn"
			return
		fi
		sleep 0.1
	done
	fail "$1 was not taken by $2 as what its info block says"
}

# clean_up: region1 is one raw namespace again, as it was at boot. A region that
# had labels once is believed to have them until its bus is made again.
clean_up() {
	local nfit=/sys/bus/platform/drivers/acpi-nfit device

	unload_all
	region unbind
	ndctl zero-labels nmem1 >/dev/null 2>&1
	for device in "$nfit"/ACPI*; do
		echo "${device##*/}" >"$nfit/unbind"
		echo "${device##*/}" >"$nfit/bind"
	done
	cat /sys/class/nd/ndctl*/device/wait_probe >/dev/null
	expect $((512 << 20)) "$(cat "$DEVICES/namespace1.0/size")" "size of namespace1.0"
	expect 4 "$(cat "$DEVICES/namespace1.0/nstype")" "type of namespace1.0"
}
