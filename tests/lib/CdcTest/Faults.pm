# CdcTest::Faults - faults at single system calls of cdcdump, armed while it runs (tests/faults/fault.h).
#
#   my $f = CdcTest::Faults->new;                 # usable for one run after another, not for two at once
#   my $rule = $f->arm(call => 'fdatasync', path => 'out.ndjson', nth => 3, error => 'EIO');
#   my $r = Cdc->run(server => $pg, db => 'shop', args => [...], env => $f->env);
#   is($f->fired($rule), 1, 'it has happened');   # a fault that did not happen proves nothing
#
#   CdcTest::Faults::why_not()    why there can be no faults here, '' when there can
#   ->new(children => 1)          also in what cdcdump starts; else that is let alone
#   ->env                         for Cdc->run() and others; works with the sanitizers, too
#   ->arm(...)                    a rule, up to 32 of them; before the start or while it runs:
#       call    'write', ['write', 'pwrite'] or 'any'; the names are below
#       path    part of the path of the descriptor, or of the name that is given; 'pipe:' and
#               'socket:' are such; several: [...], up to 4
#       except  what must not be part of it
#       fd      only of that descriptor, which is not 0
#       nth     from that matching call on (1), counted from arm()
#       times   so often in all (1), 0 = for ever
#       every   of those each so manieth only (1)
#     and one of
#       error => 'ENOSPC'         the call is not made
#       error_after => 'EIO'      it is made, and said to have failed
#       short => 1                at most so many bytes are read, written, sent or received
#       kill => 'before'          SIGKILL: 'before' or 'after' it, or 'torn': after half of the bytes
#       signal => 'TERM'          comes before the call
#       delay => 0.5              seconds before the call
#       cut => 1                  the connection is shut down before the call, which fails by itself then
#       watch => 1                it is only counted
#     Of several rules that fire at a call the first has its way; delays and short calls go with others.
#   ->fired($rule)  ->seen($rule)     how often: the fault, calls that match
#   ->fired_at($rule)                 (call, path) of the last time
#   ->disarm($rule)  ->clear          clear: all rules, counts and the trace
#   ->count('write')                  calls of that name, whatever the path
#   ->pid  ->attached                 the program that came last, how many have come
#   ->clock(realtime => 3600, monotonic => 10)   seconds that clocks are ahead from now on
#   ->trace(1, data => 4096)          begin; with up to so many bytes of what is written or sent
#   ->calls                           since then, as {call nth pid fd path path2 result errno size
#                                     offset flags rule data at}
#   ->trace_lost                      calls that had no room in it
#
# What the C library's stdio, resolver and the like call among themselves is not seen.
#
# The shim is $CDCTEST_FAULT_SHIM; where that is not set it is compiled into a temporary folder.
package CdcTest::Faults;
use v5.36;

use Cwd qw(abs_path);
use Errno ();
use File::Basename qw(basename dirname);
use File::Temp ();
use POSIX ();

use Cdc;
use CdcTest::Process;

# As enum fault_call, enum fault_action.
my @calls = qw(open close read write pread pwrite writev send recv fsync fdatasync rename unlink ftruncate mkdir link
    lseek stat fstat access poll fcntl ioctl connect socket fork exec spawn waitpid pipe dup kill nanosleep
    sync_file_range fallocate);
my %call_number = map { $calls[$_] => $_ } 0 .. $#calls;
my %action = (watch => 0, error => 1, error_after => 2, short => 3, before => 4, after => 5, torn => 6, signal => 7, delay => 8, cut => 9);

# As struct fault_control, struct fault_rule, struct fault_entry.
my ($RULES, $RULE_SIZE, $RULES_AT, $TRACE_AT, $TRACE_SIZE) = (32, 1024, 1024, 36864, 64 * 1024 * 1024);
my %at = (pid => 8, attached => 16, children => 24, realtime => 32, monotonic => 40, trace => 48, trace_data => 56,
    trace_at => 64, trace_lost => 72, program => 80, counts => 144);
my %rule_at = (armed => 0, seen => 56, fired => 64, last_call => 72, last_path => 80 + 5 * 128, fd => 80 + 5 * 128 + 256);
my $ENTRY = 'L L Q Q q Q q L l l L L S S L L';
my $ENTRY_SIZE = 80;

# ---- the shim ----

my ($shim, $why_not, $folder);

sub _build ($source) {
    my $cc = CdcTest::Process::find_program('cc') or return 'there is no C compiler';
    $folder = File::Temp->newdir('cdctest-XXXXXX', TMPDIR => 1);
    my $r = CdcTest::Process->capture(argv => [$cc, qw(-std=c17 -D_GNU_SOURCE -O2 -shared -fPIC), "-I$Cdc::TOP",
        '-o', "$folder/fault.so", glob "$source/*.c"]);
    die "the shim does not compile:\n$r->{err}" if $r->{exit};
    $shim = "$folder/fault.so";
    return '';
}

sub _find_shim () {
    return '' if defined $shim;
    my $given = $ENV{CDCTEST_FAULT_SHIM} // return _build("$Cdc::TOP/tests/faults");
    die "there is no \"$given\", which CDCTEST_FAULT_SHIM names\n" unless -e $given;
    $shim = abs_path($given);
    return '';
}

# A program that is linked statically, or runs with other rights, has no part in it.
sub _try () {
    my $trial = __PACKAGE__->new;
    CdcTest::Process->capture(argv => [$Cdc::BINARY, '--version'], env => $trial->env);
    return $trial->attached ? '' : 'LD_PRELOAD has no effect on cdcdump';
}

sub why_not () { return $why_not //= _find_shim() || _try() }

# The sanitizer wants to come first.
sub _sanitizer () {
    state $library = do {
        my $ldd = CdcTest::Process::find_program('ldd');
        my $text = $ldd ? CdcTest::Process->capture(argv => [$ldd, $Cdc::BINARY])->{out} : '';
        $text =~ m{(/\S*libasan\S*)} ? $1 : '';
    };
    return $library;
}

# ---- the control file ----

sub new ($class, %opts) {
    my $why = _find_shim();
    die "$why\n" if $why;
    my $file = File::Temp->new(TEMPLATE => 'cdctest-faults-XXXXXX', TMPDIR => 1);
    truncate $file, $TRACE_AT + $TRACE_SIZE or die "truncate: $!";
    chmod 0600, $file->filename;
    my $self = bless { file => $file, children => $opts{children} ? 1 : 0 }, $class;
    $self->_put(0, 'CDFAULT1');
    $self->_put($at{program}, basename($Cdc::BINARY) . "\0");
    $self->_number($at{children}, $self->{children});
    return $self;
}

sub _put ($self, $where, $bytes) {
    sysseek $self->{file}, $where, 0 or die "seek: $!";
    (syswrite $self->{file}, $bytes) // -1 == length $bytes or die "write: $!";
}

sub _get ($self, $where, $n) {
    sysseek $self->{file}, $where, 0 or die "seek: $!";
    (sysread $self->{file}, my $bytes, $n) // die "read: $!";
    return $bytes;
}

# Gives a number, or sets it first.
sub _number ($self, $where, @value) {
    $self->_put($where, pack 'q', $value[0]) if @value;
    return unpack 'q', $self->_get($where, 8);
}

sub env ($self) {
    _find_shim();
    return {
        LD_PRELOAD            => join(' ', grep { length } _sanitizer(), $shim),
        CDCTEST_FAULT_CONTROL => $self->{file}->filename,
        CDCTEST_FAULT_SELF    => $shim,
        CDCTEST_FAULT_CHILD   => undef,
    };
}

sub pid        ($self) { return $self->_number($at{pid}) }
sub attached   ($self) { return $self->_number($at{attached}) }
sub trace_lost ($self) { return $self->_number($at{trace_lost}) }

sub count ($self, $call) {
    return $self->_number($at{counts} + 8 * ($call_number{$call} // die "unknown call \"$call\"\n"));
}

# ---- rules ----

sub _bits ($call) {
    return 2 ** @calls - 1 if $call eq 'any';
    my %names = map { $_ => 1 } ref $call ? @$call : $call;
    my $bits = 0;
    $bits |= 1 << ($call_number{$_} // die "unknown call \"$_\"\n") for keys %names;
    return $bits;
}

sub _errno ($error) {
    return $error if $error =~ /\A\d+\z/;
    return Errno->can($error) ? Errno->can($error)->() : die "unknown error \"$error\"\n";
}

sub _signal ($name) { return $name =~ /\A\d+\z/ ? $name : POSIX->can("SIG$name")->() }

my %argument = (
    error => \&_errno, error_after => \&_errno, short => sub ($n) { $n }, signal => \&_signal,
    delay => sub ($seconds) { int $seconds * 1e9 }, watch => sub ($) { 0 }, cut => sub ($) { 0 },
);

sub _action (%how) {
    my ($what, @more) = grep { exists $how{$_} } qw(error error_after short kill signal delay cut watch);
    die "a rule does one thing\n" if !defined $what || @more;
    return ($action{ $how{kill} } // die("kill what? $how{kill}\n"), 0) if $what eq 'kill';
    return ($action{$what}, $argument{$what}->($how{$what}));
}

sub _paths ($path) {
    my @paths = ref $path ? @$path : $path // ();
    die "more than 4 paths, or a long one\n" if @paths > 4 || grep { length > 127 } @paths;
    return pack 'a128' x 4, map { $paths[$_] // '' } 0 .. 3;
}

sub arm ($self, %how) {
    my @known = qw(call path except fd nth times every error error_after short kill signal delay cut watch);
    for my $name (keys %how) { die "unknown \"$name\"\n" unless grep { $_ eq $name } @known }
    my ($rule) = grep { !$self->{armed}[$_] } 0 .. $RULES - 1;
    die "too many rules\n" unless defined $rule;
    my ($action, $argument) = _action(%how);
    my $where = $RULES_AT + $RULE_SIZE * $rule;
    $self->_put($where, "\0" x $RULE_SIZE);
    $self->_put($where + 8, pack 'Q Q q Q Q Q', _bits($how{call} // die "which call?\n"), $action, $argument,
        $how{nth} // 1, $how{times} // 1, $how{every} // 1);
    $self->_put($where + 80, _paths($how{path}) . pack 'a128', $how{except} // '');
    $self->_number($where + $rule_at{fd}, $how{fd} // 0);
    $self->_number($where, 1);
    $self->{armed}[$rule] = 1;
    return $rule;
}

sub _of_rule ($self, $rule, $what) { return $self->_number($RULES_AT + $RULE_SIZE * $rule + $rule_at{$what}) }

sub seen  ($self, $rule) { return $self->_of_rule($rule, 'seen') }
sub fired ($self, $rule) { return $self->_of_rule($rule, 'fired') }

sub fired_at ($self, $rule) {
    my $path = unpack 'Z*', $self->_get($RULES_AT + $RULE_SIZE * $rule + $rule_at{last_path}, 256);
    return ($calls[$self->_of_rule($rule, 'last_call')], $path);
}

# Its counts stay until the next arm().
sub disarm ($self, $rule) {
    $self->_number($RULES_AT + $RULE_SIZE * $rule, 0);
    $self->{armed}[$rule] = 0;
}

# Not while a run is under way.
sub clear ($self) {
    $self->_put($RULES_AT, "\0" x ($RULES * $RULE_SIZE));
    $self->{armed} = [];
    $self->_put($at{counts}, "\0" x 512);
    $self->_put($at{pid}, "\0" x 16);
    $self->trace(0);
    $self->_forget_trace;
}

sub clock ($self, %seconds) {
    for my $name (keys %seconds) {
        die "unknown clock \"$name\"\n" unless $name =~ /\A(realtime|monotonic)\z/;
        $self->_number($at{$name}, int($seconds{$name} * 1e9));
    }
}

# ---- the trace ----

# A hole again, all zeros.
sub _forget_trace ($self) {
    truncate $self->{file}, $TRACE_AT or die "truncate: $!";
    truncate $self->{file}, $TRACE_AT + $TRACE_SIZE or die "truncate: $!";
    $self->_number($at{trace_at}, 0);
    $self->_number($at{trace_lost}, 0);
}

sub trace ($self, $on, %opts) {
    $self->_forget_trace if $on && !$self->_number($at{trace});
    $self->_number($at{trace_data}, $opts{data} // 0) if $on;
    $self->_number($at{trace}, $on ? 1 : 0);
}

sub calls ($self) {
    my $end = $self->_number($at{trace_at});
    $end = $TRACE_SIZE if $end > $TRACE_SIZE;
    my $bytes = '';
    while (length $bytes < $end) {
        my $piece = $self->_get($TRACE_AT + length $bytes, $end - length $bytes);
        last if $piece eq '';
        $bytes .= $piece;
    }
    my @trace;
    for (my $from = 0; $from + $ENTRY_SIZE <= length $bytes;) {
        my ($entry, $length) = _entry($bytes, $from);
        last unless $length;    # a kill came between its room and its being there
        push @trace, $entry;
        $from += $length;
    }
    return @trace;
}

sub _entry ($bytes, $from) {
    my %e;
    (my $length, my $call, @e{qw(nth at result size offset pid fd errno flags rule)}, my $path, my $path2, my $data)
        = unpack $ENTRY, substr $bytes, $from, $ENTRY_SIZE;
    $e{call} = $calls[$call];
    @e{qw(path path2 data)} = unpack "a$path a$path2 a$data", substr $bytes, $from + $ENTRY_SIZE, $path + $path2 + $data;
    return (\%e, $length);
}

1;
