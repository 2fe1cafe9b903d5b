# Cdc - cdcdump as a test runs it.
#
#   my $r = Cdc->run(server => $pg, db => 'shop', args => ['-S', 's', '-m', 'never', '-E', 'now']);
#   $r->exited(0, 'streams to the end');          # a test; shows stderr when it fails
#   $r->out  $r->err  $r->exit  $r->signal  $r->seconds  $r->records
#
#   my $c = Cdc->start(server => $pg, db => 'shop', args => [...]);
#   $c->wait_stderr(qr/streaming/, 10);           # dies when that does not come
#   my @lines = $c->read_lines(3, 10);            # dies when there are not 3 lines in 10 s
#   $c->wait_written($pg->wal_lsn);               # the commits behind such lines, too
#   $c->wait_handler('INT');                      # until it can be stopped in good order
#   $c->kill('KILL');  $c->wait(10)->signaled('KILL', 'the kill hit');
#
# Options of both (run also: timeout => 60; on a timeout the program is killed with SIGKILL and
# the test fails):
#   args    => [...]
#   server, db, tcp => 1    put "-d CONNINFO" in front of args
#   stdout  => 'pipe' (default), '>PATH', '>>PATH', '<>PATH' (as it is, from the start), 'null',
#              'closed', a file handle
#   stdin   => 'null' (default), '<PATH', 'closed', a file handle
#   fds     => {3 => $fh}   more descriptors, for --ack-fd
#   env     => {NAME => value or undef}
#   cwd     => DIR
#   wrap    => ['strace', '-o', …]   a command in front of it
#
# The binary is $CDCDUMP, else cdcdump in the top folder.  A report of a sanitizer fails the
# test, wherever the program ended and whatever the test looked at.  CDCTEST_NO_LEAKS=1 turns
# leak detection off, which needs ptrace.
package Cdc;
use v5.36;

use Config;
use Cwd qw(abs_path getcwd);
use File::Basename qw(dirname);
use File::Temp ();
use Test::More ();
use Time::HiRes qw(sleep time);

use CdcTest::Process;
use CdcTest::Records;
use PgServer;

our $TOP = abs_path(dirname(__FILE__) . '/../..');
our $BINARY = $ENV{CDCDUMP} // "$TOP/cdcdump";
$BINARY = getcwd() . "/$BINARY" unless $BINARY =~ m{\A/};

my $leaks = $ENV{CDCTEST_NO_LEAKS} ? 0 : 1;
my %sanitizer_env = (
    ASAN_OPTIONS  => "detect_leaks=$leaks:exitcode=99:abort_on_error=0",
    LSAN_OPTIONS  => 'exitcode=99',
    UBSAN_OPTIONS => 'halt_on_error=1:print_stacktrace=1:exitcode=99',
);
my $reports = 0;

# A report that comes after the last test was counted still has to fail the file.
CdcTest::Process::at_end(sub ($status) { $$status ||= 99 if $reports });

sub run ($class, %how) {
    my $timeout = delete $how{timeout} // 60;
    return $class->start(%how)->wait($timeout);
}

sub start ($class, %how) {
    my @args = map { "$_" } @{ $how{args} // [] };
    if ($how{server}) {
        my $conninfo = $how{server}->connstr($how{db} // 'postgres', $how{tcp} ? (tcp => 1) : ());
        unshift @args, '-d', $conninfo;
    }
    my $self = bless {
        out => '', taken => 0, stdout => $how{stdout} // 'pipe', stderr => File::Temp->new,
    }, $class;
    my $write_end;
    if ($self->{stdout} eq 'pipe') {
        pipe $self->{pipe}, $write_end or die "pipe: $!";
    }
    $self->{process} = CdcTest::Process->spawn(
        argv   => [@{ $how{wrap} // [] }, $BINARY, @args],
        stdin  => $how{stdin} // 'null',
        stdout => $write_end // $self->{stdout},
        stderr => '>>' . $self->{stderr}->filename,
        env    => { %sanitizer_env, %{ $how{env} // {} } },
        fds    => $how{fds},
        cwd    => $how{cwd},
    );
    $self->{command} = join ' ', 'cdcdump', map { /[^\w.:\/=,-]/ ? "'$_'" : $_ } @args;
    return $self;
}

sub pid     ($self) { return $self->{process}->pid }
sub running ($self) { return $self->{process}->running }

# False when it had ended already: a test of a kill must see true here.
sub kill ($self, $signal = 'TERM') { return $self->{process}->kill($signal) }

sub stderr ($self) {
    open my $fh, '<', $self->{stderr}->filename or die "stderr: $!";
    local $/;
    return scalar(<$fh>) // '';
}

# Waits until stderr matches; returns the text, dies when it does not or the program ends before.
sub wait_stderr ($self, $regex, $timeout = 30) {
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (1) {
        my $over = !$self->running;
        my $text = $self->stderr;
        return $text if $text =~ $regex;
        $self->_give_up("ended before it said $regex") if $over;
        $self->_give_up("did not say $regex within $timeout s") if time > $deadline;
        sleep 0.01;
    }
}

# Waits until all transactions that end before that LSN are written, as SIGUSR1 tells: rows are printed
# as they come, and without the commit behind them they are not there for good.
sub wait_written ($self, $lsn, $timeout = 10) {
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (1) {
        $self->_give_up("ended before it had written up to $lsn") unless $self->kill('USR1');
        sleep 0.05;
        my @written = $self->stderr =~ m{written up to ([0-9A-F]+/[0-9A-F]+)}g;
        return if @written && PgServer::lsn_num($written[-1]) >= PgServer::lsn_num($lsn);
        $self->_give_up("did not write up to $lsn within $timeout s") if time > $deadline;
    }
}

# Waits until it has a handler for that signal, which just ends a program that is still being started;
# with $has => 0 until it has none any more: the first SIGINT or SIGTERM has been heeded.
sub wait_handler ($self, $signal, $has = 1, $timeout = 10) {
    my ($number) = grep { (split ' ', $Config{sig_name})[$_] eq $signal } 1 .. 31;
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (1) {
        $self->_give_up("ended before SIG$signal was " . ($has ? 'caught' : 'heeded')) unless $self->running;
        open my $fh, '<', '/proc/' . $self->pid . '/status' or die "/proc: $!";
        my ($caught) = join('', <$fh>) =~ /^SigCgt:\s*([0-9a-f]+)/m;
        return if !(hex(substr $caught, -8) >> ($number - 1) & 1) == !$has;
        $self->_give_up("SIG$signal was not " . ($has ? 'caught' : 'heeded') . " within $timeout s") if time > $deadline;
        sleep 0.01;
    }
}

sub _give_up ($self, $what) {
    my $err = $self->stderr;
    die "$self->{command}\n  $what; stderr:\n" . substr($err, -4000) . "\n";
}

# ---- its standard output, when that is a pipe; nothing is read unless asked for ----

# Takes up to $max bytes from the pipe; returns how many, 0 at its end, undef after $timeout.
sub read_some ($self, $max = 65536, $timeout = 10) {
    return 0 if $self->{eof} || !$self->{pipe};
    my $ready = '';
    vec($ready, fileno $self->{pipe}, 1) = 1;
    return undef unless select($ready, undef, undef, $timeout) > 0;
    my $n = sysread $self->{pipe}, $self->{out}, $max, length $self->{out};
    return undef unless defined $n;    # EINTR
    $self->{eof} = 1 if $n == 0;
    return $n;
}

# The next $n lines without their newline; fewer only at the end of the output.  Reads in big
# pieces: more may have left the pipe than was returned.
sub read_lines ($self, $n, $timeout = 30) {
    my @lines;
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (@lines < $n) {
        my $end = index $self->{out}, "\n", $self->{taken};
        if ($end >= 0) {
            push @lines, substr $self->{out}, $self->{taken}, $end - $self->{taken};
            $self->{taken} = $end + 1;
            next;
        }
        my $left = $deadline - time;
        $self->_give_up("gave " . @lines . " of $n lines within $timeout s") if $left <= 0;
        my $got = $self->read_some(65536, $left);
        last if defined $got && $got == 0;
    }
    return @lines;
}

# The lines up to and with the first that matches; dies when none does.
sub read_until ($self, $regex, $timeout = 30) {
    my @lines;
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (1) {
        my $left = $deadline - time;
        my ($line) = $self->read_lines(1, $left > 0 ? $left : 0);
        $self->_give_up("ended before a line matched $regex") unless defined $line;
        push @lines, $line;
        return @lines if $line =~ $regex;
    }
}

# What is there now, without waiting.
sub read_available ($self) {
    my $total = 0;
    while (my $n = $self->read_some(65536, 0)) { $total += $n }
    return $total;
}

# The reader goes away.
sub close_stdout ($self) {
    CORE::close delete $self->{pipe} if $self->{pipe};
}

# All bytes read so far, or the content of the file that stdout goes to.
sub out ($self) {
    my ($path) = $self->{stdout} =~ /\A(?:>>|<>|>)(.+)/s or return $self->{out};
    open my $fh, '<', $path or die "$path: $!";
    local $/;
    return scalar(<$fh>) // '';
}

# ---- its end ----

# Waits for the end and returns the result; kills it and fails the test after $timeout seconds.
# drain => 0 leaves the pipe alone, as a reader does that has stopped.
sub wait ($self, $timeout = 60, %opts) {
    my $drain = $opts{drain} // 1;
    my $process = $self->{process};
    my $deadline = time + CdcTest::Process::patient($timeout);
    while ($process->running) {
        if (time > $deadline) {
            my $err = $self->stderr;
            $process->kill_now;
            local $Test::Builder::Level = $Test::Builder::Level + 1;
            Test::More::fail("cdcdump ends within $timeout s");
            Test::More::diag("$self->{command}\nstderr:\n$err");
            $self->{timed_out} = 1;
            last;
        }
        if   ($drain && $self->{pipe} && !$self->{eof}) { $self->read_some(65536, 0.005) }
        else                                            { sleep 0.003 }
    }
    if ($drain && $self->{pipe}) {
        # A child of its own may still hold the pipe, so not until the end of time.
        1 while $self->read_some(65536, 2);
    }
    $self->_look_for_reports;
    return Cdc::Result->new($self);
}

# Signal and wait.
sub stop ($self, $signal = 'INT', $timeout = 30) {
    $self->kill($signal);
    return $self->wait($timeout);
}

sub _look_for_reports ($self) {
    return if $self->{looked}++;
    my $err = $self->stderr;
    return unless ($self->{process}->exit // 0) == 99
        || $err =~ /(?:Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|: runtime error: /;
    $reports++;
    Test::More::fail('no report of a sanitizer');
    Test::More::diag("$self->{command}\nstderr:\n$err");
}

# A program that nobody waited for may have something to report, too.
sub DESTROY ($self) {
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{process};
    local ($?, $!, $@);
    $self->{process}->kill_now if $self->running;
    return if $self->{looked};
    my $err = eval { $self->stderr } // '';
    return unless $err =~ /(?:Address|Leak|UndefinedBehavior)Sanitizer|: runtime error: /;
    $reports++;
    print STDERR map { "# $_\n" } 'report of a sanitizer:', split /\n/, $err;
}

# Cdc::Result - how a run ended.
#   exit      exit status, undef when a signal ended it        signal   its number, or undef
#   out, err  bytes                                            seconds  from start to end
#   timed_out true when the harness had to kill it
#   records(torn => 1)   out as decoded records: see CdcTest::Records
#   exited($status, $name), signaled($signal, $name)           tests
#   lines     lines of out
package Cdc::Result;
use v5.36;

use Config;

sub new ($class, $run) {
    my $p = $run->{process};
    return bless {
        exit => $p->exit, signal => $p->signal, err => $run->stderr, run => $run,
        seconds => $p->{ended} - $p->{started}, timed_out => $run->{timed_out},
    }, $class;
}

sub exit      ($self) { return $self->{exit} }
sub signal    ($self) { return $self->{signal} }
sub err       ($self) { return $self->{err} }
sub seconds   ($self) { return $self->{seconds} }
sub timed_out ($self) { return $self->{timed_out} }
sub out       ($self) { return $self->{out} //= $self->{run}->out }
sub lines     ($self) { return split /\n/, $self->out }

sub records ($self, %opts) { return CdcTest::Records::records($self->out, %opts) }

sub exited ($self, $status, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = Test::More::ok(defined $self->{exit} && $self->{exit} == $status, $name);
    Test::More::diag("expected exit status $status: " . $self->describe) unless $ok;
    return $ok;
}

sub signaled ($self, $signal, $name) {
    my @names = split ' ', $Config{sig_name};
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = Test::More::ok(defined $self->{signal} && $names[$self->{signal}] eq $signal, $name);
    Test::More::diag("expected signal $signal: " . $self->describe) unless $ok;
    return $ok;
}

sub describe ($self) {
    my $end = defined $self->{exit} ? "exit status $self->{exit}" : "signal $self->{signal}";
    return "$self->{run}{command}\nended with $end; stderr:\n" . substr $self->{err}, -4000;
}

1;
