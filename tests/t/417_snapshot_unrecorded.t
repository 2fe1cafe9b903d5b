# Rows of an incremental snapshot that the reader of a pipe has got and that are not on record when the
# run ends: what becomes of them before they are read again is given, too, so that a reader that keeps
# the last record of each row has the tables in the end.
#
# The reader stands still while the run does, so that nothing is accepted: no test here depends on time.
use v5.36;
use CdcTest;

my $pg = PgServer->new;
$pg->create_db('shop');
my $dir = scratch();
my $slot;    # of the test at hand

sub sql ($text) { return $pg->sql('shop', $text) }
sub saved () { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }
sub start (@more) {
    return Cdc->start(server => $pg, db => 'shop', args => [-S => $slot, '--state' => "$dir/$slot.json", -t => 't',
        '--snapshot' => 'incremental', -v => (), @more]);
}

# A table of its own for each test: 400 rows of 1 kB, far more than fits into a pipe.
sub begin ($name) {
    note "---- $name";
    $slot = $name =~ s/\W+/_/gr;
    sql(q(DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n int, body text);
        INSERT INTO t SELECT g, g, repeat('x', 1000) FROM generate_series(1, 400) g));
}

# Waits until something is in the pipe, and leaves it there.
sub until_given ($c) {
    my $ready = '';
    vec($ready, fileno $c->{pipe}, 1) = 1;
    select(my $now = $ready, undef, undef, CdcTest::Process::patient(30)) > 0 or die "nothing is given: " . $c->stderr;
}

# The pipe at the end of a run that was killed: whole lines only.
sub left ($c) { return $c->wait(30)->out =~ s/[^\n]*\z//r }

# Of rows that the first chunks have: one goes, one goes and comes back, two get keys far off and near by.
sub change () {
    sql('DELETE FROM t WHERE id = 1');
    sql('DELETE FROM t WHERE id = 2');
    sql('INSERT INTO t VALUES (2, 22)');
    sql('UPDATE t SET id = 1003 WHERE id = 3; UPDATE t SET id = 0 WHERE id = 4');
}

# Tests: what the runs gave, one after the other, makes up the table: for a reader that takes all of it,
# and for one that leaves out events that it has seen.
sub makes_up_table ($name, @out) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $again (1, 0) {
        my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1, allow_duplicates => 1, relaxed => 1, again => $again);
        for my $n (0 .. $#out) {
            $oracle->resumes if $n;
            $oracle->apply(records($out[$n]));
        }
        $oracle->compare($pg, 'shop', 'public.t', columns => ['n'],
            name => "$name: the reader has the table" . ($again ? '' : ', and if it takes events once'));
    }
}

sub rows_of ($out) { return grep { $_->{op} eq 'r' } records($out) }

# Kills a run whose reader stands still, as often as that; returns what it gave.
sub killed_early ($name, $times, $c) {
    my @out;
    for my $life (1 .. $times) {
        $c //= start('--chunk-size' => 40);
        until_given($c);
        ok($c->kill('KILL'), "$name: killed, life $life");
        push @out, left($c);
        cmp_ok(scalar rows_of($out[-1]), '>=', 1, "$name: rows have been given") if $life == 1;
        is(saved()->{snapshot}{step}, 0, "$name: none is on record");
        undef $c;
        change() if $life == 1;
    }
    return @out;
}

sub rest ($name) {
    my $r = start('--chunk-size' => 40, -E => 'now')->wait(60);
    $r->exited(0, "$name: the run after it");
    return $r;
}

# ---- killed in the first chunk ----

{
    begin(my $name = 'a new slot');
    my @out = killed_early($name, 2, undef);
    makes_up_table($name, @out, rest($name)->out);
}

# A transaction that was open before the publication came is why the slot looks as if it was older than that.
{
    begin(my $name = 'a new slot beside a transaction');
    my $session = $pg->session('shop');
    $session->sql('BEGIN');
    $session->sql('SELECT txid_current()');
    my $c = start('--chunk-size' => 40);
    $c->wait_stderr(qr/created publication/);
    wait_until(sub { sql("SELECT count(*) FROM pg_locks WHERE locktype IN ('transactionid', 'virtualxid') AND NOT granted") > 0 },
        30, 'the slot to wait for the transaction');
    $session->sql('COMMIT');
    $session->close;
    my @out = killed_early($name, 1, $c);
    my $r = rest($name);
    like($r->err, qr/may be younger than the replication slot/, "$name: the publication looks younger");
    makes_up_table($name, @out, $r->out);
}

# It is: such a slot cannot be read from its own position, but well from where the first run began.
{
    begin(my $name = 'a slot older than its publication');
    sql("SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
    sql('UPDATE t SET id = id');
    my @out = killed_early($name, 2, undef);
    my $r = rest($name);
    like($r->err, qr/may be younger than the replication slot/, "$name: the publication is younger");
    makes_up_table($name, @out, $r->out);
}

# What was given came out of a slot that is no more: there is nothing to go on from.
{
    begin(my $name = 'a slot that was dropped');
    my @out = killed_early($name, 1, undef);
    wait_until(sub { !$pg->slot($slot)->{active} }, 30, "the end of the slot's user");
    sql("SELECT pg_drop_replication_slot('$slot')");
    my $r = rest($name);
    is(scalar rows_of($r->out), sql('SELECT count(*) FROM t'), "$name: all rows come anew");
    makes_up_table($name, $r->out);
}

# ---- killed again, in the stream ----

# A row comes and goes while it is still to be read, and the run that gives its end is killed.  The next
# one reads more at once: were that row's beginning given now, its end would be nothing new.
{
    begin(my $name = 'changes that come again');
    my $c = start('--chunk-size' => 40);
    until_given($c);
    ok($c->kill('KILL'), "$name: killed in the first chunk");
    my @out = left($c);
    sql('CREATE TABLE other (id int); INSERT INTO other SELECT generate_series(1, 200000)');    # the stream is slow
    sql('INSERT INTO t VALUES (401, 1)');
    sql('DELETE FROM t WHERE id = 401');
    my $end = $pg->wal_lsn;
    $c = start('--chunk-size' => 1);    # a few of which do not fill the pipe
    $c->wait_stderr(qr/streaming from/);
    $c->wait_written($end, 30);
    ok($c->kill('KILL'), "$name: killed behind the changes");
    push @out, left($c);
    is(scalar(grep { $_->{op} eq 'd' && $_->{before}{id} == 401 } records($out[-1])), 1, "$name: which have been given");
    is(saved()->{snapshot}{step}, 0, "$name: and are not on record");
    my $r = start('--chunk-size' => 1000, -E => 'now')->wait(60);
    $r->exited(0, "$name: the run after it");
    makes_up_table($name, @out, $r->out);
}

# ---- stopped in the midst of a later chunk ----

# Rows have left of a chunk that is not on record, so the next run must not take it for certain that
# there are none, though this one ends in good order.
{
    begin(my $name = 'stopped in a chunk');
    sql(q(UPDATE t SET body = repeat(md5(id::text), 150) WHERE id > 10));    # more than is held in memory, too
    my $first = start('--chunk-size' => 10, '--count' => 10)->wait(30);
    $first->exited(0, "$name: a run that ends behind the first one");
    my $step = saved()->{snapshot}{step};
    ok($step > 0 && saved()->{snapshot}{certain}, "$name: all that it gave is on record");
    my $c = start('--chunk-size' => 400);
    until_given($c);
    my $r = $c->stop('TERM');
    $r->exited(0, "$name: in good order");
    my @rows = rows_of($r->out);
    cmp_ok(scalar @rows, '>=', 1, "$name: rows of it have been given");
    is(saved()->{snapshot}{step}, $step, "$name: none is on record");
    ok(!saved()->{snapshot}{certain}, "$name: which the state file says");
    sql("DELETE FROM t WHERE id = $rows[0]{after}{id}");
    makes_up_table($name, $first->out, $r->out, rest($name)->out);
}
done_testing;
