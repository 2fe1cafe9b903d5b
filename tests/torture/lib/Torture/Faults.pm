# Torture::Faults - what is done to lanes and to the server, and how it is known to have happened.
#
#   my @kinds = Torture::Faults::kinds_for($lane);          # names, in a fixed order; undef: of the server
#   my $fault = Torture::Faults::plan($random, $kind, $lane);
#   Torture::Faults::step($fault, $world) until $fault->{over};
#
# A fault waits until its lane is fit for it (begin), then until it has shown its effect (poll).  Over it is
# "fired", or "skipped" when its lane was never fit or something else, such as the server's end, got in first.
# One that has begun and does not show its effect is a failure.
package Torture::Faults;
use v5.36;

use Time::HiRes qw(time);

use CdcTest::Process;
use PgServer;

# A system call of the output or of the state file that fails, or in which the process is killed.
my @calls = (
    [write => 'out', error => 'ENOSPC'], [write => 'out', error => 'EIO'], [fdatasync => 'out', error => 'EIO'],
    [fdatasync => 'out', error => 'ENOSPC'], [write => 'state.json', error => 'ENOSPC'], [fsync => 'state.json', error => 'EIO'],
    [rename => 'state.json', error => 'EIO'], [open => 'state.json', error => 'ENOSPC'],
    [write => 'out', kill => 'torn'], [write => 'state.json', kill => 'torn'],
    map({ my $when = $_; map { [@$_, kill => $when] } [fdatasync => 'out'], [fsync => 'state.json'], [rename => 'state.json'] } qw(before after)),
);

# kind => {lane => which lanes, or server => 1; choose => what else the seed decides; begin, poll}
#   choose($random, $lane) gives a list of members; begin($f, $w) is true when it has begun;
#   poll($f, $w) is true when it is over, false, or the word "spoiled"
my %kinds = (
    'kill -9' => { weight => 3, lane => sub ($l) { 1 }, begin => sub ($f, $w) { $f->{lane}->running && _ends($f, signal => 9, 'KILL') }, poll => \&_has_ended },
    # again and again, soon after it has been started
    'killed early' => {
        weight => 1.5, lane => sub ($l) { 1 }, choose => sub ($r, $l) { (delays => [map { $r->(0.12) } 1 .. 2 + $r->(4)]) },
        begin => sub ($f, $w) { $f->{lane}->running && _ends($f, signal => 9, 'KILL') },
        poll => \&_poll_early,
    },
    # in one of the first calls that touch what it has left behind
    'killed in recovery' => {
        weight => 2, lane => sub ($l) { $l->{faults} },
        choose => sub ($r, $l) { (call => ['any', 'kill', $r->(2) < 1 ? 'before' : 'after'], nth => 1 + int $r->(40)) },
        begin => sub ($f, $w) { $f->{lane}->running && do { $f->{lane}->down(1); _ends($f, signal => 9, 'KILL') } },
        poll => \&_poll_recovery,
    },
    'SIGTERM' => { weight => 2, lane => sub ($l) { 1 }, begin => sub ($f, $w) { $f->{lane}->is_up && _ends($f, exit => 0, 'TERM') }, poll => \&_has_ended },
    'stopped' => {
        weight => 1.5, lane => sub ($l) { 1 }, choose => sub ($r, $l) { (for => 3.5 + $r->(2.5)) },
        begin => sub ($f, $w) { $f->{lane}->is_up && $f->{lane}->kill('STOP') && _since($f) },
        poll => sub ($f, $w) {
            return 0 unless ($f->{lane}->status('State') // '') eq 'T' && time > $f->{since} + $f->{for};
            return $f->{lane}->kill('CONT');
        },
    },
    'walsender ended' => {
        weight => 2, lane => sub ($l) { 1 },
        begin => sub ($f, $w) { $w->{server}->running && $f->{lane}->is_up && _terminate($f, $w) },
        poll => sub ($f, $w) { 1 },
    },
    'reader stopped' => {
        weight => 2, lane => sub ($l) { $l->is_pipe }, choose => sub ($r, $l) { (for => $r->(2)) },
        begin => sub ($f, $w) { $f->{lane}->is_up && _mark($f) && $f->{lane}{reader}->kill('STOP') && _since($f) },
        poll => \&_poll_stall,
    },
    'reader closed' => {
        weight => 2, lane => sub ($l) { $l->is_pipe },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up && $f->{lane}{reader}->running;
            _expect($f, @$_) for $f->{lane}->ends_when_closed;
            return $f->{lane}{reader}->kill('TERM');
        },
        poll => \&_has_ended,
    },
    'file rotated' => {
        weight => 2, lane => sub ($l) { $l->can('rotate') },
        begin => sub ($f, $w) { $f->{lane}->is_up && $f->{lane}->catches('HUP') && -s $f->{lane}{path} && $f->{lane}->rotate },
        poll => sub ($f, $w) { $f->{lane}->has_rotated },
    },
    'network cut' => { weight => 2, lane => sub ($l) { $l->{proxy} }, begin => sub ($f, $w) { _drop($f, 'cut') }, poll => sub ($f, $w) { 1 } },
    'network reset' => { weight => 2, lane => sub ($l) { $l->{proxy} }, begin => sub ($f, $w) { _drop($f, 'reset') }, poll => sub ($f, $w) { 1 } },
    'cut in a message' => {
        weight => 2, lane => sub ($l) { $l->{proxy} }, choose => sub ($r, $l) { (bytes => 1 + int $r->(5000)) },
        begin => sub ($f, $w) { $f->{lane}->is_up && $f->{lane}{proxy}->ask(after => $f->{bytes}) },
        poll => sub ($f, $w) { ($f->{lane}{proxy}->ask('cuts'))[0] > 0 },
    },
    'half-open' => {
        weight => 1.5, lane => sub ($l) { $l->{proxy} },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up && ($f->{lane}{proxy}->ask('stat'))[0] > 0;
            $f->{streams} = $f->{lane}->streams;
            return ($f->{lane}{proxy}->ask('silent'))[0] > 0 && _since($f);
        },
        # It has to find out by itself, as it hears nothing any more.
        poll => \&_poll_half_open,
    },
    'slow network' => {
        weight => 1.5, lane => sub ($l) { $l->{proxy} }, choose => sub ($r, $l) { (bytes => 50 + int $r->(600), for => 1 + $r->(3)) },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up;
            $f->{held} = ($f->{lane}{proxy}->ask('stat'))[2];
            $f->{lane}{proxy}->ask(slow => $f->{bytes});
            return _since($f);
        },
        poll => sub ($f, $w) {
            return 0 unless time > $f->{since} + $f->{for} && ($f->{lane}{proxy}->ask('stat'))[2] > $f->{held};
            $f->{lane}{proxy}->ask(slow => 0);
            return 1;
        },
    },
    'wrong reply' => {
        weight => 1.5, lane => sub ($l) { $l->replies }, choose => sub ($r, $l) { (call => $r->(2) < 1 ? ['USR1'] : ['USR2']) },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up && $f->{lane}{reader}->running;
            _expect($f, exit => 5);
            return $f->{lane}{reader}->kill($f->{call}[0]);
        },
        poll => \&_has_ended,
    },
    'late replies' => {
        weight => 2, lane => sub ($l) { $l->replies }, choose => sub ($r, $l) { (for => 1 + $r->(4)) },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up && $f->{lane}{reader}->running;
            _mark($f);
            return $f->{lane}{reader}->kill('HUP') && _since($f);
        },
        poll => \&_poll_late,
    },
    'command fails' => {
        weight => 4, lane => sub ($l) { $l->can('fail_next') },
        choose => sub ($r, $l) { my @how = qw(before behind unread killed); (call => [map { $how[$r->(scalar @how)] } 1 .. 1 + $r->(2)]) },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up;
            # one is tried again, of two in a row the run ends
            if (@{ $f->{call} } > 1) { _expect($f, exit => 5) }
            else                     { $f->{starts} = $f->{lane}{starts} }
            $f->{lane}->fail_next(@{ $f->{call} });
            return 1;
        },
        poll => \&_poll_command,
    },
    'failing call' => {
        weight => 4, lane => sub ($l) { $l->{faults} },
        choose => sub ($r, $l) {
            # what goes into a pipe does not fail so
            my @of = grep { !$l->is_pipe || $_->[1] ne 'out' } @calls;
            return (call => $of[$r->(scalar @of)], nth => 1 + int $r->(4));
        },
        begin => \&_begin_call, poll => \&_poll_call,
    },
    # errors of sockets: the connection is lost, not the run
    'failing socket' => {
        weight => 1.5, lane => sub ($l) { $l->{faults} },
        choose => sub ($r, $l) {
            my @of = ([recv => error => 'ECONNRESET'], [recv => error => 'ETIMEDOUT'], [send => error => 'EPIPE'], [send => error => 'ECONNRESET']);
            return (call => $of[$r->(scalar @of)], nth => 1 + int $r->(6));
        },
        begin => sub ($f, $w) { $f->{lane}->is_up && _arm($f, path => 'socket:', times => 1) },
        poll => \&_poll_rule,
    },
    # what every program has to live with: it must go on as if nothing had been
    'odd call' => {
        weight => 2, lane => sub ($l) { $l->{faults} },
        choose => sub ($r, $l) {
            my @of = ([write => short => 1], [write => short => 100], [write => error => 'EINTR'], [recv => short => 1], [recv => error => 'EINTR'],
                [poll => error => 'EINTR'], [fsync => delay => 0.3], [poll => delay => 0.1], [rename => delay => 0.3]);
            push @of, [fdatasync => delay => 0.3] unless $l->is_pipe;    # which nobody syncs
            return (call => $of[$r->(scalar @of)], nth => 1 + int $r->(5));
        },
        begin => sub ($f, $w) { $f->{lane}->is_up && _arm($f, times => 5) },
        poll => \&_poll_rule,
    },
    # for a while, and whatever is tried meanwhile
    'disk full' => {
        weight => 2, lane => sub ($l) { $l->{faults} && !$l->is_pipe },
        choose => sub ($r, $l) { (call => [write => error => $r->(2) < 1 ? 'ENOSPC' : 'EDQUOT'], for => $r->(2)) },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up;
            # until the end of the round: one that has met it may not have ended yet
            $f->{lane}->tolerate('exit 5');
            return _arm($f, path => "$f->{lane}{dir}/", times => 0) && _since($f);
        },
        poll => sub ($f, $w) {
            my $lane = $f->{lane};
            return 0 unless $lane->{faults}->fired($f->{rule}) > 0 && time > $f->{since} + $f->{for} && $lane->{starts} > $f->{starts};
            $lane->{faults}->disarm($f->{rule});
            return 1;
        },
    },
    'walsender stopped' => {
        weight => 1, lane => sub ($l) { 1 }, choose => sub ($r, $l) { (for => 1 + $r->(4)) },
        begin => sub ($f, $w) {
            return 0 unless $f->{lane}->is_up && $w->{server}->running;
            my $slot = eval { $w->{server}->slot($f->{lane}->slot) } or return 0;
            $f->{pid} = $slot->{active_pid} // (eval { $f->{lane}->backends })[0] // return 0;
            return kill('STOP', $f->{pid}) && ($w->{stopped}{ $f->{pid} } = 1) && _since($f);
        },
        poll => sub ($f, $w) {
            my $state = _state_of($f->{pid});
            $f->{seen} ||= $state eq 'T';
            # the server has been killed with all its processes, or is to stop
            return 'spoiled' if $state eq '' || !$w->{stopped}{ $f->{pid} };
            return 0 unless $f->{seen} && time > $f->{since} + $f->{for};
            delete $w->{stopped}{ $f->{pid} };
            return kill 'CONT', $f->{pid};
        },
    },
    'clock jump' => {
        weight => 1.5, lane => sub ($l) { $l->{faults} && $l->{tells_time} },
        choose => sub ($r, $l) { (jump => ($r->(2) < 1 ? -1 : 1) * (200 + int $r->(100_000)), for => 1 + $r->(2)) },
        begin => \&_begin_clock, poll => \&_poll_clock,
    },
    'server kill -9' => { weight => 1, server => 1, begin => \&_server_down, poll => \&_server_up, choose => \&_outage },
    'server immediate' => { weight => 1, server => 1, begin => \&_server_down, poll => \&_server_up, choose => \&_outage },
    'server fast' => { weight => 1, server => 1, begin => \&_server_down, poll => \&_server_up, choose => \&_outage },
    'server restart' => { weight => 1, server => 1, begin => \&_server_down, poll => \&_server_up, choose => sub ($r, $l) { (for => 0) } },
);

sub kinds_for ($lane) {
    return grep { my $k = $kinds{$_}; $lane ? $k->{lane} && $k->{lane}->($lane) : $k->{server} } sort keys %kinds;
}

sub weight ($kind) { return $kinds{$kind}{weight} }
sub all () { return sort keys %kinds }

sub plan ($random, $kind, $lane) {
    my $choose = $kinds{$kind}{choose};
    my $at = $random->(1.5);
    return { kind => $kind, lane => $lane, at => $at, $choose ? $choose->($random, $lane) : () };
}

sub text ($f) {
    my @words = map { my $v = $f->{$_}; "$_ " . (ref $v ? join(' ', map { /^[0-9.]+\z/ ? sprintf '%.2f', $_ : $_ } @$v) : $v =~ /\./ ? sprintf('%.2f', $v) : $v) }
        grep { defined $f->{$_} } qw(call nth bytes jump delays for);
    return join ', ', ($f->{lane} ? $f->{lane}->name . ": $f->{kind}" : $f->{kind}), @words;
}

# One step further; $f->{over} is set at its end.
sub step ($f, $w) {
    my $k = $kinds{ $f->{kind} };
    return if $f->{over};
    $f->{asked} //= time;
    if (!$f->{begun}) {
        if ($k->{begin}->($f, $w)) { $f->{begun} = time }
        # A lane that is not fit for it for so long has another fault's trouble, which the end of the round looks at.
        elsif (time > $f->{asked} + CdcTest::Process::patient(20)) { $f->{over} = 'skipped' }
        return;
    }
    my $done = $k->{poll}->($f, $w);
    if    (($done // '') eq 'spoiled') { $f->{over} = 'skipped' }
    elsif ($done)                      { $f->{over} = 'fired' }
    elsif (time > $f->{begun} + CdcTest::Process::patient(60)) {
        die text($f) . ': no effect within 60 seconds' . ($f->{lane} ? '; it says: ' . substr($f->{lane}->said, -2000) : '') . "\n";
    }
}

# The one that holds the slot, or one of those that read copies of it and look after it.
sub _terminate ($f, $w) {
    return 1 if eval { $w->{server}->terminate_slot_user($f->{lane}->slot) };
    my ($pid) = eval { $f->{lane}->backends } or return 0;
    return eval { $w->{server}->sql('postgres', "SELECT pg_terminate_backend($pid)") eq 't' };
}

sub _since ($f) { return $f->{since} = time }
sub _mark ($f) { $f->{starts} = $f->{lane}{starts}; $f->{mark} = length $f->{lane}->said; return 1 }

# ---- ends of cdcdump ----

sub _expect ($f, $how, $number) {
    push @{ $f->{ends} }, "$how $number";
    $f->{starts} = $f->{lane}{starts};
    $f->{lane}->expect($how => $number);
}

sub _ends ($f, $how, $number, $signal) {
    _expect($f, $how, $number);
    return $f->{lane}->kill($signal);
}

# The run that it was meant for has ended, and by it.
sub _has_ended ($f, $w) {
    my $lane = $f->{lane};
    return 0 if $lane->{process} && $lane->{starts} == $f->{starts};
    return grep({ $_ eq $lane->{last_end} } @{ $f->{ends} }) ? 1 : 'spoiled';
}

sub _poll_early ($f, $w) {
    my $lane = $f->{lane};
    my $over = _has_ended($f, $w);
    if ($f->{due}) {
        return 0 unless time >= $f->{due} && $lane->running;
        delete $f->{due};
        $f->{ends} = [];
        # it may end by itself in this moment
        _ends($f, signal => 9, 'KILL') or return 'spoiled';
        return 0;
    }
    return $over if !$over || $over eq 'spoiled' || !@{ $f->{delays} };
    $f->{due} = time + shift @{ $f->{delays} };
    return 0;
}

sub _poll_recovery ($f, $w) {
    my $lane = $f->{lane};
    my $over = _has_ended($f, $w) or return 0;
    if (!$f->{rule}) {
        $lane->down(0);
        return $over if $over eq 'spoiled';
        my ($call, $what, $value) = @{ $f->{call} };
        $f->{rule} = $lane->{faults}->arm(call => $call, path => "$lane->{dir}/", $what => $value, nth => $f->{nth}, times => 1);
        # by ourselves, so that this end is expected from the beginning
        $lane->start;
        $f->{ends} = [];
        _expect($f, signal => 9);
        return 0;
    }
    my $fired = $lane->{faults}->fired($f->{rule});
    $lane->{faults}->disarm($f->{rule});
    die text($f) . ": it was killed, but not so\n" if $over ne 'spoiled' && !$fired;
    return $over;
}

# ---- readers ----

sub _poll_stall ($f, $w) {
    my $lane = $f->{lane};
    if ($lane->{starts} != $f->{starts} || !$lane->{process}) {
        $lane->{reader}->kill('CONT') if $lane->{reader};
        return 'spoiled';
    }
    if (!$f->{stalled}) {
        # At the end of a bounded run nothing is to be given up any more, the connection is closed at once.
        return 0 unless substr($lane->said, $f->{mark}) =~ /the output has taken nothing for/
            || $lane->is_bounded && $w->{server}->running && eval { !$lane->holds_slot };
        $f->{stalled} = time;
        # Nobody holds up the server now.
        my $began = time;
        my ($status) = $w->{server}->running ? $w->{server}->try_sql('postgres', 'CHECKPOINT') : 0;
        die "$lane->{name}: a checkpoint took " . (time - $began) . " seconds while the reader stood still\n"
            if $status == 0 && time > $began + CdcTest::Process::patient(30);
    }
    return 0 unless time > $f->{stalled} + $f->{for};
    return $lane->{reader}->kill('CONT');
}

# As long as it does not reply nothing that it has got since is on record.
sub _poll_late ($f, $w) {
    my $lane = $f->{lane};
    return 'spoiled' if $lane->{starts} != $f->{starts} || !$lane->{process};
    my $replied = $lane->held_at // return 0;
    my $part = $lane->{parts}[-1];
    $f->{bytes} //= -s $part->{path};
    my $s = $lane->state_data;
    my $accepted = $s->{commit_lsn} ? PgServer::lsn_num($s->{commit_lsn}) : 0;
    die "$lane->{name}: $s->{commit_lsn} is on record, the reader's last reply was " . PgServer::lsn_text($replied) . "\n" if $accepted > $replied;
    return 0 unless time > $f->{since} + $f->{for} && -s $part->{path} > $f->{bytes} + 10_000;
    return $lane->{reader}->kill('HUP');
}

# ---- commands ----

sub _poll_command ($f, $w) {
    my $lane = $f->{lane};
    my $failed = $lane->failed;
    my $ended = $lane->{starts} != $f->{starts} || !$lane->{process};
    return $failed == @{ $f->{call} } unless @{ $f->{call} } > 1 || $ended;
    return 0 unless $ended;
    my $over = @{ $f->{call} } > 1 ? _has_ended($f, $w) : 'spoiled';
    $lane->fail_next() if $over eq 'spoiled';
    die text($f) . ": the run has ended, $failed commands failed\n" if $over ne 'spoiled' && $failed != @{ $f->{call} };
    return $over;
}

# ---- the network ----

sub _drop ($f, $command) {
    return 0 unless $f->{lane}->is_up;
    my ($n, $bytes) = $f->{lane}{proxy}->ask($command);
    return $n > 0 && $bytes > 0;
}

sub _poll_half_open ($f, $w) {
    my $lane = $f->{lane};
    return 0 unless $lane->{process} && $lane->streams > $f->{streams} || $lane->{starts} > ($f->{starts} //= $lane->{starts});
    # the ends that nobody uses any more
    $lane->{proxy}->ask('forget');
    return 1;
}

# ---- system calls and the clock ----

sub _begin_call ($f, $w) {
    my $lane = $f->{lane};
    return 0 unless $lane->is_up;
    my ($call, $path, $what, $value) = @{ $f->{call} };
    $lane->down(1);
    _expect($f, $what eq 'kill' ? (signal => 9) : (exit => 5));
    $f->{rule} = $lane->{faults}->arm(call => $call, path => "$lane->{dir}/$path", $what => $value, nth => $f->{nth}, times => 1);
    return 1;
}

sub _poll_call ($f, $w) {
    my $lane = $f->{lane};
    my $over = _has_ended($f, $w) or return 0;
    my $fired = $lane->{faults}->fired($f->{rule});
    die text($f) . ": it ended with @{ $f->{ends} }, but the call did not fail\n" if $over ne 'spoiled' && !$fired;
    $lane->{faults}->disarm($f->{rule});
    $lane->down(0);
    return $over;
}

sub _arm ($f, %more) {
    my ($call, $what, $value) = @{ $f->{call} };
    $f->{starts} = $f->{lane}{starts};
    $f->{rule} = $f->{lane}{faults}->arm(call => $call, $what => $value, nth => $f->{nth} // 1, %more);
    return 1;
}

# The run that it was meant for goes on.
sub _poll_rule ($f, $w) {
    my $lane = $f->{lane};
    my $fired = $lane->{faults}->fired($f->{rule});
    my $ended = $lane->{starts} != $f->{starts} || !$lane->{process};
    return 0 unless $fired || $ended;
    $lane->{faults}->disarm($f->{rule});
    return $fired ? 1 : 'spoiled';
}

sub _state_of ($pid) {
    open my $fh, '<', "/proc/$pid/stat" or return '';
    return (<$fh> // '') =~ /\) (\S) / ? $1 : '';
}

sub _begin_clock ($f, $w) {
    return 0 unless $f->{lane}->is_up;
    _mark($f);
    $f->{lane}{faults}->clock(realtime => $f->{jump});
    return _since($f);
}

# The records themselves tell that time has jumped for it.
sub _poll_clock ($f, $w) {
    my $lane = $f->{lane};
    if ($lane->{starts} != $f->{starts}) {
        $lane->{faults}->clock(realtime => 0);
        return 'spoiled';
    }
    if (!$f->{seen}) {
        my $written = $lane->last_written // return 0;
        return 0 unless abs($written - time - $f->{jump}) < abs($f->{jump}) / 2;
        $f->{seen} = time;
    }
    return 0 unless time > $f->{seen} + $f->{for};
    $lane->{faults}->clock(realtime => 0);
    return 1;
}

# ---- the server ----

sub _outage ($r, $l) { return (for => $r->(2)) }

# A fast stop must not be held up by whoever is connected.
sub _server_down ($f, $w) {
    my $pg = $w->{server};
    my $pid = $pg->pid;
    die "the server is not there\n" unless $pg->running;
    $f->{confirmed} = _confirmed($pg);
    # What we have stopped could not stop with it.
    kill 'CONT', keys %{ $w->{stopped} // {} } unless $f->{kind} eq 'server kill -9';
    $w->{stopped} = {};
    if    ($f->{kind} eq 'server kill -9')   { $pg->kill9 }
    elsif ($f->{kind} eq 'server immediate') { $pg->stop('immediate', 30) }
    else                                     { $pg->stop('fast', 30) }
    die "the server, process $pid, is still there\n" if $pg->running || -e "/proc/$pid";
    return _since($f);
}

sub _server_up ($f, $w) {
    return 0 unless time > $f->{since} + $f->{for};
    $w->{server}->start;
    # A crash may take slots back to what they were when they were last saved.
    my $now = _confirmed($w->{server});
    $w->{regressed} += grep { defined $now->{$_} && $now->{$_} < $f->{confirmed}{$_} } keys %{ $f->{confirmed} };
    return 1;
}

sub _confirmed ($pg) {
    return { map { ($_->[0], PgServer::lsn_num($_->[1])) } @{ $pg->query('postgres', 'SELECT slot_name, confirmed_flush_lsn FROM pg_replication_slots') } };
}

1;
