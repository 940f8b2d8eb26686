#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The domains for libvirt in Documentation/examples are what libvirt takes, and what it
# makes of them starts.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=guest_lib.sh disable=SC1091
. "$LIB_DIR/guest_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# libvirt, in the process of virsh: no daemon is needed.
ROOT=/tmp/libvirt
URI="qemu:///embed?root=$ROOT"

for EXAMPLES in "$LIB_DIR"/../../../{,../}Documentation/examples; do
	[ ! -d "$EXAMPLES" ] || break
done

test_schema() {
	local file

	for file in "$EXAMPLES"/guest-*.xml; do
		virt-xml-validate "$file" domain
	done
}

# domain NAME: it is defined, is what QEMU gets, and starts.
domain() {
	# A domain that an earlier run defined would not be replaced.
	rm -rf $ROOT
	mkdir -p $ROOT/etc
	# Without udev nobody else may open /dev/kvm, and without a daemon there is no logger.
	printf '%s\n' 'user = "root"' 'group = "root"' 'stdio_handler = "file"' \
		'security_driver = "none"' >$ROOT/etc/qemu.conf
	virsh -c "$URI" <<-END
		define $EXAMPLES/$1.xml --validate
		domxml-to-native qemu-argv --domain $1
		start $1 --paused
		qemu-monitor-command $1 --hmp info memory-devices
		destroy $1
	END
}

# has TEXT: libvirt said it.
has() {
	grep -qF -e "$1" <<<"$SAID" || fail "not '$1': $SAID"
}

test_nvdimm() {
	NODE=$(take namespace0.0)
	printf 'start=2MiB,size=256MiB\n' | sfdisk -q --label gpt "$NODE"
	SAID=$(domain guest-nvdimm 2>&1)
	has '"qom-type":"memory-backend-file"'
	has '"mem-path":"/dev/pmem0p1"'
	has '"share":true'
	has '"align":2097152'
	has '"pmem":true'
	has 'Memory device [nvdimm]'
	has 'destroyed'
	wipefs -q -a "$NODE"
}

test_virtio_pmem() {
	NODE=$(take namespace0.0)
	printf 'start=2MiB,size=256MiB\n' | sfdisk -q --label gpt "$NODE"
	SAID=$(domain guest-virtio-pmem 2>&1)
	has '"mem-path":"/dev/pmem0p1"'
	has '"share":true'
	has 'virtio-pmem-pci'
	has 'destroyed'
	wipefs -q -a "$NODE"
}

run_guest_tests namespace0.0 -- schema nvdimm virtio_pmem
