# CdcTest::SnapshotKills - kill -9 in every phase of a snapshot beside writers, and what is left in the end.
#
#   CdcTest::SnapshotKills::killed('incremental', server => $pg, dir => $dir, seed => 7, args => [...]);
#
# One run after another with the same slot and state file, each killed at a random point of a phase; the
# last one gets the rest.  Options: those of CdcTest::Snapshots->new; args; slot => 1: it is there
# before; pipe => 1: into a pipe whose reader keeps what it gets; relaxed => 1: that reader takes rows
# and events as they come; phases => [...]; steps => 1: some
# run has to begin in the midst of the rows.
package CdcTest::SnapshotKills;
use v5.36;

use List::Util qw(sum0);
use Test::More ();
use Time::HiRes qw(sleep time);

use CdcTest::Process;
use CdcTest::Snapshots;
use CdcTest::Writers;

# ---- one life of the program, and its end ----

# The output of the run at hand: a file that goes on, or what a reader takes out of a pipe.
sub launch ($s, $how) {
    if ($how->{pipe}) {
        push @{ $s->{pieces} }, "$s->{out}." . @{ $s->{pieces} // [] };
        pipe my $from, my $to or die "pipe: $!";
        $s->{reader} = CdcTest::Process->spawn(argv => ['cat'], stdin => $from, stdout => ">$s->{pieces}[-1]");
        close $from;
        my $c = $s->start(args => $how->{args}, stdout => $to);
        close $to;    # or the reader would not see the end
        return $c;
    }
    return $s->start(args => $how->{args});
}

sub size ($s, $how) { return -s ($how->{pipe} ? $s->{pieces}[-1] : $s->{out}) // 0 }

# Waits for a point of a phase; the run may have passed it, or may end before.
my %point = (
    start => sub ($c, $s, $how) { sleep rand 0.04 },
    # beside a transaction that is open it takes as long as that
    slot  => sub ($c, $s, $how) {
        my $end = time + 3;
        sleep 0.001 until !$c->running || time > $end || $c->stderr =~ /created publication|streaming from|joining/;
        sleep rand 0.01;
    },
    rows  => sub ($c, $s, $how) {
        my $more = size($s, $how) + 1 + rand($how->{pipe} ? 300_000 : 1_000_000);
        my $end = time + 3;
        sleep 0.0003 until !$c->running || size($s, $how) >= $more || time > $end || $c->stderr =~ /: read [\d,]+ rows? of/;
    },
    # some of the rows are on record
    chunk => sub ($c, $s, $how) {
        my $step = progress($s)->{step};
        my $end = time + 3;
        sleep 0.001 until !$c->running || time > $end || progress($s)->{step} > $step || $c->stderr =~ /: read [\d,]+ rows? of/;
        sleep rand 0.01;
    },
    # the rows are there, and not yet on record
    turn  => sub ($c, $s, $how) {
        my $end = time + 5;
        sleep 0.0005 until !$c->running || time > $end || $c->stderr =~ /: read [\d,]+ rows? of/;
        sleep rand 0.02;
    },
    stream => sub ($c, $s, $how) {
        my $end = time + 5;
        sleep 0.001 until !$c->running || time > $end || $c->stderr =~ /: read [\d,]+ rows? of/ || ($s->state // {})->{phase} // '' eq 'streaming';
        sleep rand 0.3;
    },
);

# Whether the rows are to be read from the beginning, by the state file.
sub begins_anew ($s) {
    my $state = $s->state or return 1;
    return !grep { $_->{read} ne 'none' || $_->{chunks} } @{ $state->{snapshot}{tables} };
}

# {step, chunks, whole} of the state file
sub progress ($s) {
    my $state = $s->state // {};
    my @tables = @{ ($state->{snapshot} // {})->{tables} // [] };
    return { phase => $state->{phase} // 'none', step => ($state->{snapshot} // {})->{step} // 0,
        whole => scalar grep { !ref $_->{read} && $_->{read} eq 'all' || grep { !ref $_->{to} && $_->{to} eq 'all' } @{ $_->{chunks} // [] } } @tables };
}

sub rows_in ($path) {
    open my $fh, '<:raw', $path or return 0;
    my $n = 0;
    /"op":"r"/ && $n++ while <$fh>;
    return $n;
}

# ---- all of its lives ----

sub killed ($name, %how) {
    return if $name !~ $CdcTest::Snapshots::ONLY;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $began = time;
    my ($pg, $seed) = @how{qw(server seed)};
    srand $seed;
    my $s = CdcTest::Snapshots->new(rows => 500, publication => $how{slot}, %how);
    $s->{name} = $name;
    $pg->sql($s->{db}, "SELECT pg_create_logical_replication_slot('$s->{slot}', 'pgoutput')") if $how{slot};
    $s->write(hold => [0.3, 0.6], pause => 0.004, without => $how{without} // []);
    $s->busy;
    my (%hits, @anew, @went_back, @steps);
    my @phases = @{ $how{phases} // [qw(start start slot slot rows rows rows rows turn stream stream stream start)] };
    for my $phase (@phases) {
        push @anew, begins_anew($s);
        my $before = progress($s);
        my $c = launch($s, \%how);
        $point{$phase}->($c, $s, \%how);
        my $hit = $c->kill('KILL');
        my $r = $c->wait;
        $hits{$phase}++ if $hit && defined $r->signal && $r->signal == 9;
        $s->{reader}->wait_exit(10) || die "the reader does not end\n" if $s->{reader};
        my $after = progress($s);
        push @steps, $before->{step} if $before->{phase} eq 'snapshot' && $before->{step} > 0;
        push @went_back, "$phase: $before->{step} $before->{phase}, then $after->{step} $after->{phase}"
            if $after->{step} < $before->{step} || $before->{phase} eq 'streaming' && $after->{phase} ne 'streaming'
            || $after->{whole} < $before->{whole};
        if (!$hit) {
            $r->exited(0, "$name: ended before it was killed");
            last;
        }
    }
    $s->{writers}->stop;
    push @anew, begins_anew($s);
    my $c = launch($s, { %how, args => [@{ $how{args} }, -E => 'now'] });
    $c->wait(60)->exited(0, "$name: the run after the kills");
    $s->{reader}->wait_exit(10) || die "the reader does not end\n" if $s->{reader};
    my $hits = join ', ', map { "$_ " . ($hits{$_} // 0) } sort keys %hits;
    Test::More::cmp_ok(sum0(values %hits), '>=', 12, "$name: kills that hit: $hits");
    Test::More::is_deeply(\@went_back, [], "$name: what is on record stays so");
    Test::More::is(progress($s)->{phase}, 'streaming', "$name: in the end all rows are on record");
    if ($how{pipe}) { judge_pieces($s, $name, \%how, \@anew) }
    else            { $s->judge($name) }
    Test::More::cmp_ok(scalar @steps, '>=', 1, "$name: runs went on in the midst of it: after step @steps") if $how{steps};
    Test::More::note(sprintf "%s: %.1f s", $name, time - $began);
    unlink $s->{out}, $s->{reference}, @{ $s->{pieces} // [] } if Test::More->builder->is_passing;
    CdcTest::Snapshots::drop_slot($pg, $s->{slot});
}

# A reader that keeps what it got: rows of a snapshot that is begun anew take the place of all it has.
sub judge_pieces ($s, $name, $how, $anew) {
    my $reference = $s->reference;
    my $forgotten = 0;
    my %relaxed = $how->{relaxed} ? (relaxed => 1) : ();
    my $oracle = CdcTest::Writers::oracle(allow_gaps => 1, allow_duplicates => 1, %relaxed);
    for my $n (0 .. $#{ $s->{pieces} }) {
        $oracle->resumes if $n;
        if ($anew->[$n] && !$how->{relaxed}) {
            $forgotten += rows_in($s->{pieces}[$_]) for $n ? $n - 1 : ();
            $oracle->forget;
        }
        $oracle->apply_file($s->{pieces}[$n], torn => 1);
    }
    my @wrong = ($oracle->problems, map { $oracle->diff($s->{server}, $s->{db}, "public.$_", columns => 'all') } @{ $s->{tables} });
    my @lost = grep { /unavailable_value/ } @wrong;
    @wrong = grep { !/unavailable_value/ } @wrong;
    Test::More::ok(!@lost, "$name: no value out of line is lost") or Test::More::diag($lost[0]);
    Test::More::ok(!@wrong, "$name: what was read out of the pipe makes up the tables") or $s->keep(@wrong);
    Test::More::cmp_ok($oracle->duplicates + $forgotten, '>', 0, "$name: some came again") and Test::More::note($oracle->duplicates . " and $forgotten forgotten");
}

1;
