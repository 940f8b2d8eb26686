# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Completion of pmem-dax(8) for bash: commands, options, and what namespaces are called by.

# _pmem_dax_read ATTRIBUTE: that of all namespaces. A name of a label is anybody's text, and
# compgen expands what it is given.
_pmem_dax_read() {
	local devices=/sys/bus/nd/devices file value

	for file in "$devices"/namespace*/"$1"; do
		if read -r value <"$file" && [[ $value =~ ^[[:alnum:]_.-]+$ ]]; then
			echo "$value"
		fi
	done 2>/dev/null
}

_pmem_dax() {
	local word=${COMP_WORDS[COMP_CWORD]} command='' key='' words i
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
	# A colon is a word of its own to bash.
	if [ "$word" = : ]; then
		key=${COMP_WORDS[COMP_CWORD - 1]}
		word=
	elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = : ]; then
		key=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $command in
	"") words='list status attach detach check hold help' ;;
	help) words='list status attach detach check hold' ;;
	list | hold) words= ;;
	*)
		case $key in
		"")
			words=$(compgen -G "$devices/namespace*")
			words="${words//$devices\//} $(_pmem_dax_read uuid)"
			;;
		uuid) words=$(_pmem_dax_read uuid) ;;
		name) words=$(_pmem_dax_read alt_name) ;;
		*) words= ;;
		esac
		;;
	esac
	if [[ $word = -* ]]; then
		words='--verbose --root --help'
		case $command in
		list | status) words+=' --json' ;;
		attach) words+=' --boot --strict' ;;
		detach) words+=' --boot' ;;
		check) words+=' --wait' ;;
		hold) words+=' --once' ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _pmem_dax pmem-dax
