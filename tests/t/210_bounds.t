# Where a run begins and where it ends: -E, --count, --idle-exit, --max-time, -I, startup modes.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int)');
my $dir = scratch();
my $nslots = 0;

sub args ($name, @more) { return [-S => $name, '-m' => 'never', '-e' => 'plain', '--publication', 'p', '--publication-mode', 'existing', @more] }
sub start ($name, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($name, @more)) }
sub run ($name, @more) { return start($name, @more)->wait }

# The first and last id of each run of records: 1..3 or 1..3,7..9
sub ids ($r) {
    my @ranges;
    for my $id ((ref $r ? $r->out : $r) =~ /"row":\{"id":(\d+),/g) {
        if (@ranges && $ranges[-1][1] + 1 == $id) { $ranges[-1][1]++ }
        else                                     { push @ranges, [$id, $id] }
    }
    return join ',', map { $_->[0] == $_->[1] ? $_->[0] : "$_->[0]..$_->[1]" } @ranges;
}

# What is pending in a slot, without touching it.
sub peek ($slot) {
    my $copy = 'copy' . ++$nslots;
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('$slot', '$copy')");
    my @records = run($copy, '-E', 'now')->records;
    $pg->sql('shop', "SELECT pg_drop_replication_slot('$copy')");
    return @records;
}

# A backlog of five transactions: 1..3, 4, 5..1004, 1005..1007, 1008.  Every test gets a copy.
$pg->sql('shop', q(CREATE PUBLICATION p FOR TABLE t; SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
for (['1, 3'], ['4, 4'], ['5, 1004'], ['1005, 1007'], ['1008, 1008']) {
    $pg->sql('shop', "INSERT INTO t SELECT g, 'x' FROM generate_series($_->[0]) g");
    sleep 0.02;    # so that their commit times differ
}
my @all = peek('base');
is(scalar(@all), 1008, 'the backlog');
my (@commits, %time);
for my $r (@all) {
    push @commits, $r->{commit_lsn} unless @commits && $commits[-1] eq $r->{commit_lsn};
    $time{ $r->{commit_lsn} } = $r->{ts};
}
is(scalar(@commits), 5, 'of five transactions');

sub backlog ($name) {
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('base', '$name')");
    return $name;
}

# Runs over a new copy of the backlog, and a second time for the rest.
sub bounded ($name, $want, @bounds) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $slot = backlog('b' . ++$nslots);
    my $r = run($slot, '--state', "$dir/$slot.json", @bounds);
    $r->exited(0, "$name: status 0");
    is(ids($r), $want, "$name: gives $want");
    my $rest = run($slot, '--state', "$dir/$slot.json", '-E', 'now');
    $rest->exited(0, "$name: the rest, status 0");
    is(ids($r->out . $rest->out), '1..1008', "$name: the next run gives the rest");
    $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot')");
    return $r;
}

# Seconds that a run took beyond what one takes, here and now, that has nothing to wait for.
sub beyond ($r, $slot) { return $r->seconds - run($slot, -E => '0/1')->seconds }

# ---- -E LSN ----

my @upto = qw(1..3 1..4 1..1004 1..1007 1..1008);
for my $n (0 .. 4) {
    my $lsn = lsn_num($commits[$n]);
    bounded("-E at commit $n", $upto[$n], -E => $commits[$n]);
    bounded("-E before commit $n", $n ? $upto[$n - 1] : '', -E => lsn_text($lsn - 1)) if $n != 3;
}
bounded('-E in the middle of a transaction', '1..4', -E => $all[500]{lsn});
bounded('-E at the first possible LSN', '', -E => '0/1');
{
    my $end = $pg->sql('postgres', 'SELECT pg_current_wal_insert_lsn()');
    my $r = bounded('-E at the end of the WAL', '1..1008', -E => $end);
    cmp_ok(beyond($r, 'base'), '<', 3, '-E at the end of the WAL: waits for nothing');
    # In the future: runs on until it gets there.
    my $c = start(backlog('future'), -E => lsn_text(lsn_num($end) + 100_000));
    $c->read_until(qr/"id":1008,/);
    sleep 0.3;
    ok($c->running, '-E in the future: runs on');
    $pg->sql('shop', q(INSERT INTO t VALUES (1009)));
    $c->read_until(qr/"id":1009,/);
    ok($c->running, '-E in the future: and on');
    $pg->sql('shop', q(INSERT INTO other SELECT generate_series(1, 5000)));
    $c->wait(10)->exited(0, '-E in the future: until the WAL is there, with whatever');
    $pg->sql('shop', q(DELETE FROM t WHERE id = 1009; SELECT pg_drop_replication_slot('future')));
}

# The delete and the insert above are at the end of every backlog now; they have no part in "row".
sub rest_of ($r) { return ids($r->out =~ s/^.*"id":1009\b.*\n//mgr) }

# ---- -E now ----

{
    my $slot = backlog('now');
    is(rest_of(run($slot, -E => 'now')), '1..1008', '-E now: all that has been committed');
    is(run($slot, -E => 'now')->out, '', '-E now: and no more');
    my $r = run($slot, -E => 'now');
    cmp_ok(beyond($r, $slot), '<', 2, '-E now: ends at once when there is nothing');
    my $open = $pg->session('shop');
    $open->sql(q(BEGIN; INSERT INTO t VALUES (2000)));
    $r = run($slot, -E => 'now');
    is($r->out, '', '-E now: an open transaction is not waited for');
    cmp_ok(beyond($r, $slot), '<', 3, '-E now: really');
    $open->sql('ROLLBACK');
    # What commits after the start is not in, though the reader makes it last.
    $pg->sql('shop', q(INSERT INTO t SELECT g, repeat('y', 500) FROM generate_series(3000, 8000) g));
    my $c = start($slot, -E => 'now');
    $c->read_lines(1);
    $pg->sql('shop', q(INSERT INTO t VALUES (9000)));
    $r = $c->wait;
    is(ids($r), '3000..8000', '-E now: the end of the WAL at the start');
    is(ids(run($slot, -E => 'now')), '9000', '-E now: the next run has what came later');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('now')));
}

# ---- -E TIMESTAMP ----

my $everything = ids(join '', map { qq({"row":{"id":$_->{row}{id},) } grep { $_->{row} } peek('base'));

sub bounded_by_time ($name, $want, $when) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $slot = backlog('t' . ++$nslots);
    my $r = run($slot, -E => $when);
    $r->exited(0, "$name: status 0");
    is(ids($r), $want, "$name: gives $want");
    is(ids($r->out . run($slot, -E => 'now')->out), $everything, "$name: the next run has the rest");
    $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot')");
}

bounded_by_time('-E at the time of a commit', '1..1004', $time{ $commits[2] });
(my $earlier = $time{ $commits[2] }) =~ s/(\d{6})Z\z/sprintf '%06dZ', $1 - 1/e;
bounded_by_time('-E a microsecond before', '1..4', $earlier) unless $time{ $commits[2] } =~ /\.000000Z|\.\d{1,5}Z/;
bounded_by_time('-E long ago', '', '2001-02-03 04:05:06');
bounded_by_time('-E yesterday, in words', '', 'yesterday');
bounded_by_time('-E with a zone', '1..1004', $pg->sql('shop', "SELECT '$time{$commits[2]}'::timestamptz AT TIME ZONE 'Asia/Kolkata'") . '+05:30');
{
    my $session = $pg->session('shop');
    my ($r, $took);
    for my $soon (1.5, 6, 20) {
        my $slot = backlog('soon');
        my $began = time;
        my $c = start($slot, -E => $session->sql("SELECT clock_timestamp() + interval '$soon s'"));
        $c->read_until(qr/"id":9000,/);
        # A machine on which that took too long gets another try, with more time.
        my $in_time = time - $began < $soon - 0.5;
        if ($in_time) {
            $session->sql(q(INSERT INTO t VALUES (9001)));
            $c->read_until(qr/"id":9001,/);
        }
        $r = $c->wait($soon + 10);
        $took = time - $began - $soon;
        $pg->sql('shop', q(SELECT pg_drop_replication_slot('soon')));
        last if $in_time;
    }
    $r->exited(0, '-E soon: ends by itself');
    ok($took > -0.1 && $took < 3.5, '-E soon: when the time has come') or diag($took);
    $r = run('base', -E => 'next tuesdayish');
    $r->exited(2, '-E that is no time');
    like($r->err, qr/invalid input syntax for type timestamp with time zone: "next tuesdayish"/, 'says what the server says');
    $r = run('base', -E => '');
    $r->exited(2, '-E empty');
    $r = run('fresh', -E => 'nonsense');
    is($pg->slot('fresh'), undef, 'and no slot is created for it');
}

# ---- --count, --idle-exit, --max-time ----

{
    for ([1, 3], [3, 3], [4, 4], [5, 1004], [500, 1004], [1004, 1004]) {
        my ($n, $gives) = @$_;
        my $slot = backlog('c' . ++$nslots);
        my $r = run($slot, "--count=$n");
        $r->exited(0, "--count=$n: status 0");
        my @records = $r->records;
        is(scalar(@records), $gives, "--count=$n: the next boundary");
        is(ids(run($slot, '-E', 'now')) =~ /\A(\d+)/ ? $1 : '', @records + 1, "--count=$n: the rest comes next");
        $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot')");
    }
    my ($session, $last, $slot, $r, $took) = ($pg->session('shop'), 9001);
    for my $idle (1.5, 6) {
        $pg->sql('shop', q(SELECT pg_drop_replication_slot('idle'))) if $slot;
        $slot = backlog('idle');
        my $c = start($slot, "--idle-exit=$idle");
        $c->read_until(qr/"id":$last,/);
        my $began = my $change = time;
        my $pause = 0;
        for (1, 2) {
            sleep 0.6 * $idle;
            $session->sql('INSERT INTO t VALUES (' . ++$last . ')');
            $pause = time - $change if time - $change > $pause;
            $change = time;
            # Changes that are not captured do not keep it awake, and do not end it.
            $session->sql('INSERT INTO other VALUES (1)');
        }
        $r = $c->wait($idle + 10);
        $took = (time - $began) / $idle;
        last if $pause < 0.9 * $idle;    # or the next change came late: then with longer times
    }
    $r->exited(0, '--idle-exit: status 0');
    like(ids($r), qr/9000..$last\z/, '--idle-exit: each change gave it another time');
    ok($took > 2.1 && $took < 4.5, '--idle-exit: ends that long after the last') or diag($took);
    $r = run($slot, '--idle-exit=0.3');
    is($r->out, '', '--idle-exit: without any change');
    cmp_ok(beyond($r, $slot), '<', 2, '--idle-exit: soon');

    $r = run($slot, '--max-time=0.5');
    $r->exited(0, '--max-time: status 0');
    ok($r->seconds >= 0.5 && beyond($r, $slot) < 2, '--max-time: after that') or diag($r->seconds);
    # The time is over in the middle of a transaction: that one is finished.
    $pg->sql('shop', q(INSERT INTO t SELECT g, repeat('y', 500) FROM generate_series(10000, 19999) g; INSERT INTO t VALUES (20000)));
    # It has to come as far as that before: where it does not, nothing is taken, and it gets more time.
    my $c;
    for my $max (0.3, 2, 10) {
        $c = start($slot, "--max-time=$max");
        sleep($max + 0.7), last if $c->read_lines(1);
    }
    ok($c->running, '--max-time: over in mid-transaction');
    $r = $c->wait;
    $r->exited(0, '--max-time in mid-transaction: status 0');
    is(ids($r), '10000..19999', '--max-time in mid-transaction: the transaction is whole, the next is not begun');
    is(ids(run($slot, '-E', 'now')), '20000', '--max-time: the next run has it');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('idle')));
}

# ---- -I ----

{
    my $slot = backlog('i');
    my $last = lsn_num($commits[3]);
    my $before = $pg->slot($slot)->{confirmed_flush_lsn};
    my $r = run($slot, -I => $commits[3], -E => $commits[4]);
    $r->exited(2, '-I beyond unread changes');
    like($r->err, qr/starting at \Q$commits[3]\E would skip unread changes from \Q$before\E on/, 'says so');
    like($r->err, qr/HINT:  Add --force to skip them\./, 'and what to do');
    is($pg->slot($slot)->{confirmed_flush_lsn}, $before, 'and skips none');
    $r = run($slot, -I => '0/1', -E => 'now');
    $r->exited(4, '-I before what the slot has');
    like($r->err, qr/position lost: replication slot "i" has no changes before/, 'says so');
    $r = run($slot, -I => 'FFFFFF/0', '--force', -E => 'now');
    $r->exited(2, '-I beyond the end of the WAL');
    like($r->err, qr/start position FFFFFF\/0 lies beyond the server's WAL/, 'says so');
    is($pg->slot($slot)->{confirmed_flush_lsn}, $before, 'and nothing was acknowledged');
    $r = run($slot, -I => $before, -E => $commits[0]);
    is(ids($r), '1..3', '-I at the position itself');
    $r = run($slot, -I => $commits[3], '--force', -E => $commits[4], '--state', "$dir/i.json");
    $r->exited(0, '-I --force');
    is(ids($r), '1005..1008', '-I --force: skips what lies before; a commit right there is in');
    $r = run($slot, -I => lsn_text($last), -E => 'now', '--state', "$dir/i.json");
    $r->exited(4, '-I back to what was acknowledged');
    my $saved = slurp("$dir/i.json");
    my $now = $pg->wal_lsn;
    $r = run($slot, -I => $now, -E => 'now', '--state', "$dir/i.json");
    $r->exited(2, '-I with a state file, beyond its position');
    is(slurp("$dir/i.json"), $saved, 'which is left alone');
    $r = run($slot, -I => $now, '--force', -E => 'now', '--state', "$dir/i.json");
    $r->exited(0, '-I --force with a state file');
    is($r->out, '', 'skips');
    cmp_ok(lsn_num(JSON::PP->new->decode(slurp("$dir/i.json"))->{lsn}), '>=', lsn_num($now), 'and that is on record');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('i')));
}

# ---- startup modes ----

sub mode ($mode, $slot, @more) {
    return Cdc->run(server => $pg, db => 'shop', args => [-S => $slot, '-m', $mode, '-e', 'plain', '-t', 't', @more]);
}

for my $mode (qw(latest-offset never no_data schema_only)) {
    my $slot = 'new_' . ($mode =~ s/-/_/r);
    my $r = mode($mode, $slot, -E => 'now');
    $r->exited(0, "-m $mode, a new slot");
    is($r->out, '', 'begins with nothing');
    is($pg->slot($slot)->{plugin}, 'pgoutput', 'the slot is there');
    is($pg->sql('shop', "SELECT string_agg(tablename, ',') FROM pg_publication_tables WHERE pubname = 'cdcdump_$slot'"), 't',
        'and a publication of the captured table');
    $pg->sql('shop', 'UPDATE t SET name = name WHERE id = 1');
    $r = mode($mode, $slot, -E => 'now');
    is(scalar($r->lines), $mode eq 'latest-offset' ? 0 : 1, "-m $mode, an existing slot: " . ($mode eq 'latest-offset' ? 'skips' : 'does not skip'));
    $pg->sql('shop', 'UPDATE t SET name = name WHERE id = 1');
    $r = mode('never', $slot, -E => 'now');
    is(scalar($r->lines), 1, 'then what came since');
}
for my $mode (qw(committed-offset schema_only_recovery recovery)) {
    my $r = mode($mode, 'none', -E => 'now');
    $r->exited(2, "-m $mode without a slot");
    like($r->err, qr/replication slot "none" does not exist/, 'says so');
    is($pg->slot('none'), undef, 'and creates none');
    is($pg->sql('shop', q(SELECT count(*) FROM pg_publication WHERE pubname = 'cdcdump_none')), 0, 'nor a publication');
    mode('never', 'new_never', -E => 'now');
    $pg->sql('shop', 'UPDATE t SET name = name WHERE id = 2');
    is(scalar(mode($mode, 'new_never', -E => 'now')->lines), 1, "-m $mode with one: goes on");
}
for my $mode (qw(initial when_needed)) {
    my $r = mode($mode, 'new_never', -E => 'now', '--state', "$dir/mode.json");
    $r->exited(2, "-m $mode without a state file: not yet") unless -e "$dir/mode.json";
    mode('never', 'new_never', -E => 'now', '--state', "$dir/mode.json")->exited(0, 'a state file');
    $pg->sql('shop', 'UPDATE t SET name = name WHERE id = 3');
    $r = mode($mode, 'new_never', -E => 'now', '--state', "$dir/mode.json");
    $r->exited(0, "-m $mode with a state file that fits: goes on");
    is(scalar($r->lines), 1, 'with what came since');
    unlink "$dir/mode.json";
}
$pg->sql('shop', 'UPDATE t SET name = name WHERE id = 3');
{
    mode('never', 'new_never', -E => 'now', '--state', "$dir/mode.json")->exited(0, 'a state file');
    $pg->sql('shop', 'UPDATE t SET name = name WHERE id = 4');
    my $r = mode('latest-offset', 'new_never', -E => 'now', '--state', "$dir/mode.json");
    is(scalar($r->lines), 1, 'a state file wins over latest-offset');
    $pg->sql('shop', 'UPDATE t SET name = name WHERE id = 5');
    $r = mode('committed-offset', 'new_never', -E => 'now', '--state', "$dir/mode.json");
    is(scalar($r->lines), 1, 'and over committed-offset');
}

done_testing;
