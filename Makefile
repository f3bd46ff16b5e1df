# turnout: one makefile, not recursive. `make help` lists the targets.
#
# Sources are found by wildcard, so a new file needs no line here:
#   lib/*/*.c lib/*/*/*.c     libturnout (what lies in a folder named fake/ only in the test variants)
#   cli/*.c                   the program
#   tests/unit/**/test_*.c    one cmocka program each; other .c files there are linked into all of them
#   tests/sim/*.c             one program for each file with a main(); the others are linked into all of them
#   tests/support/*.c         likewise, static
#   tests/fuzz/fuzz_*.c       one fuzz target each, its corpus in tests/fuzz/corpus/<name without fuzz_>/
# Every variant has its own folder of objects: build/<variant>/.

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all
SHELL := /bin/bash

ifneq (,$(filter default undefined,$(origin CC)))
CC := gcc
endif
ifneq (,$(filter default undefined,$(origin AR)))
AR := ar
endif
CLANG ?= clang-14
PYTHON ?= python3

# One job a processor, unless the user or a parent make said otherwise.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
ifeq (0,$(MAKELEVEL))
ifeq (,$(filter -j%,$(MAKEFLAGS)))
MAKEFLAGS += -j$(JOBS)
endif
endif

ifeq (1,$(V))
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
endif

prefix ?= /usr/local
PREFIX ?= $(prefix)
bindir ?= $(PREFIX)/bin
libdir ?= $(PREFIX)/lib
includedir ?= $(PREFIX)/include
FUZZ_TIME ?= 60
SOVERSION := 0

# ---- what the compiler offers -------------------------------------------------------------------------

# These goals must work on a machine that has no compiler yet.
BARE_GOALS := help clean distclean deps deps-build deps-quickstart check quickstart quickstart-down uninstall \
              format dist lint
ifneq (,$(filter-out $(BARE_GOALS),$(or $(MAKECMDGOALS),all)))
include build/cc/$(notdir $(firstword $(CC))).mk
endif

build/cc/%.mk: tools/features.sh
	@mkdir -p $(@D)
	@t=$@.$$$$; sh tools/features.sh '$(firstword $(CC))' >$$t && mv $$t $@ || { rm -f $$t; exit 1; }

# ---- flags --------------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
BASE_FLAGS = -std=c11 -D_GNU_SOURCE= -Iinclude -I. $(WARN) $(PKG_CFLAGS) -pthread
# libcurl is opened at run time (start-up time), only its headers are used here.
LIBS = $(PKG_LIBS) -ldl -lpthread -lm
FORTIFIED = $(if $(filter -O0,$(CFLAGS)),,$(FORTIFY))

FLAGS_release = -O2 -g -fPIC $(FORTIFIED) $(HARDEN)
LINK_release = $(PIE) $(HARDEN_LINK)
CC_release = $(CC)

# For tests and valgrind: the fake back-ends, and no zeroing of locals, which would hide what valgrind looks for.
FLAGS_test = -O1 -g -fPIC -fno-omit-frame-pointer -fstack-protector-strong -DTN_FAKE
LINK_test = $(PIE)
CC_test = $(CC)

SAN_ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_asan = -O1 -g -fPIC $(SAN_ASAN) -DTN_FAKE
LINK_asan = $(SAN_ASAN)
CC_asan = $(CC)

FLAGS_tsan = -O1 -g -fPIC -fsanitize=thread -fno-omit-frame-pointer -DTN_FAKE
LINK_tsan = -fsanitize=thread
CC_tsan = $(CC)

FLAGS_fuzz = -O1 -g -fPIC -fsanitize=fuzzer-no-link $(SAN_ASAN) -DTN_FAKE
LINK_fuzz = $(SAN_ASAN)
CC_fuzz = $(CLANG)

# The analysis behind -Wmaybe-uninitialized reports false positives when sanitizers rewrite the code.
FLAGS_asan += -Wno-maybe-uninitialized
FLAGS_tsan += -Wno-maybe-uninitialized
ifneq (,$(findstring clang,$(CC)))
FLAGS_asan += -Wno-unknown-warning-option
FLAGS_tsan += -Wno-unknown-warning-option
endif

# ---- sources ------------------------------------------------------------------------------------------

LIB_ALL := $(sort $(wildcard lib/*/*.c lib/*/*/*.c))
LIB_FAKE := $(sort $(wildcard lib/*/fake/*.c))
LIB_RELEASE := $(filter-out $(LIB_FAKE),$(LIB_ALL))
CLI_SRC := $(sort $(wildcard cli/*.c))
CORE_SRC := $(sort $(wildcard lib/strategy/*.c lib/diff/*.c))

UNIT_ALL := $(sort $(wildcard tests/unit/*.c tests/unit/*/*.c tests/unit/*/*/*.c tests/unit/*/*/*/*.c))
UNIT_SRC := $(foreach f,$(UNIT_ALL),$(if $(filter test_%,$(notdir $(f))),$(f)))
UNIT_HELP := $(filter-out $(UNIT_SRC),$(UNIT_ALL))

with_main = $(if $(1),$(shell grep -l '^int main[^a-z_]' $(1) /dev/null))
SIM_ALL := $(sort $(wildcard tests/sim/*.c))
SIM_SRC := $(call with_main,$(SIM_ALL))
SIM_HELP := $(filter-out $(SIM_SRC),$(SIM_ALL))
SUPPORT_ALL := $(sort $(wildcard tests/support/*.c))
SUPPORT_SRC := $(call with_main,$(SUPPORT_ALL))
SUPPORT_HELP := $(filter-out $(SUPPORT_SRC),$(SUPPORT_ALL))

FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))

# ---- version ------------------------------------------------------------------------------------------

VERSION := $(strip $(shell cat VERSION 2>/dev/null || git describe --tags --always --dirty 2>/dev/null || echo unknown))

# A stamp changes its time only when its text changes. Several makes may run at once, hence the process id.
define write_stamp
@mkdir -p $(@D)
@t=$@.$$$$; printf '%s\n' $(1) >$$t; if cmp -s $$t $@; then rm -f $$t; else mv $$t $@; fi
endef

# `make clean all` means one after the other.
ifneq (,$(filter clean,$(MAKECMDGOALS)))
.NOTPARALLEL:
endif

.PHONY: FORCE
FORCE:

build/version: FORCE
	$(call write_stamp,'$(VERSION)')

# ---- rules of one variant -----------------------------------------------------------------------------

# $(1) variant, $(2) library sources, $(3) folder of its test programs
define variant
OBJ_LIB_$(1) := $$(patsubst %.c,build/$(1)/%.o,$(2))
OBJ_CLI_$(1) := $$(patsubst %.c,build/$(1)/%.o,$$(CLI_SRC))
OBJ_UNIT_HELP_$(1) := $$(patsubst %.c,build/$(1)/%.o,$$(UNIT_HELP))
UNIT_$(1) := $$(patsubst tests/%.c,$(3)/%,$$(UNIT_SRC))
ALL_OBJ += $$(OBJ_LIB_$(1)) $$(OBJ_CLI_$(1)) $$(OBJ_UNIT_HELP_$(1))
ALL_OBJ += $$(patsubst %.c,build/$(1)/%.o,$$(UNIT_SRC) $$(FUZZ_SRC) tools/fuzz_main.c)

build/$(1)/flags: FORCE
	$$(call write_stamp,'$$(CC_$(1)) $$(BASE_FLAGS) $$(FLAGS_$(1)) $$(LINK_$(1)) $$(CFLAGS) $$(CPPFLAGS) $$(LDFLAGS)')

build/$(1)/lib/base/version.o: build/version
build/$(1)/lib/base/version.o: EXTRA_FLAGS := -DTN_VERSION='"$$(VERSION)"'
build/$(1)/tests/fuzz/%.o: EXTRA_FLAGS := -Wno-missing-prototypes

build/$(1)/%.o: %.c build/$(1)/flags
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC_$(1)) $$(BASE_FLAGS) $$(FLAGS_$(1)) $$(EXTRA_FLAGS) -MMD -MP $$(CPPFLAGS) $$(CFLAGS) -c -o $$@ $$<

# The list of members is a prerequisite, so a deleted source leaves the archive too.
build/$(1)/members: FORCE
	$$(call write_stamp,$$(OBJ_LIB_$(1)) $$(OBJ_CLI_$(1)))

build/$(1)/libturnout.a: $$(OBJ_LIB_$(1)) build/$(1)/members
	$$(call say,AR,$$@)
	$$(Q)t=$$@.$$$$$$$$; $$(AR) rcs $$$$t $$(OBJ_LIB_$(1)) && mv $$$$t $$@

build/$(1)/libunit.a: $$(OBJ_UNIT_HELP_$(1))
	$$(call say,AR,$$@)
	$$(Q)mkdir -p $$(@D) && t=$$@.$$$$$$$$ && $$(AR) rcs $$$$t $$(OBJ_UNIT_HELP_$(1)) && mv $$$$t $$@

build/$(1)/turnout: $$(OBJ_CLI_$(1)) build/$(1)/libturnout.a build/$(1)/members
	$$(call say,LINK,$$@)
	$$(Q)$$(CC_$(1)) $$(CFLAGS) $$(LINK_$(1)) $$(LDFLAGS) -o $$@ $$(OBJ_CLI_$(1)) build/$(1)/libturnout.a $$(LIBS)

$(3)/unit/%: build/$(1)/tests/unit/%.o build/$(1)/libunit.a build/$(1)/libturnout.a
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC_$(1)) $$(CFLAGS) $$(LINK_$(1)) $$(LDFLAGS) -o $$@ $$^ -lcmocka $$(LIBS)
endef

$(eval $(call variant,release,$(LIB_RELEASE),build/release/tests))
$(eval $(call variant,test,$(LIB_ALL),build/tests))
$(eval $(call variant,asan,$(LIB_ALL),build/asan/tests))
$(eval $(call variant,tsan,$(LIB_ALL),build/tsan/tests))
$(eval $(call variant,fuzz,$(LIB_ALL),build/fuzz/tests))

# ---- what is delivered --------------------------------------------------------------------------------

.PHONY: all
all: build/turnout build/libturnout.a build/libturnout.so ## the program and the libraries (default)

build/turnout: build/release/turnout
	$(Q)ln -f $< $@

build/libturnout.a: build/release/libturnout.a
	$(Q)ln -f $< $@

build/libturnout.so: $(OBJ_LIB_release) build/release/members tools/libturnout.map
	$(call say,LINK,$@)
	$(Q)$(CC_release) -shared -Wl,-soname,libturnout.so.$(SOVERSION) -Wl,--version-script=tools/libturnout.map \
	    $(CFLAGS) $(HARDEN_LINK) $(LDFLAGS) -o $@ $(OBJ_LIB_release) $(LIBS)
	$(Q)ln -sf libturnout.so build/libturnout.so.$(SOVERSION)

build/turnout-test: build/test/turnout
	$(Q)ln -f $< $@

# The pure core alone; lint looks at its symbols.
OBJ_CORE := $(patsubst %.c,build/release/%.o,$(CORE_SRC))
build/libcore.a: $(OBJ_CORE) build/release/members
	$(call say,AR,$@)
	$(Q)t=$@.$$$$; $(AR) rcs $$t $(OBJ_CORE) && mv $$t $@

# ---- test programs ------------------------------------------------------------------------------------

OBJ_SIM_HELP := $(patsubst %.c,build/sim/%.o,$(SIM_HELP))
SIM_BIN := $(patsubst tests/sim/%.c,build/tests/sim/%,$(SIM_SRC))
OBJ_SUPPORT_HELP := $(patsubst %.c,build/support/%.o,$(SUPPORT_HELP))
SUPPORT_BIN := $(patsubst tests/support/%.c,build/tests/%,$(SUPPORT_SRC))
ALL_OBJ += $(patsubst %.c,build/sim/%.o,$(SIM_ALL)) $(patsubst %.c,build/support/%.o,$(SUPPORT_ALL))

FLAGS_sim = -O2 -g -fPIC -DTN_FAKE
FLAGS_support = -O2 -g
build/sim/flags build/support/flags: build/%/flags: FORCE
	$(call write_stamp,'$(CC) $(BASE_FLAGS) $(FLAGS_$*) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS)')

build/sim/%.o: %.c build/sim/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_FLAGS) $(FLAGS_sim) -MMD -MP $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

build/support/%.o: %.c build/support/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_FLAGS) $(FLAGS_support) -MMD -MP $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# The core comes from the optimised archive, anything else from the test library.
$(SIM_BIN): build/tests/sim/%: build/sim/tests/sim/%.o $(OBJ_SIM_HELP) build/libcore.a build/test/libturnout.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(SUPPORT_BIN): build/tests/%: build/support/tests/support/%.o $(OBJ_SUPPORT_HELP)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -static $(LDFLAGS) -o $@ $^ -lpthread -lm

CORPUS_BIN := $(patsubst tests/fuzz/%.c,build/asan/tests/fuzz/%,$(FUZZ_SRC))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/tests/fuzz/bin/%,$(FUZZ_SRC))

$(CORPUS_BIN): build/asan/tests/fuzz/%: build/asan/tests/fuzz/%.o build/asan/tools/fuzz_main.o build/asan/libturnout.a
	$(call say,LINK,$@)
	$(Q)$(CC_asan) $(CFLAGS) $(LINK_asan) $(LDFLAGS) -o $@ $^ $(LIBS)

$(FUZZ_BIN): build/fuzz/tests/fuzz/bin/%: build/fuzz/tests/fuzz/%.o build/fuzz/libturnout.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC_fuzz) $(CFLAGS) -fsanitize=fuzzer $(LINK_fuzz) $(LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: support build-unit build-test build-asan build-tsan build-corpus build-fuzz build-sim
support: $(SUPPORT_BIN) ## the programs in tests/support
build-unit: $(if $(T),$(foreach t,$(UNIT_test),$(if $(findstring $(T),$(t)),$(t))),$(UNIT_test))
build-test: all support build/turnout-test $(UNIT_test) ## what the unit, cli and e2e tests run
build-sim: $(SIM_BIN)
build-asan: build/asan/turnout $(UNIT_asan)
build-corpus: $(CORPUS_BIN)
build-tsan: build/tsan/turnout $(UNIT_tsan)
build-fuzz: $(FUZZ_BIN)

# ---- checks -------------------------------------------------------------------------------------------

CHECK := CC='$(CC)' CLANG='$(CLANG)' PYTHON='$(PYTHON)' MAKE='$(MAKE)' tools/check.sh

.PHONY: check check-unit check-cli check-asan check-tsan check-valgrind e2e sim corpus crash soak
check: ## every test, in two lanes; installs what is missing
	+@tools/deps.sh check
	+@$(CHECK)
check-unit: ## unit tests (T=pattern selects)
	+@$(CHECK) unit
check-cli: ## transcripts of the command line, on the fake provider (T=pattern selects)
	+@$(CHECK) cli
check-asan: ## unit and cli tests under AddressSanitizer and UBSan
	+@$(CHECK) asan-build asan
check-tsan: ## unit and cli tests with threads under ThreadSanitizer
	+@$(CHECK) tsan-build tsan
check-valgrind: ## unit tests under valgrind
	+@$(CHECK) valgrind
corpus: ## every fuzz corpus once, under ASan and UBSan
	+@$(CHECK) corpus
sim: ## the core against random worlds
	+@$(CHECK) sim
e2e: ## tests on real engines (T=pattern selects)
	+@$(CHECK) e2e e2e-docker
crash: ## kill -9 at every effect (pytest marker crash)
	+@$(CHECK) crash
soak: ## long runs (pytest marker soak)
	+@$(CHECK) soak

.PHONY: fuzz bench
fuzz: build-fuzz ## every fuzz target for FUZZ_TIME seconds
	$(Q)FUZZ_TIME='$(FUZZ_TIME)' T='$(T)' tools/fuzz.sh

bench: build-test ## the figures of docs/benchmarks.md
	$(Q)$(PYTHON) tests/bench/run.py $(BENCH_ARGS)

.PHONY: lint format flags
flags:
	@printf '%s\n' '$(BASE_FLAGS)'
lint: ## format, static analysis, layers, purity, sizes
	+@CLANG='$(CLANG)' PYTHON='$(PYTHON)' MAKE='$(MAKE)' tools/lint.sh $(STEPS)
format: ## rewrite the sources in the project's format
	@tools/lint.sh --format

# ---- set-up -------------------------------------------------------------------------------------------

.PHONY: deps deps-build deps-quickstart quickstart quickstart-down
deps: ## install every package that building and testing needs
	@tools/deps.sh check
deps-build: ## install the packages that building needs
	@tools/deps.sh build
deps-quickstart: ## install the packages that building and the quickstart need
	@tools/deps.sh quickstart
# In two steps, because the compiler may only be there after the first.
quickstart: ## build, then watch version 2 replace version 1 under load
	+@tools/deps.sh quickstart
	+@$(MAKE) --no-print-directory all support
	@tools/quickstart.sh
quickstart-down: ## stop the quickstart and remove what it made
	@tools/quickstart.sh down

.PHONY: install uninstall dist clean help
install: all ## install under PREFIX (/usr/local), DESTDIR is honoured
	install -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(includedir)/turnout'
	install -m 755 build/turnout '$(DESTDIR)$(bindir)/turnout'
	install -m 644 build/libturnout.a '$(DESTDIR)$(libdir)/libturnout.a'
	install -m 755 build/libturnout.so '$(DESTDIR)$(libdir)/libturnout.so.$(SOVERSION)'
	ln -sf libturnout.so.$(SOVERSION) '$(DESTDIR)$(libdir)/libturnout.so'
	install -m 644 include/turnout/*.h '$(DESTDIR)$(includedir)/turnout/'
	printf '%s\n' 'Name: turnout' 'Description: rolls out new versions of running services' \
	    'Version: $(patsubst v%,%,$(VERSION))' 'Requires.private: yaml-0.1 jansson sqlite3 libcrypto' \
	    'Libs: -L$(libdir) -lturnout' 'Libs.private: -ldl -lpthread -lm' 'Cflags: -I$(includedir)' \
	    >'$(DESTDIR)$(libdir)/pkgconfig/turnout.pc'

uninstall: ## remove what install put there
	rm -f '$(DESTDIR)$(bindir)/turnout' '$(DESTDIR)$(libdir)/libturnout.a' '$(DESTDIR)$(libdir)/libturnout.so' \
	    '$(DESTDIR)$(libdir)/libturnout.so.$(SOVERSION)' '$(DESTDIR)$(libdir)/pkgconfig/turnout.pc'
	rm -rf '$(DESTDIR)$(includedir)/turnout'

dist: ## build/turnout-VERSION.tar.gz from the last commit
	@mkdir -p build/dist
	@printf '%s\n' '$(VERSION)' >build/dist/VERSION
	git archive --format=tar.gz --prefix='turnout-$(VERSION)/' --add-file=build/dist/VERSION \
	    -o 'build/turnout-$(VERSION).tar.gz' HEAD

clean: ## remove build/, stopping a quickstart that runs there
	@if [ -d build/quickstart ] && [ -x tools/quickstart.sh ]; then tools/quickstart.sh down; fi
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  %-16s %s\n", $$1, $$2}' Makefile
	@echo
	@echo '  V=1 shows the commands; CC, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX and DESTDIR are yours to set.'

-include $(wildcard $(sort $(ALL_OBJ:.o=.d)))
