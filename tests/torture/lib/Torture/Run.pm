# Torture::Run - rounds of faults and of looking at what came of them; see tests/torture/torture.
package Torture::Run;
use v5.36;

use Cwd ();
use File::Copy ();
use File::Path ();
use File::Temp ();
use Getopt::Long ();
use JSON::PP ();
use List::Util qw(max sum0);
use Time::HiRes qw(sleep time);

use Cdc;
use CdcTest::Process;
use PgServer;
use Torture::Faults;
use Torture::Lane;
use Torture::Proxy;
use Torture::Workload;

BEGIN {
    delete @ENV{grep { /\APG/ } keys %ENV};
    delete $ENV{LANGUAGE};
    $ENV{LC_ALL} = 'C';
}

sub new ($class, @argv) {
    my %o = (seconds => 100, seed => (time * 1000) % 1_000_000);
    local @ARGV = @argv;
    Getopt::Long::GetOptions(\%o, qw(seconds=f seed=i report=s only=s without=s verbose|v), 'lanes=s' => \$o{wanted}, 'transports=s' => \$o{transports}) && !@ARGV
        or die "usage: torture --seconds=N [--seed=N] [--report=FILE] [--only=KINDS] [--without=KINDS] [--lanes=NAMES] [--transports=NAMES] [-v]\n";
    my $self = bless { %o, round => 0, fired => {}, skipped => {}, recent => [], lanes => [], checks => 0, regressed => 0 }, $class;
    my %known = map { $_ => 1 } Torture::Faults::all();
    for my $list (grep { defined } @o{qw(only without)}) {
        for (split /,/, $list) { die "unknown kind of fault \"$_\"; there are: " . join(', ', sort keys %known) . "\n" unless $known{$_} }
    }
    return $self;
}

# The same numbers everywhere, and nobody else takes any of them.
sub random ($self, $below) {
    use integer;
    $self->{number} //= $self->{seed} * 7919 + 12345;
    $self->{number} = ($self->{number} * 1103515245 + 12345) & 0x7fffffff;
    no integer;
    return $below * ($self->{number} >> 8) / (1 << 23);
}

sub say_if_asked ($self, $text) { printf "# %6.1f s  %s\n", time - $self->{began}, $text if $self->{verbose} }

sub main ($self) {
    $self->{began} = time;
    STDOUT->autoflush(1);
    # the shim sees paths without symbolic links
    $self->{dir} = Cwd::abs_path(File::Temp::tempdir('cdctorture-XXXXXX', TMPDIR => 1));
    say "seed $self->{seed}";
    my $ok = eval { $self->run; 1 };
    my $failure = $@;
    $self->tell_failure($failure) unless $ok;
    $self->tell_figures($ok ? undef : $failure);
    $self->{lanes} = [];
    if ($ok) { File::Path::remove_tree($self->{dir}) }
    return $ok ? 0 : 1;
}

sub run ($self) {
    $self->set_up;
    while (time < $self->{began} + $self->{seconds}) {
        $self->one_round;
    }
    $self->say_if_asked('the end');
    $self->check(@{ $self->{lanes} });
    $self->end_lanes;
    for my $lane (@{ $self->{lanes} }) {
        $lane->check_memory;
        die $lane->name . ": nothing was read through SQL\n" if ($lane->{transport} // '') eq 'sql' && !$lane->{pieces};
    }
}

# ---- what there is ----

sub set_up ($self) {
    my $pg = $self->{server} = PgServer->new(
        initdb => ['--wal-segsize=1'],
        extra_conf => { wal_sender_timeout => '3s', checkpoint_timeout => '30s', max_wal_size => '32MB', min_wal_size => '4MB',
            log_min_messages => 'warning', logical_decoding_work_mem => '64kB', max_replication_slots => 50, max_wal_senders => 20 });
    my $messages = $pg->version >= 14;
    $self->{work} = Torture::Workload->new(server => $pg, db => 'shop', seed => $self->{seed}, messages => $messages);
    $pg->sql('shop', 'CREATE PUBLICATION torture FOR TABLE ' . join(', ', sort keys %Torture::Workload::KEY));
    $self->make_lanes($messages);
    $_->tick for @{ $self->{lanes} };
    $self->pump_until(sub { !grep { !$_->is_up } @{ $self->{lanes} } }, 60, 'all lanes to stream');
    $self->{work}->go;
    $self->say_if_asked('all lanes stream');
}

sub proxy ($self) { return Torture::Proxy->new($self->{server}->port) }

# A shim, where one can be had.
sub shim ($self) {
    state $can = eval { require CdcTest::Faults; CdcTest::Faults::why_not() eq '' };
    return $can ? CdcTest::Faults->new : undef;
}

# Whether this cdcdump has that option, or that word in its help.
sub can_do ($self, $word) {
    state $help = CdcTest::Process->capture(argv => [$Cdc::BINARY, '--help'])->{out};
    return $help =~ /\Q$word\E\b/;
}

sub make_lanes ($self, $messages) {
    my %wanted = map { $_ => 1 } split /,/, $self->{wanted} // '';
    my @all = (
        [File => 'file', args => [], messages => $messages, tells_time => 1, faults => $self->shim],
        [Files => 'files', args => [qw(-e plain --rotate 100kB)], pattern => '{table}-{lsn}.ndjson', proxy => $self->proxy, faults => $self->shim],
        [Append => 'append', args => [qw(-F csv -e debezium)], proxy => $self->proxy, faults => $self->shim],
        [Pipe => 'pipe', args => [qw(-e plain)]],
        [Pipe => 'piped', args => [], messages => $messages, tells_time => 1, proxy => $self->proxy, faults => $self->shim],
    );
    push @all, [Reply => 'reply', args => [qw(-e plain)]] if $self->can_do('--ack-fd');
    push @all, [Exec => 'exec', args => [qw(-e plain)], proxy => $self->proxy] if $self->can_do('--exec');
    push @all, [Deferred => 'deferred', args => [qw(-e plain)]] if $self->can_do('deferred');
    for (@all) {
        my ($kind, $name, %opts) = @$_;
        next if %wanted && !$wanted{$name};
        $opts{transport} = $self->choose_transport if $self->can_do('--transport');
        push @{ $self->{lanes} }, "Torture::Lane::$kind"->new(name => $name, server => $self->{server}, db => 'shop', dir => $self->{dir}, %opts);
    }
}

# Each lane has one for the whole run.
sub choose_transport ($self) {
    my @names = split /,/, $self->{transports} // 'stream,sql,auto';
    return $names[$self->random(scalar @names)];
}

# ---- time goes by ----

sub pump ($self) {
    $_->tick for @{ $self->{lanes} };
    $self->{work}->tick;
    sleep 0.01;
}

sub pump_until ($self, $check, $timeout, $what) {
    my $deadline = time + CdcTest::Process::patient($timeout);
    until ($check->()) {
        $self->pump;
        die "waited $timeout seconds in vain for $what\n" if time > $deadline;
    }
}

# ---- a round ----

sub allowed ($self, $kind) {
    return 0 if defined $self->{only} && !grep { $_ eq $kind } split /,/, $self->{only};
    return !(defined $self->{without} && grep { $_ eq $kind } split /,/, $self->{without});
}

sub choose ($self, @kinds) {
    my $total = sum0(map { Torture::Faults::weight($_) } @kinds) or return undef;
    my $at = $self->random($total);
    for (@kinds) { return $_ if ($at -= Torture::Faults::weight($_)) < 0 }
    return $kinds[-1];
}

# Not more than one fault of each lane and one of the server.
sub plan ($self) {
    my @free = @{ $self->{lanes} };
    my @faults;
    my $random = sub ($below) { $self->random($below) };
    my $n = 1 + int $self->random(3);
    if ($self->random(1) < 0.22) {
        my $kind = $self->choose(grep { $self->allowed($_) } Torture::Faults::kinds_for(undef));
        push @faults, Torture::Faults::plan($random, $kind, undef) if defined $kind;
    }
    while (@faults < $n && @free) {
        my $lane = splice @free, int($self->random(scalar @free)), 1;
        my $kind = $self->choose(grep { $self->allowed($_) } Torture::Faults::kinds_for($lane)) // next;
        push @faults, Torture::Faults::plan($random, $kind, $lane);
    }
    return @faults;
}

sub one_round ($self) {
    $self->{round}++;
    my @faults = $self->plan;
    push @{ $self->{recent} }, "round $self->{round}: " . join '; ', map { Torture::Faults::text($_) } @faults;
    shift @{ $self->{recent} } if @{ $self->{recent} } > 10;
    $self->say_if_asked($self->{recent}[-1]);
    my $server_too = grep { !$_->{lane} } @faults;
    my @hit = $server_too ? @{ $self->{lanes} } : map { $_->{lane} } @faults;
    $_->{excused} = 1 for @hit;

    my $began = time;
    my $world = { server => $self->{server}, regressed => 0 };
    while (grep({ !$_->{over} } @faults) || time < $began + 0.5) {
        for my $f (grep { !$_->{over} && time >= $began + $_->{at} } @faults) { Torture::Faults::step($f, $world) }
        $self->pump;
    }
    $self->{regressed} += $world->{regressed};
    for my $f (@faults) { ($f->{over} eq 'fired' ? $self->{fired} : $self->{skipped})->{ $f->{kind} }++ }
    $self->check($self->{round} % 4 ? @hit : @{ $self->{lanes} });
    $_->round_is_over for @hit;
}

# The writers pause, those lanes catch up, and what they have given is judged.
sub check ($self, @lanes) {
    my $work = $self->{work};
    my ($began, $last) = (time, '');
    $work->hold(sub { $self->pump }, 60);
    my $held = time - $began;
    my $before = PgServer::lsn_num($self->{server}->sql('shop', 'SELECT pg_current_wal_insert_lsn()'));
    my $mark = $work->mark;
    my $rows = $work->rows;
    $self->check_slots;
    my $deadline = time + CdcTest::Process::patient(90);
    my @waiting = @lanes;
    while (@waiting) {
        $self->pump;
        for my $lane (@waiting) {
            $lane->judge_output if $lane->caught_up($before);
        }
        $last = $waiting[-1]->name;
        @waiting = grep { $_->judge->marked < $mark } @waiting;
        $self->tell_late(@waiting) if @waiting && time > $deadline;
    }
    my $caught_up = time - $began - $held;
    for my $lane (@lanes) {
        $lane->judge->compare($rows);
        $lane->tidy;
    }
    $self->{checks} += @lanes;
    $self->check_told($before) if @lanes == @{ $self->{lanes} };
    $self->say_if_asked(sprintf '  check: writers held after %.1f s, caught up after %.1f s (%s was last), compared after %.1f s',
        $held, $caught_up, $last, time - $began - $held - $caught_up) if time > $began + 5;
    $work->go;
}

# The server is never told of what is not on record.
sub check_slots ($self) {
    my %confirmed = map { @$_ } @{ $self->{server}->query('postgres', 'SELECT slot_name, confirmed_flush_lsn FROM pg_replication_slots') };
    for my $lane (@{ $self->{lanes} }) {
        my $lsn = $confirmed{ $lane->slot } // die $lane->name . ": its slot has gone\n";
        # read behind it, so it can only be higher
        my $recorded = $lane->recorded;
        die $lane->name . ": the slot is at $lsn, the state file only at " . PgServer::lsn_text($recorded) . "\n" if PgServer::lsn_num($lsn) > $recorded;
    }
}

# What is on record reaches the server, or it would keep its WAL for ever.
sub check_told ($self, $lsn) {
    $self->pump_until(sub {
        my ($least) = map { $_->[0] } @{ $self->{server}->query('postgres', 'SELECT min(confirmed_flush_lsn) FROM pg_replication_slots WHERE NOT temporary') };
        return PgServer::lsn_num($least) >= $lsn;
    }, 60, 'slots to reach ' . PgServer::lsn_text($lsn));
}

sub tell_late ($self, @lanes) {
    die join '', map { my $slot = eval { $self->{server}->slot($_->slot) } // {};
        sprintf "%s has not caught up within 90 seconds: it is at %s, its slot at %s, the server at %s; %s; it said:\n%s\n", $_->name,
            PgServer::lsn_text($_->recorded), $slot->{confirmed_flush_lsn} // 'none', eval { $self->{server}->wal_lsn } // 'none',
            $_->running ? 'it runs' : 'it does not run', substr $_->said, -1500 } @lanes;
}

# In good order.
sub end_lanes ($self) {
    for my $lane (@{ $self->{lanes} }) {
        $lane->down(1);
        $lane->expect(exit => 0);
        $lane->kill('TERM');
    }
    $self->{work}->hold(sub { $self->pump }, 60);
    $self->pump_until(sub { !grep { $_->{process} } @{ $self->{lanes} } }, 60, 'the ends of all lanes');
}

# ---- what is told ----

sub tell_failure ($self, $failure) {
    substr($failure, 1500, -3000) = "\n...\n" if length $failure > 5000;    # the server's log, for one
    say "FAILED in round $self->{round}, seed $self->{seed}: $failure";
    say "the last faults:";
    say "  $_" for @{ $self->{recent} };
    eval { File::Copy::copy($self->{server}{log}, "$self->{dir}/server.log") } if $self->{server};
    say "kept: $self->{dir}";
}

sub figures ($self, $failure) {
    my @lanes = @{ $self->{lanes} };
    return {
        seed => $self->{seed}, seconds => sprintf('%.0f', time - $self->{began}) + 0, rounds => $self->{round}, checks => $self->{checks},
        failure => $failure, fired => $self->{fired}, skipped => $self->{skipped}, faults => sum0(values %{ $self->{fired} }), regressed => $self->{regressed}, own_rss => _own_memory(),
        lanes => { map { my $j = $_->judge; $_->name => {
            repeats => $_->repeats, transactions => $j->{transactions}, events => $j->{events}, messages => $j->{said},
            repeated => $j->{repeated}, repeated_transactions => $j->{repeated_transactions}, starts => $_->{starts}, ends => $_->{ends},
            transport => $_->{transport}, pieces => $_->{pieces}, rss => $_->{rss}, torn => $_->{torn} // 0 } } @lanes },
    };
}

sub _own_memory () {
    open my $fh, '<', '/proc/self/status' or return 0;
    return join('', <$fh>) =~ /^VmRSS:\s*(\d+)/m ? $1 : 0;
}

sub tell_figures ($self, $failure) {
    my $f = $self->figures($failure);
    if (defined $self->{report}) {
        open my $fh, '>', $self->{report} or die "could not open \"$self->{report}\": $!\n";
        print $fh JSON::PP->new->canonical->pretty->encode($f);
        close $fh or die "could not write \"$self->{report}\": $!\n";
    }
    printf "%-18s %6s %8s\n", 'fault', 'fired', 'skipped';
    printf "%-18s %6d %8d\n", $_, $f->{fired}{$_} // 0, $f->{skipped}{$_} // 0
        for sort keys %{ { %{ $f->{fired} }, %{ $f->{skipped} } } };
    printf "%-18s %6d %8d in %d rounds, %d seconds\n\n", 'all', $f->{faults}, sum0(values %{ $f->{skipped} }), $f->{rounds}, $f->{seconds};
    printf "%-8s %-6s %6s %6s %12s %9s %9s %17s   %s\n", 'lane', 'by', 'pieces', 'starts', 'transactions', 'events', 'repeated', 'RSS first/last/max', 'ends';
    for my $name (sort keys %{ $f->{lanes} }) {
        my $l = $f->{lanes}{$name};
        printf "%-8s %-6s %6d %6d %12d %9d %9s %17s   %s\n", $name, $l->{transport} // '-', @$l{qw(pieces starts transactions events)}, $l->{repeats} ? $l->{repeated} : "$l->{repeated} (none)",
            join('/', map { $_ // '-' } @{ $l->{rss} }{qw(first last max)}), join ', ', map { "$_: $l->{ends}{$_}" } sort keys %{ $l->{ends} };
    }
    printf "\nslots that were taken back by a crash: %d; batches that a killed cdcdump left torn: %d; memory of the harness: %d kB\n",
        $f->{regressed}, sum0(map { $_->{torn} } values %{ $f->{lanes} }), $f->{own_rss};
    my $sum = sub ($what) { sum0(map { $_->{$what} } values %{ $f->{lanes} }) };
    printf "%s: %d transactions, %d events checked in %d checks; %d events came again in pipes and commands%s\n",
        defined $failure ? 'before the failure' : 'all held', $sum->('transactions'), $sum->('events'), $f->{checks}, $sum->('repeated'),
        defined $failure ? '' : '; doubled in files 0, lost 0';
}

1;
