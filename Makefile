# cdcdump - GNU make.
#
#   make                 builds ./cdcdump
#   make SANITIZE=1      builds build/sanitize/cdcdump with ASan and UBSan, beside the other one
#   make install         DESTDIR= PREFIX=/usr/local; make uninstall takes the same
#   make deb             build/deb/cdcdump_VERSION_ARCHITECTURE.deb
#   make demo            a tour on a private throwaway PostgreSQL
#   make check           every test; TESTS='tests/t/010_x.t …' for some of them
#   make torture         random faults for SECONDS=600, or as many as are given; SEED=N replays
#   make manual         the list of keys in man/cdcdump.1 anew, from cli/connector_keys.c
#   make lint bench clean
#
# demo, deb, check, torture, lint and bench first let tests/setup install what a bare machine lacks, and
# only then call make again for the work itself: nothing here may ask pkg-config or the compiler for
# anything while this file is read, because neither need exist yet.

PREFIX  ?= /usr/local
bindir  ?= $(PREFIX)/bin
datadir ?= $(PREFIX)/share
mandir  ?= $(datadir)/man
docdir  ?= $(datadir)/doc/cdcdump
INSTALL ?= install
CFLAGS  ?= -O2 -g
# What is compiled with it runs here, while cdcdump is built.  A compiler whose name has a prefix is taken
# for that of another machine.
CC_FOR_BUILD ?= $(if $(findstring -gcc,$(CC)),cc,$(CC))

PKG_CONFIG ?= pkg-config
PKGS       := libpq libcjson zlib libzstd snappy

DIRS    := base cli source binary decode snapshot encode deliver capture actions
SOURCES := cdcdump.c $(sort $(wildcard $(DIRS:%=%/*.c)))
HEADERS := $(wildcard *.h $(DIRS:%=%/*.h))
UNITS   := $(sort $(wildcard tests/unit/*_test.c))

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wcast-qual -Wvla

# Asked once, when the first compiler or linker command needs the answer.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(patsubst -I%,-isystem %,$$(shell $(PKG_CONFIG) --cflags $(PKGS))))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell $(PKG_CONFIG) --libs $(PKGS)))$(PKG_LIBS)

ifdef SANITIZE
BUILD   := build/sanitize
BINARY  := build/sanitize/cdcdump
TUNING  := -fsanitize=address,undefined -fno-omit-frame-pointer -g -O1
MODE_CFLAGS  = $(TUNING) -fPIE
MODE_LDFLAGS = -pie
else
BUILD   := build/release
BINARY  := cdcdump
# _FORTIFY_SOURCE without optimisation is a warning and nothing else.
FORTIFY  = $(if $(filter -O1 -O2 -O3 -Os -Og -Ofast,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
# Debugging information without this folder's name: the same bytes wherever it is built.
MODE_CFLAGS  = $(CFLAGS) $(FORTIFY) -ffile-prefix-map='$(CURDIR)'=. -fstack-protector-strong -fPIE
MODE_LDFLAGS = -pie -Wl,-z,relro,-z,now
endif

ifdef STRICT
BUILD    := build/strict
WARNINGS += -Werror
endif

COMPILE = $(CC) -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) $(PKG_CFLAGS) $(CPPFLAGS) $(MODE_CFLAGS) -MMD -MP
LINK    = $(CC) $(MODE_CFLAGS) $(MODE_LDFLAGS) $(LDFLAGS)

OBJECTS      := $(SOURCES:%.c=$(BUILD)/%.o)
UNIT_OBJECTS := $(UNITS:%.c=$(BUILD)/%.o)
UNIT_TESTS   := $(UNITS:%.c=$(BUILD)/%)
MOCK_BROKER  := $(BUILD)/tests/kafka/mock_broker
# Prints tables of the program, for those who are no C.  The same whatever the build.
DESCRIBE     := $(BUILD)/tools/describe
COMPLETIONS  := $(BUILD)/completion/cdcdump.bash $(BUILD)/completion/_cdcdump
# Loaded into whatever program is tested: never with the sanitizers.
FAULT_SHIM   := build/release/tests/faults/fault.so

.PHONY: all objects units libraries completions manual install uninstall clean check run-check lint run-lint \
        deb run-deb demo run-demo bench run-bench torture run-torture
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BINARY) completions

# Short lines by default; V=1 shows the commands.
ifdef V
say = @:
hide =
else
say = @echo
hide = @
endif

$(BINARY): $(OBJECTS)
	$(say) '  LD $@'
	$(hide)$(LINK) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

$(BUILD)/%.o: %.c | libraries
	@mkdir -p $(@D)
	$(say) '  CC $<'
	$(hide)$(COMPILE) -c -o $@ $<

$(BUILD)/tests/unit/%_test: $(BUILD)/tests/unit/%_test.o $(filter-out $(BUILD)/cdcdump.o,$(OBJECTS))
	$(say) '  LD $@'
	$(hide)$(LINK) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

# What cdcdump writes in Avro is read back by somebody else's library.
$(BUILD)/tests/unit/avro_%_test: LDLIBS += -lavro

# A Kafka broker for tests; no part of cdcdump.
$(MOCK_BROKER): LDLIBS += -lrdkafka
$(MOCK_BROKER): $(MOCK_BROKER).o
	$(say) '  LD $@'
	$(hide)$(LINK) -o $@ $^ $(LDLIBS)

$(FAULT_SHIM): $(wildcard tests/faults/*.[ch])
	@mkdir -p $(@D)
	$(say) '  LD $@'
	$(hide)$(CC) -std=c17 -D_GNU_SOURCE -I. -O2 -g $(WARNINGS) -fPIC -shared -o $@ $(filter %.c,$^)

DESCRIBE_SOURCES := tools/describe.c cli/option_table.c cli/connector_keys.c

$(DESCRIBE): $(DESCRIBE_SOURCES) $(HEADERS)
	@mkdir -p $(@D)
	$(say) '  LD $@'
	$(hide)$(CC_FOR_BUILD) -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) -o $@ $(DESCRIBE_SOURCES)

completions: $(COMPLETIONS)

# The options, in the place that contrib/completion has for them.
$(BUILD)/completion/%: contrib/completion/% $(DESCRIBE)
	@mkdir -p $(@D)
	$(hide)$(DESCRIBE) $(if $(filter %.bash,$@),bash,zsh) >$@.options
	$(hide)sed -e '/@OPTIONS@/{' -e 'r $@.options' -e d -e '}' $< >$@
	@rm $@.options

# The manual's list of the keys of properties files, from the table that they are read by.
manual: $(DESCRIBE)
	@$(DESCRIBE) keys >$(BUILD)/keys.mdoc
	@sed -i -e '/^\.\\" BEGIN KEYS/,/^\.\\" END KEYS/{//!d}' -e '/^\.\\" BEGIN KEYS/r $(BUILD)/keys.mdoc' man/cdcdump.1

objects: $(OBJECTS) $(UNIT_OBJECTS) $(MOCK_BROKER).o $(DESCRIBE)

units: $(UNIT_TESTS)

# Says what is missing before the compiler complains about a header nobody has heard of.
libraries:
	@missing=; \
	for tool in '$(firstword $(CC))' '$(PKG_CONFIG)'; do \
	    command -v "$$tool" >/dev/null 2>&1 || missing="$$missing $$tool"; \
	done; \
	if command -v '$(PKG_CONFIG)' >/dev/null 2>&1; then \
	    for pkg in $(PKGS); do $(PKG_CONFIG) --exists $$pkg || missing="$$missing $$pkg"; done; \
	else \
	    missing="$$missing $(PKGS)"; \
	fi; \
	[ -z "$$missing" ] || { \
	    echo "make: cdcdump cannot be built without:$$missing" >&2; \
	    echo "make: 'tests/setup build' installs them on Debian and Ubuntu, which call them" >&2; \
	    echo "make: gcc libc6-dev pkg-config libpq-dev libcjson-dev zlib1g-dev libzstd-dev libsnappy-dev" >&2; \
	    exit 1; }

-include $(OBJECTS:.o=.d) $(UNIT_OBJECTS:.o=.d) $(MOCK_BROKER).d

# Mode, source, and where it goes.
define FILES
755 $(BINARY) $(bindir)/cdcdump
644 man/cdcdump.1 $(mandir)/man1/cdcdump.1
644 $(BUILD)/completion/cdcdump.bash $(datadir)/bash-completion/completions/cdcdump
644 $(BUILD)/completion/_cdcdump $(datadir)/zsh/site-functions/_cdcdump
644 README.md $(docdir)/README.md
644 contrib/debian/copyright $(docdir)/copyright
644 contrib/cdcdump.conf $(docdir)/examples/cdcdump.conf
644 contrib/cdcdump.cron $(docdir)/examples/cdcdump.cron
755 contrib/cdcdump-cron $(docdir)/examples/cdcdump-cron
644 contrib/cdcdump.logrotate $(docdir)/examples/cdcdump.logrotate
644 contrib/cdcdump@.service $(docdir)/examples/cdcdump@.service
endef

# Folders that are there keep their modes, others do not depend on the umask.  The unit is told where
# the program is.
define install_files
@echo "$$INSTALLED" | while read -r mode from to; do \
    to='$(DESTDIR)'"$$to"; \
    [ -d "$${to%/*}" ] || $(INSTALL) -d -m 755 "$${to%/*}" || exit 1; \
    $(INSTALL) -m "$$mode" "$$from" "$$to" || exit 1; \
done
@sed -i 's,/usr/bin/cdcdump,$(bindir)/cdcdump,' '$(DESTDIR)$(docdir)/examples/cdcdump@.service'
endef

install uninstall run-deb: export INSTALLED = $(FILES)

install: all
	$(install_files)

# Of folders it removes those that are nobody else's.
uninstall:
	@echo "$$INSTALLED" | while read -r mode from to; do \
	    rm -f '$(DESTDIR)'"$$to" || exit 1; \
	done
	@for dir in '$(DESTDIR)$(docdir)/examples' '$(DESTDIR)$(docdir)'; do \
	    [ ! -d "$$dir" ] || rmdir --ignore-fail-on-non-empty "$$dir" || exit 1; \
	done

# The package is made of what make install puts into a folder; tools/deb has the rest.
DEB ?= build/deb

deb:
	@tests/setup build deb
	@$(MAKE) --no-print-directory run-deb

run-deb: override PREFIX := /usr
run-deb: override DESTDIR := $(abspath $(DEB))/root
run-deb: all
	$(if $(SANITIZE),$(error a package is not built with the sanitizers))
	@rm -rf '$(DESTDIR)'
	$(install_files)
	@tools/deb '$(DEB)'

clean:
	rm -rf build cdcdump

# ---- tests ----

# The one that takes its time by the clock goes first, so that the others fill it.
LONGEST     := tests/t/760_torture.t
TESTS       ?= $(LONGEST) $(UNITS:%.c=build/sanitize/%) \
               $(filter-out $(LONGEST),$(sort $(wildcard tests/t/*.t)))
PROVE_FLAGS ?= -j3

check:
	@tests/setup build server check deb
	@$(MAKE) --no-print-directory run-check

# Unit tests always run with the sanitizers; whole-program tests with the binary asked for.
run-check: all $(MOCK_BROKER) $(FAULT_SHIM)
	@$(MAKE) --no-print-directory SANITIZE=1 units
	@rm -rf build/cache && mkdir -p build/cache
	@CDCDUMP='$(abspath $(BINARY))' CDCTEST_MOCK_BROKER='$(abspath $(MOCK_BROKER))' \
	    CDCTEST_FAULT_SHIM='$(abspath $(FAULT_SHIM))' CDCTEST_CACHE='$(abspath build/cache)' \
	    prove -I tests/lib $(PROVE_FLAGS) $(TESTS)

# By hand, for as long as is wanted; `make check` has a short one (tests/t/760_torture.t).
SECONDS ?= 600

torture:
	@tests/setup build server check
	@$(MAKE) --no-print-directory run-torture

run-torture: all $(FAULT_SHIM)
	@CDCDUMP='$(abspath $(BINARY))' CDCTEST_FAULT_SHIM='$(abspath $(FAULT_SHIM))' \
	    tests/torture/torture --seconds='$(SECONDS)' $(if $(SEED),--seed='$(SEED)')

demo:
	@tests/setup build server demo
	@$(MAKE) --no-print-directory --silent all
	@$(MAKE) --no-print-directory run-demo

run-demo:
	@CDCDUMP='$(abspath $(BINARY))' tests/demo

bench:
	@tests/setup build server bench
	@$(MAKE) --no-print-directory run-bench

run-bench: all
	@CDCDUMP='$(abspath $(BINARY))' tests/bench

# ---- lint ----

BANNED  := strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|strtok
SHELLS  := tests/setup .ci/run tools/deb contrib/cdcdump-cron contrib/debian/tests/smoke
TORTURE := $(addprefix tests/torture/,torture command proxy reader)
PERLS   := tests/demo tests/bench tests/lint-functions $(TORTURE) \
           $(wildcard tests/torture/lib/*/*.pm tests/lib/*.pm tests/lib/*/*.pm tests/t/*.t)
CPPCHECK_FLAGS := --quiet --std=c11 --enable=warning,portability,performance --inline-suppr \
                  --error-exitcode=1 --library=tests/cppcheck.cfg \
                  -I. -D_GNU_SOURCE

lint:
	@tests/setup build lint
	@$(MAKE) --no-print-directory STRICT=1 objects
	@$(MAKE) --no-print-directory run-lint

run-lint:
	cppcheck $(CPPCHECK_FLAGS) $(SOURCES) $(UNITS) tools/describe.c tests/kafka/mock_broker.c $(wildcard tests/faults/*.c)
	mandoc -T lint -W warning man/cdcdump.1
	shellcheck $(SHELLS)
	shellcheck -s bash contrib/completion/cdcdump.bash
	bash -n contrib/completion/cdcdump.bash
	zsh -n contrib/completion/_cdcdump
	@echo 'perl -wc' $(PERLS)
	@for file in $(PERLS); do \
	    report=$$(perl -I tests/lib -I tests/torture/lib -wc $$file 2>&1); \
	    [ "$$report" = "$$file syntax OK" ] || { echo "$$report" >&2; exit 1; }; \
	done
	tests/lint-functions 100 $(SOURCES) $(HEADERS) tools/describe.c
	@! grep -nE '\<($(BANNED))[[:space:]]*\(' $(SOURCES) $(HEADERS) $(UNITS) tools/describe.c \
	    || { echo 'make: calls that hide errors or overflows, see above' >&2; exit 1; }
