# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Completion of pmem-dax(8) for bash: commands, options, and the names of namespaces.

_pmem_dax() {
	local word=${COMP_WORDS[COMP_CWORD]} command='' words i
	local devices=/sys/bus/nd/devices

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--root) i=$((i + 1)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	if [ "${COMP_WORDS[COMP_CWORD - 1]}" = --root ]; then
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
	fi
	case $command in
	"") words='list status attach detach check help' ;;
	help) words='list status attach detach check' ;;
	list) words= ;;
	*)
		words=$(compgen -G "$devices/namespace*")
		words=${words//$devices\//}
		;;
	esac
	if [[ $word = -* ]]; then
		words='--verbose --root --help'
		case $command in
		list | status) words+=' --json' ;;
		attach | detach) words+=' --boot' ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _pmem_dax pmem-dax
