#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Lines of modprobe.d for one module add up: a good guess, as it is so with options. Of
# softdep lines modprobe of kmod 30 takes the first alone: what a second file names is not
# loaded, even if the one names modules for before and the other for after, and neither is
# what the module itself asks for (MODULE_SOFTDEP, which depmod puts in modules.softdep).
# The name is a pattern, other than that of options, so a line for a family of drivers
# hides those for each of them too. There is no message, and "modprobe -c" lists them all.
#
# Who has "softdep nd_pmem pre: pmem_dax" in a file, and finds nd_pmem first, looks for
# another such line in a file of a lesser name; one line may name several modules.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages kmod=30+20221128-1 libkmod2=30+20221128-1

# Modules of nothing but a name; the driver asks for its own.
kernel=$work/lib/modules/1.0/kernel
mkdir -p "$kernel" "$work/modprobe.d"
for module in driver own first second; do
	softdep=
	[ $module != driver ] || softdep='softdep=pre: own\0'
	printf 'const char info[] __attribute__((section(".modinfo"))) = "%s";\n' \
		"name=$module\\0$softdep" | gcc -c -x c -o "$kernel/$module.ko" -
done
touch "$work/lib/modules/1.0/"modules.{order,builtin,builtin.modinfo}
for program in depmod modprobe; do
	ln -s "$work/tree/bin/kmod" "$work/$program"
done
"$work/depmod" -b "$work" 1.0

modprobe() {
	"$work/modprobe" -d "$work" -S 1.0 -C "$work/modprobe.d" "$@"
}

# loads LINE...: what loading the driver loads if each of these is in a file of its own.
loads() {
	local number=0

	rm -f "$work/modprobe.d/"*
	for line in "$@"; do
		number=$((number + 1))
		echo "$line" >"$work/modprobe.d/$number.conf"
	done
	(IFS=';' && printf '[%s]' "$*")
	modprobe --show-depends driver | sed 's|^insmod .*/||; s|\.ko||; s| *$||' |
		awk '{ printf "%s%s", (NR > 1 ? ", " : " "), $0 } END { print "" }'
}

{
	modprobe --version | head -n 1
	loads
	loads 'options driver a=1' 'options driver b=2'
	loads 'softdep driver pre: first'
	loads 'softdep driver pre: first' 'softdep driver pre: second'
	modprobe -c | grep softdep
	loads 'softdep driver pre: first' 'softdep driver post: second'
	loads 'softdep driv* pre: first' 'softdep driver pre: second'
	loads 'options driv* a=1' 'options driver b=2'
	loads 'softdep driver pre: own first second'
} | expect 'kmod version 30
[] own, driver
[options driver a=1;options driver b=2] own, driver a=1 b=2
[softdep driver pre: first] first, driver
[softdep driver pre: first;softdep driver pre: second] first, driver
softdep driver pre: first
softdep driver pre: second
softdep driver pre: own
[softdep driver pre: first;softdep driver post: second] first, driver
[softdep driv* pre: first;softdep driver pre: second] first, driver
[options driv* a=1;options driver b=2] own, driver b=2
[softdep driver pre: own first second] own, first, second, driver'
