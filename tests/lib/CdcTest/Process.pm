# CdcTest::Process - children of a test: started, watched, and gone when the test is gone.
#
#   my $p = CdcTest::Process->spawn(argv => ['cat', '-n'], stdin => $fh, stdout => '>/tmp/x');
#   $p->pid   $p->running   $p->kill('TERM')   $p->wait_exit(10)   $p->exit   $p->signal
#
#   my $r = CdcTest::Process->capture(argv => [...], input => $text);   # {exit signal out err}
#
# A child ends in one of three ways: the test waits for it; the object goes out of scope or the
# test ends, dies or is interrupted, and the child is killed; or the test itself is killed with
# SIGKILL, and the kernel sends the child its parent-death signal (where setpriv is installed).
package CdcTest::Process;
use v5.36;

use Fcntl qw(F_DUPFD);
use File::Temp ();
use POSIX qw(:sys_wait_h);
use Scalar::Util qw(weaken);
use Time::HiRes qw(sleep time);

# Everything a test may wait for is multiplied by this, for machines that are slow.
our $PATIENCE = $ENV{CDCTEST_PATIENCE} || 1;

my $owner = $$;    # forked children of a test must not clean up after it
my %live;          # pid -> weak reference
my @at_end;        # what others want done at the end, last come first served

sub patient ($seconds) { return $seconds * $PATIENCE }

sub at_end ($code) { unshift @at_end, $code }

sub find_program ($name) {
    my ($found) = grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH} // ''), '/usr/bin', '/bin', '/sbin';
    return $found;
}

# spawn(%how): argv => [...]; stdin stdout stderr => a file handle, 'closed', 'null', or a path
# behind '<', '>', '>>' or '<>' (which opens for writing without truncation), default: inherited;
# fds => {N => $fh} for more of them; env => {NAME => value, or undef to unset};
# user => [uid, gid, name] to become; cwd; death => signal (default KILL) if the test is killed.
sub spawn ($class, %how) {
    my @argv = @{ $how{argv} };
    state $setpriv = find_program('setpriv') // '';
    unshift @argv, $setpriv, '--pdeathsig', $how{death} // 'KILL', '--' if $setpriv;

    pipe my $trouble, my $report or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        eval { _become_child(\%how); exec { $argv[0] } @argv };
        syswrite $report, $@ || "$argv[0]: $!";
        POSIX::_exit(126);
    }
    close $report;
    my $message = do { local $/; <$trouble> } // '';
    my $self = bless { pid => $pid, argv => $how{argv}, started => time }, $class;
    if (length $message) {
        waitpid $pid, 0;
        die "could not start $how{argv}[0]: $message\n";
    }
    weaken($live{$pid} = $self);
    return $self;
}

sub _become_child ($how) {
    @SIG{qw(INT TERM HUP PIPE CHLD USR1 USR2)} = ('DEFAULT') x 7;
    my %want = (0 => [$how->{stdin}, '<'], 1 => [$how->{stdout}, '>'], 2 => [$how->{stderr}, '>']);
    $want{$_} = [$how->{fds}{$_}, '<'] for keys %{ $how->{fds} // {} };

    # First all out of the way, so that no descriptor is overwritten while it is still a source.
    my %moved;
    for my $fd (keys %want) {
        my ($what, $mode) = @{ $want{$fd} };
        next if !defined $what || !ref $what && $what eq 'closed';
        my $fh = ref $what ? $what : _open($what, $mode);
        $moved{$fd} = fcntl($fh, F_DUPFD, 100) or die "fcntl: $!";
    }
    for my $fd (keys %want) {
        if (defined $moved{$fd}) {
            POSIX::dup2($moved{$fd}, $fd) // die "dup2: $!";
            POSIX::close($moved{$fd});
        } elsif (defined $want{$fd}[0]) {
            POSIX::close($fd);
        }
    }
    if (my $user = $how->{user}) {
        my ($uid, $gid) = @$user;
        $) = "$gid $gid";
        $( = $gid;
        POSIX::setuid($uid) // die "setuid: $!";
    }
    chdir $how->{cwd} or die "chdir: $!" if defined $how->{cwd};
    while (my ($name, $value) = each %{ $how->{env} // {} }) {
        if (defined $value) { $ENV{$name} = $value }
        else                { delete $ENV{$name} }
    }
}

sub _open ($what, $mode) {
    my $path = $what eq 'null' ? '/dev/null' : $what;
    $mode = $1 if $path =~ s/\A(<>|>>|<|>)//;
    $mode = '+<' if $mode eq '<>';
    open my $fh, $mode, $path or die "$path: $!";
    return $fh;
}

sub pid ($self) { return $self->{pid} }

# Exit status, or undef while it runs or when a signal ended it; then that is in signal().
sub exit   ($self) { return $self->{exit} }
sub signal ($self) { return $self->{signal} }

sub running ($self) {
    return 0 if $self->{reaped};
    local ($?, $!);
    my $got = waitpid $self->{pid}, WNOHANG;
    return 1 if $got == 0;
    $self->{reaped} = 1;
    $self->{ended} = time;
    delete $live{ $self->{pid} };
    if ($got == $self->{pid}) {
        if   (WIFEXITED($?)) { $self->{exit}   = WEXITSTATUS($?) }
        else                 { $self->{signal} = WTERMSIG($?) }
    }
    return 0;
}

# Only ever a child that is still ours: a reaped pid may be someone else's by now.
sub kill ($self, $signal = 'TERM') {
    return $self->running ? CORE::kill($signal, $self->{pid}) : 0;
}

# True once the child has ended, false when it has not after that many seconds.
sub wait_exit ($self, $timeout = 60) {
    my $deadline = time + patient($timeout);
    while ($self->running) {
        return 0 if time > $deadline;
        sleep 0.003;
    }
    return 1;
}

sub kill_now ($self) {
    $self->kill('KILL');
    $self->wait_exit(10);
}

# Runs to the end with text in and text out, all through unnamed files, so nothing can block.
# Dies on a timeout.  Bytes in, bytes out.
sub capture ($class, %how) {
    my $timeout = delete $how{timeout} // 60;
    my $input = delete $how{input};
    my %file;
    for my $name (qw(stdin stdout stderr)) {
        next if defined $how{$name};
        open $file{$name}, '+>', undef or die "could not open a temporary file: $!";
    }
    if ($file{stdin}) {
        print { $file{stdin} } $input // '';
        $file{stdin}->flush;
        seek $file{stdin}, 0, 0;
    }
    my $self = $class->spawn(%how, %file);
    if (!$self->wait_exit($timeout)) {
        $self->kill_now;
        die "@{$how{argv}}[0 .. 0] did not end within " . patient($timeout) . " seconds\n";
    }
    my %text = map { $_ => $file{$_} ? _slurp_handle($file{$_}) : '' } qw(stdout stderr);
    return { exit => $self->exit // 128 + $self->signal, signal => $self->signal,
             out => $text{stdout}, err => $text{stderr} };
}

sub _slurp_handle ($fh) {
    seek $fh, 0, 0;
    local $/;
    return scalar(<$fh>) // '';
}

# Process ids of the children of a process, from /proc.
sub children_of ($pid) {
    my @children;
    for my $stat (glob '/proc/[0-9]*/stat') {
        open my $fh, '<', $stat or next;
        my ($child, $parent) = (<$fh> // '') =~ /\A([0-9]+) \(.*\) \S ([0-9]+) /s or next;
        push @children, $child if $parent == $pid;
    }
    return @children;
}

sub DESTROY ($self) {
    return if $self->{reaped} || $$ != $owner || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($?, $!, $@);
    $self->kill_now;
}

# So that END runs; a second one while it runs is without effect, or servers would stay.
for my $name (qw(INT TERM HUP)) {
    $SIG{$name} = sub {
        @SIG{qw(INT TERM HUP)} = ('IGNORE') x 3;
        CORE::exit(128 + { INT => 2, TERM => 15, HUP => 1 }->{$name});
    };
}

END {
    if ($$ == $owner) {
        my $status = $?;
        local $@;
        for my $code (@at_end) {
            eval { $code->(\$status); 1 } or print STDERR "# $@";
        }
        for my $process (values %live) {
            $process->kill_now if $process;
        }
        $? = $status;
    }
}

1;
