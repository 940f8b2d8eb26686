# SPDX-License-Identifier: GPL-2.0
#
# Stands in for the kernel's file of this name in tools/testing/selftests, so that the
# directories here keep the "include ../lib.mk" that they would have upstream.
#
# The rest of kselftest is linked here from the kernel's source, KSRC. What is
# built goes to build/ at the top. "make install INSTALL_PATH=dir" installs the
# runner too: dir/run_kselftest.sh -c COLLECTION fails if a test fails, which
# "make run_tests" does not.

KSRC ?= /build/linux
kselftest_src := $(KSRC)/tools/testing/selftests
kselftest_links := kselftest kselftest.h kselftest_harness.h run_kselftest.sh

override selfdir := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))
override top_srcdir := $(KSRC)

ifeq ($(wildcard $(kselftest_src)/lib.mk),)
$(error No kernel source in KSRC=$(KSRC): run this in the build root, or set KSRC)
endif

collection := $(notdir $(CURDIR))
OUTPUT ?= $(abspath $(selfdir)/../../../build/selftests/$(collection))

$(shell mkdir -p $(OUTPUT) && \
	ln -sfn $(addprefix $(kselftest_src)/,$(kselftest_links)) $(selfdir)/)

# Upstream the directory above installs the runner and the list of tests.
ifneq ($(INSTALL_PATH),)
install_top := $(INSTALL_PATH)
override INSTALL_PATH := $(install_top)/$(collection)

install: install_runner
install_runner:
	mkdir -p $(install_top)
	rsync -a --copy-links $(addprefix $(selfdir)/,kselftest run_kselftest.sh) $(install_top)/
	$(MAKE) -s emit_tests COLLECTION=$(collection) INSTALL_PATH= \
		>$(install_top)/kselftest-list.txt

.PHONY: install_runner
endif

# The kernel's file makes "all" the default.
.DEFAULT_GOAL :=
include $(kselftest_src)/lib.mk
