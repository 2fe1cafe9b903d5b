# Incremental snapshots beside writers: each row comes once, each later change once, nothing is
# missing, and rows that move while they are read are followed.
#
# CDCTEST_SEED, CDCTEST_ROUNDS: as in 400_snapshot_oracle.t.
use v5.36;
use CdcTest;
use CdcTest::Snapshots;
use Time::HiRes qw(sleep time);

my $first = $ENV{CDCTEST_SEED} // int(time * 1000) % 1_000_000;
note "seed $first";
END { diag("seed $first") if defined $first && !Test::More->builder->is_passing }

my $pg = PgServer->new;
my @how = (server => $pg, dir => scratch());
sub beside ($name, @more) { CdcTest::Snapshots::beside($name, @how, @more) }
sub ends ($name, $mode, @more) { CdcTest::Snapshots::ends($name, $mode, @how, @more) }

sub args (@more) { return (args => ['--snapshot' => 'incremental', @more]) }

for my $seed ($first .. $first + ($ENV{CDCTEST_ROUNDS} // 1) - 1) {
    note "---- seed $seed";
    my @seed = (seed => $seed);
    beside('incremental, a new slot', @seed, args('--chunk-size' => 7), rows => 200, stop => 1, crossed => 150);
    beside('incremental, a slot that was there', @seed, args('--chunk-size' => 3), slot => 1, publication => 1, held => 1, rows => 120,
        crossed => 150);
    beside('incremental, by a column', @seed, args('--chunk-size' => 20, '--chunk-key' => 'category'), rows => 400,
        writers => { tables => [qw(w_cat w_pair w_num)] }, relaxed => ['public.w_cat'], stop => 1, crossed => 50);
    ends('mode snapshot, incremental', 'snapshot', @seed, args('--chunk-size' => 20));
}
my $moves = $CdcTest::Snapshots::CROSSED{deletes} + $CdcTest::Snapshots::CROSSED{inserts};
cmp_ok($moves, '>', 0, "rows moved over the place that was reached ($moves)") unless $CdcTest::Snapshots::ONLY;

# ---- at single points ----

# A table that is read in chunks of 100, and cdcdump stopped after the first of them, or some more: a busy
# machine may let it read on before it is stopped, and then another one is taken.
sub stopped_after_one (@what) {
    for (1 .. 20) {
        my $s = stopped_soon(@what);
        return $s if rows_given($s) <= $s->{rows} / 2;
        $s->{c}->stop('KILL');
        wait_until(sub { !$pg->slot($s->{slot})->{active} }, 10, "the end of the slot's user");
        $pg->sql('postgres', "SELECT pg_drop_replication_slot('$s->{slot}')");
    }
    die "it could not be stopped in the midst of the rows\n";
}

sub stopped_soon ($name, $rows, $identity = 'DEFAULT') {
    state $n = 0;
    my ($db, $slot) = ('point' . ++$n, "point$n");
    $pg->create_db($db);
    $pg->sql($db, "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY $identity;
        INSERT INTO t SELECT g, 'x' FROM generate_series(1, $rows) g");
    my %s = (db => $db, slot => $slot, rows => $rows, out => "$how[3]/$slot.out", session => $pg->session($db));
    $s{run} = [server => $pg, db => $db, stdout => 'null', args => [-S => $slot, '-m' => 'initial', '--snapshot' => 'incremental',
        '--chunk-size' => 100, '--state' => "$how[3]/$slot.json", -f => $s{out}, '-v', '--status-interval' => '0.05']];
    $s{c} = Cdc->start(@{ $s{run} });
    sleep 0.0002 until -s $s{out} || !$s{c}->running;
    $s{c}->kill('STOP');
    return \%s;
}

sub rows_given ($s) { return scalar(() = slurp($s->{out}) =~ /"op":"r"/g) }

sub judge ($s, $name) {
    my $end = lsn_num($pg->sql($s->{db}, 'SELECT pg_current_wal_insert_lsn()'));
    wait_until(sub {
        my $state = JSON::PP->new->decode(slurp("$how[3]/$s->{slot}.json"));
        $state->{phase} eq 'streaming' && lsn_num($state->{lsn}) >= $end;
    }, 20, "$name: all rows");
    $s->{c}->stop('TERM')->exited(0, "$name: stopped");
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1)->apply_file($s->{out});
    $oracle->faultless("$name: each row once");
    $oracle->compare($pg, $s->{db}, 'public.t', name => "$name: the table in the end");
    $pg->sql('postgres', "SELECT pg_drop_replication_slot('$s->{slot}')");
}

# Commits that are streamed before they are visible, as a standby has not confirmed them.
for my $case (['left out', "UPDATE t SET v = 'new' WHERE id = 4990"], ['left out, and killed', "UPDATE t SET v = 'new' WHERE id = 4990", 1],
        ['moved', 'UPDATE t SET id = 0 WHERE id = 4990'], ['moved away', 'UPDATE t SET id = 9999 WHERE id = 1']) {
    my ($what, $change, $kill) = @$case;
    my $name = "a commit that waits, $what";
    next if $name !~ $CdcTest::Snapshots::ONLY;
    my $s = stopped_after_one($name, 5000);
    $pg->append_conf({ synchronous_standby_names => 'nobody' });
    $pg->reload;
    wait_until(sub { $s->{session}->sql('SHOW synchronous_standby_names') eq 'nobody' }, 10, 'the setting');
    $s->{session}->send($change);
    wait_until(sub { $pg->sql($s->{db}, q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep')) }, 10, 'a commit that waits');
    $s->{c}->kill('CONT');
    sleep 0.4;
    if ($kill) {
        $s->{c}->stop('KILL');
        $s->{c} = Cdc->start(@{ $s->{run} });
        sleep 0.6;
    }
    my $given = rows_given($s);
    cmp_ok($given, '<', 5000, "$name: reading waits, too") and note("$given rows");
    $pg->append_conf({ synchronous_standby_names => '' });
    $pg->reload;
    $s->{session}->finish;
    judge($s, $name);
}

# Truncated while the stream is far behind.
for my $whole (0, 1) {
    my $name = 'truncated, ' . ($whole ? 'read to the end' : 'read on');
    next if $name !~ $CdcTest::Snapshots::ONLY;
    my $s = stopped_after_one($name, 5000);
    my $walsender = $pg->sql($s->{db}, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = '$s->{slot}'");
    kill STOP => $walsender;
    my $more = $whole ? '(5), (1500)' : '(5), ' . join ', ', map { '(' . (1000 + $_) . ')' } 1 .. 3000;
    $pg->sql($s->{db}, "TRUNCATE t; INSERT INTO t VALUES $more; UPDATE t SET v = 'newer' WHERE id = 5; UPDATE t SET id = 6 WHERE id = 1001");
    $s->{c}->kill('CONT');
    sleep 0.3;
    kill CONT => $walsender;
    judge($s, $name);
}
done_testing;
