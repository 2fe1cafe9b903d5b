# CdcTest::Snapshots - one snapshot beside the writers of CdcTest::Writers, and what came of it.
#
#   my $s = CdcTest::Snapshots->new(server => $pg, dir => scratch(), seed => 7, rows => 300);
#   $s->write(tables => [...]);          # writers begin; takes options of CdcTest::Writers->start
#   my $c = $s->start(args => ['--snapshot' => 'incremental']);      # options of Cdc->start
#   $s->has_read($c);                    # waits until the rows have been read
#   $s->{writers}->stop;
#   $s->caught_up($c);  $c->stop;
#   my $oracle = $s->judge('name');      # tests; reads the file that the runs have written
#
# Or all of that in one:
#
#   CdcTest::Snapshots::beside('incremental', server => $pg, dir => $dir, seed => 7, args => [...]);
#   CdcTest::Snapshots::ends('mode snapshot', 'snapshot', server => $pg, ...);
#
# Environment: CDCTEST_ONLY=REGEX just those tests whose name matches; CDCTEST_KEEP=DIR keeps the
# output of what fails.
#
# new(%opts): rows, seed, dir, server; tables => [names] that are written to; publication => 1: made
# before anything else.
#
# Every object has a database of its own, with a second slot and a publication of all tables that
# are older than any row: what it gave is the reference, so that each event can be held against the
# row that it found.  The run under test writes to {out} with {state} and slot {slot}.
package CdcTest::Snapshots;
use v5.36;

use JSON::PP ();
use Test::More ();
use Time::HiRes qw(sleep time);

use Cdc;
use CdcTest::Process;
use CdcTest::Records ();
use CdcTest::Writers;
use PgServer;

our $ONLY = $ENV{CDCTEST_ONLY} // '';    # tests whose name matches
our %CROSSED;                            # updates that were given as deletes, as inserts

my $number = 0;

sub new ($class, %opts) {
    my $n = ++$number;
    my $self = bless { rows => 200, seed => 1, db => "shop$n", slot => "s$n", tables => [@CdcTest::Writers::TABLES],
        out => "$opts{dir}/$n.out", state => "$opts{dir}/$n.json", reference => "$opts{dir}/$n.all", %opts }, $class;
    my ($pg, $db) = @$self{qw(server db)};
    if (!$pg->{snapshots_template}++) {
        CdcTest::Writers::create($pg, 'writers');
        $pg->sql('writers', 'CREATE PUBLICATION everything FOR ALL TABLES');
    }
    $pg->sql('postgres', "CREATE DATABASE $db TEMPLATE writers");
    $self->publish if $opts{publication};
    $pg->sql($db, "SELECT pg_create_logical_replication_slot('all_$n', 'pgoutput')");
    $self->{all} = "all_$n";
    CdcTest::Writers::fill($pg, $db, $self->{rows});
    return $self;
}

# The publication that the run would make.
sub publish ($self) {
    $self->{server}->sql($self->{db}, "CREATE PUBLICATION cdcdump_$self->{slot} FOR TABLE " . join ', ', @{ $self->{tables} });
}

sub write ($self, %opts) {
    $self->{writers} = CdcTest::Writers->start(server => $self->{server}, db => $self->{db}, seed => $self->{seed},
        tables => $self->{tables}, %opts);
    return $self;
}

# Waits for the first transaction of each kind that is held open or prepared.
sub busy ($self) {
    $self->{writers}->until_each(60, qw(prepared_commit async update insert delete));
    return $self;
}

sub args ($self, @more) {
    return [-S => $self->{slot}, '--state' => $self->{state}, '-v', '--status-interval' => '0.02', @more];
}

sub start ($self, %how) {
    my @args = @{ delete $how{args} // [] };
    unshift @args, -f => $self->{out} unless $how{stdout};
    return Cdc->start(server => $self->{server}, db => $self->{db}, stdout => 'null', %how, args => $self->args(@args));
}

sub run ($self, %how) { return $self->start(%how)->wait(60) }

# The state file, undef when there is none.
sub state ($self) {
    return -e $self->{state} ? JSON::PP->new->decode(_slurp($self->{state})) : undef;
}

sub _slurp ($path) {
    open my $fh, '<:raw', $path or die "could not open \"$path\": $!\n";
    local $/;
    return scalar(<$fh>) // '';
}

sub has_read ($self, $c, $timeout = 60) { return $c->wait_stderr(qr/: read [\d,]+ rows? of /, $timeout) }

# Waits until all that has been written is on record.
sub caught_up ($self, $c) {
    my $end = PgServer::lsn_num($self->{server}->sql($self->{db}, 'SELECT pg_current_wal_insert_lsn()'));
    PgServer::wait_until(sub {
        die "cdcdump ended: " . $c->stderr unless $c->running;
        PgServer::lsn_num($self->state->{lsn}) >= $end;
    }, 30, "position " . PgServer::lsn_text($end));
}

# ---- judging ----

# Where there is such a slot; the server needs a moment to see that its reader has gone.
sub drop_slot ($pg, $slot) {
    PgServer::wait_until(sub { !($pg->slot($slot) // {})->{active} }, 30, "the end of the user of slot $slot");
    $pg->sql('postgres', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$slot'");
}

# What the other slot gave up to now, as a file.
sub read_reference ($self) {
    return $self->{reference} if $self->{reference_read}++;
    my $r = Cdc->run(server => $self->{server}, db => $self->{db}, stdout => ">$self->{reference}",
        args => [-S => $self->{all}, '-m' => 'never', '--publication' => 'everything', '--publication-mode' => 'existing', -E => 'now']);
    die "the reference could not be read: $r->{err}" unless defined $r->exit && $r->exit == 0;
    drop_slot($self->{server}, $self->{all});
    return $self->{reference};
}

sub reference ($self) {
    my $oracle = CdcTest::Writers::oracle(history => 1)->apply_file($self->read_reference);
    $oracle->faultless("$self->{name}: the reference") if $oracle->problems;
    return $oracle;
}

# The tables as some transactions left them: those for which $visible->(commit_lsn, xid) is true.
sub as_of ($self, $visible) {
    my $oracle = CdcTest::Writers::oracle(allow_gaps => 1);
    my $n = 0;
    open my $fh, '<:raw', $self->read_reference or die "$self->{reference}: $!\n";
    while (<$fh>) {
        my ($xid, $commit) = /"txId":(\d+),"lsn":\d+,"xmin":null,"commit_lsn":(\d+)/ or next;
        if ($visible->($commit, $xid)) { $oracle->apply(CdcTest::Records::record(s/\n\z//r)) }
        else                           { $n++ }
    }
    return ($oracle, $n);
}

# A function for as_of(): what a pg_snapshot sees, given as its text.
sub seen_by ($text) {
    my ($xmin, $xmax, @running) = split /[:,]/, $text;
    my %running = map { $_ => 1 } @running;
    return sub ($commit, $xid) { $xid < $xmax && !$running{$xid} };
}

# Tests: the output makes up the tables as of some point, which is not the last one.
sub judge_as_of ($self, $name, $visible) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $self->{name} = $name;
    my ($then, $later) = $self->as_of($visible);
    my $oracle = CdcTest::Writers::oracle(allow_gaps => 1, reference => $self->reference)->apply_file($self->{out});
    my @wrong = ($oracle->problems, $then->problems);
    for my $table (map { "public.$_" } @{ $self->{tables} }) {
        my @models = map { $_->{model}{$table} // { rows => {}, count => {} } } $oracle, $then;
        my @rows = map { my $m = $_; [sort map { ($m->{count}{$_} // 1) . ' ' . CdcTest::Records::canonical($m->{rows}{$_}) } keys %{ $m->{rows} }] } @models;
        my %there = map { $_ => 1 } @{ $rows[1] };
        push @wrong, map { "$table: too much: $_" } grep { !delete $there{$_} } @{ $rows[0] };
        push @wrong, map { "$table: missing: $_" } sort keys %there;
    }
    Test::More::ok(!@wrong, "$name: the rows as of one point") or $self->keep(@wrong);
    Test::More::cmp_ok($later, '>', 0, "$name: which is not the last one ($later events)");
    return $oracle;
}

# {"commit,seq" => op} of a file
sub _operations ($path) {
    my %op;
    open my $fh, '<:raw', $path or die "$path: $!\n";
    while (<$fh>) {
        $op{"$1,$2"} = $3 if /"commit_lsn":(\d+),"tx_seq":(\d+)\},"op":"(\w)"/;
    }
    return \%op;
}

# How often what happened that is of interest: events left out of those that came from the slot, whose
# first position is $from; events between rows; updates given as deletes and as inserts.
sub interest ($self, $from) {
    my $all = _operations($self->{reference});
    my $given = _operations($self->{out});
    my %n = map { $_ => 0 } qw(left_out between deletes inserts);
    $from = PgServer::lsn_num($from);
    $n{left_out} = grep { !$given->{$_} && (split /,/)[0] >= $from } keys %$all;
    my $since = 0;
    open my $fh, '<:raw', $self->{out} or die "$self->{out}: $!\n";
    while (<$fh>) {
        my ($op) = /"op":"(\w)"/ or next;
        if ($op eq 'r') {
            $n{between} += $since;
            $since = 0;
            next;
        }
        $since++;
        my ($commit, $seq) = /"commit_lsn":(\d+),"tx_seq":(\d+)\}/ or next;
        my $was = $all->{"$commit,$seq"} // '';
        $n{deletes}++ if $was eq 'u' && $op eq 'd';
        $n{inserts}++ if $was eq 'u' && $op eq 'c';
    }
    return \%n;
}

# Tests: each row once, each event where it belongs, and the tables in the end.
sub judge ($self, $name, %opts) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $self->{name} = $name;
    my %relaxed = $opts{relaxed} ? (relaxed => $opts{relaxed}) : ();
    my $oracle = CdcTest::Writers::oracle(allow_gaps => 1, reference => $self->reference, %relaxed)->apply_file($self->{out});
    my @wrong = $oracle->problems;
    push @wrong, map { $oracle->diff($self->{server}, $self->{db}, "public.$_", columns => 'all') } @{ $self->{tables} };
    my @lost = grep { /unavailable_value/ } @wrong;
    @wrong = grep { !/unavailable_value/ } @wrong;
    Test::More::ok(!@lost, "$name: no value out of line is lost") or Test::More::diag($lost[0]);
    Test::More::ok(!@wrong, "$name: each row once, each event where it belongs, and the tables in the end")
        or $self->keep(@wrong);
    return $oracle;
}

# Leaves what is needed to find the reason.
sub keep ($self, @wrong) {
    my $dir = $ENV{CDCTEST_KEEP};
    Test::More::diag(map { "  $_\n" } @wrong > 12 ? (@wrong[0 .. 11], '… ' . @wrong) : @wrong);
    Test::More::diag("seed $self->{seed}");
    return unless $dir;
    mkdir $dir;
    my $to = "$dir/" . ($self->{name} =~ s/\W+/-/gr) . "-$self->{seed}-$$";
    mkdir $to;
    system('sh', '-c', "cp $self->{dir}/$self->{db}* $self->{out}* $self->{reference} $self->{state} $to/ 2>/dev/null; true");
    open my $fh, '>:utf8', "$to/problems" or return;
    print $fh map { "$_\n" } @wrong;
    Test::More::diag("kept in $to");
}

# ---- whole tests ----

# Not of the writers' kind: it spans the whole run.
sub open_transaction ($s) {
    my $session = $s->{server}->session($s->{db});
    $session->sql('BEGIN');
    $session->sql("INSERT INTO w_big (id, note) VALUES (555, 'held'), (-5, 'held'), (5000000001, 'held')");
    $session->sql("UPDATE w_text SET n = n + 1000 WHERE id = (SELECT min(id) FROM w_text)");
    $session->sql("DELETE FROM w_uuid WHERE id = (SELECT id FROM w_uuid ORDER BY id DESC LIMIT 1)");
    return $session;
}

# how: args, rows, writers; slot => 1: it is there before, with (publication => 1) or without its
# publication; held => 1; all_kinds => 1: waits until the writers have done everything; stop => 1: caught
# up, else stopped at once, and a second run gets the rest; crossed => chunks at least, and
# updates that move rows over the place that has been reached are counted in %CROSSED; relaxed => [tables]
sub beside ($name, %how) {
    return if $name !~ $ONLY;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $began = time;
    my $s = CdcTest::Snapshots->new(%how, name => $name);
    my $from = $how{slot} ? $s->{server}->sql($s->{db}, "SELECT lsn FROM pg_create_logical_replication_slot('$s->{slot}', 'pgoutput')") : undef;
    my $held = $how{held} ? open_transaction($s) : undef;
    $s->write(hold => [0.2, 0.6], %{ $how{writers} // {} })->busy;
    my $c = $s->start(args => ['-m' => 'initial', @{ $how{args} }]);
    # what a new publication does not cover has to end first
    if ($held && !$how{publication}) {
        sleep 0.3;
        $held->sql('COMMIT');
        $held->close;
        undef $held;
    }
    my $said = $s->has_read($c);
    ($from) = $said =~ m{: created replication slot "\w+" at ([0-9A-F]+/[0-9A-F]+)} unless $from;
    sleep 0.2;
    if ($held) {
        $held->sql('UPDATE w_big SET n = n + 1 WHERE id = 555');
        $held->sql('COMMIT');
        $held->close;
        undef $held;
    }
    $s->{writers}->until_each(60) if $how{all_kinds};
    $s->{writers}->stop;
    $s->{writers}->happened($name) if $how{all_kinds};
    if ($how{stop}) {
        $s->caught_up($c);
        $c->stop('TERM')->exited(0, "$name: stopped");
    } else {
        $c->stop('TERM')->exited(0, "$name: stopped in between");
        $s->run(args => ['-m' => 'initial', @{ $how{args} }, -E => 'now'])->exited(0, "$name: the rest");
    }
    my $oracle = $s->judge($name, relaxed => $how{relaxed});
    my $n = $s->interest($from);
    $n->{chunks} = () = $said =~ /: COPY \(/g;
    my $joined = $how{slot} || $said =~ /too many transactions are running for a snapshot to be exported/;
    Test::More::note("$name: no snapshot could be exported") if $joined && !$how{slot};
    Test::More::is($n->{left_out}, 0, "$name: all that the slot gave") unless $joined || $how{crossed};
    my %least = ($how{slot} || $how{crossed} ? (left_out => 30) : (), $how{crossed} ? (between => 30, chunks => $how{crossed}) : ());
    my @dull = grep { $n->{$_} < $least{$_} } sort keys %least;
    my $text = join ', ', (map { "$_ $n->{$_}" } sort keys %$n), map { "$_ " . $oracle->count($_) } qw(r c u d t);
    Test::More::ok(!@dull, "$name: and it was not easy") or Test::More::diag("too few of @dull: $text") if %least;
    $CROSSED{$_} += $n->{$_} for qw(deletes inserts);
    done_with($s, sprintf '%s: %s; %.1f s', $name, $text, time - $began);
}

# Modes that end by themselves, in the midst of it.
sub ends ($name, $mode, %how) {
    return if $name !~ $ONLY;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $began = time;
    my $s = CdcTest::Snapshots->new(%how, name => $name);
    $s->write(hold => [0.2, 0.6])->busy;
    $s->run(args => ['-m' => $mode, @{ $how{args} }])->exited(0, "$name: ends by itself");
    Test::More::is($s->{server}->slot($s->{slot}), undef, "$name: no slot is left");
    PgServer::wait_until(sub { ($s->{writers}->report->{done}{update} // 0) > 30 }, 30, 'more of the writers');
    $s->{writers}->stop;
    my $state = $s->state;
    Test::More::is($state->{phase}, 'complete', "$name: so it is on record");
    my ($lsn, $seen) = (PgServer::lsn_num($state->{lsn}), map { $_->{seen} } @{ $state->{snapshot}{snapshots} });
    my $oracle = $s->judge_as_of($name, $mode eq 'snapshot' ? sub ($commit, $xid) { $commit < $lsn } : seen_by($seen));
    done_with($s, sprintf '%s: %s; %.1f s', $name, join(', ', map { "$_ " . $oracle->count($_) } qw(r c u d t)), time - $began);
}

sub done_with ($s, $text) {
    my $pg = $s->{server};
    Test::More::note($text);
    unlink $s->{out}, $s->{reference} if Test::More->builder->is_passing;
    drop_slot($pg, $s->{slot});
    $pg->sql('postgres', "DROP DATABASE $s->{db}");
}

1;
