# SPDX-License-Identifier: GPL-2.0
#
# What people type. Each target calls one tool, which sets up what it needs. The
# kernel's make does not see this file: it reads Kbuild.

.DEFAULT_GOAL := help

# What tools/testing/selftests/lib.mk links there.
links := kselftest kselftest.h kselftest_harness.h run_kselftest.sh

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

build: ## build pmem_dax.ko for Debian's stock kernel, or KERNEL, and the tool pmem-dax
	@tools/testing/vm/kmake -q build modules
	@tools/build

kernels: ## list the kernels that can be built for and tested: make build KERNEL=..., check, demo, bench, shell
	@tools/testing/vm/build-root --list

modules: ## build pmem_dax.ko for a kernel of your own, with CONFIG_RUST: make KDIR=... modules
	@tools/kdir '$(KDIR)'

install: build ## install the module, pmem-dax, its manual page and bash completion, below DESTDIR if it is set
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' tools/install

clean: ## remove what was built
	@tools/testing/vm/kmake -q clean clean
	@rm -rf build $(addprefix tools/testing/selftests/,$(links))

lint: ## check style, lints and documentation
	@tools/testing/lint

doc: ## make the documentation of the Rust crates
	@tools/testing/doc

host-test: ## run the tests that need no kernel
	@tools/testing/host

check: ## run every test, in virtual machines where it takes one
	@tools/testing/check

check-quick: ## run a choice of the tests, which takes three minutes
	@tools/testing/check host build style quick

# What follows check-one are names of tests, and no targets.
ifeq ($(firstword $(MAKECMDGOALS)),check-one)
names := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
.PHONY: $(names)
$(names):
	@:
endif

check-one: build ## run some tests by name: make check-one mmap_sync unload.sh
	$(if $(names),,$(error name the tests: make check-one mmap_sync unload.sh))
	@tools/testing/kselftest $(names)

demo: ## show a DAX mapping at work, in a virtual machine
	@tools/testing/demo/run guest

demo-guest: ## show a guest of KVM whose NVDIMM is /dev/pmem0, in a virtual machine
	@tools/testing/demo/run hypervisor

bench: build ## measure pmem_dax and its peers, in instructions
	@tools/testing/bench/run

bench-compare: build ## measure it beside the module of another revision, BASE
	@tools/testing/bench/compare '$(BASE)'

profile: build ## count the instructions of faults and calls by function; beside BASE, if set
	@tools/testing/bench/profile $(BASE)

powercut: build ## cut the power of writing machines fifty times, which takes ten minutes
	@tools/testing/powercut/run --cuts 50

torture: build ## everything at once, random calls, and the tests in the debug kernels: six hours
	@tools/testing/torture/run
	@PMEM_DAX_SECONDS=600 tools/testing/kselftest exerciser
	@tools/testing/kselftest --full
	@tools/testing/kselftest --races --concurrent
	@tools/testing/torture/run --races -s 120

planted: ## see that mistakes made on purpose are found, which takes fifteen minutes
	@tools/testing/planted/run

coverage: ## say which lines of the driver the tests reach, which takes an hour
	@tools/testing/coverage/run

shell: build ## open a shell in a virtual machine, with pmem devices of each kind
	@tools/testing/vm/run --all-devices --shell

clean-cache: ## remove the build root, which takes five minutes to make again
	@rm -rf --one-file-system "$${XDG_CACHE_HOME:-$$HOME/.cache}/pmem-dax"

.PHONY: help build modules kernels install clean lint doc host-test check check-one demo demo-guest bench \
	bench-compare profile powercut torture planted coverage shell clean-cache
