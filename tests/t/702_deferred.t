# --ack-mode=deferred, and --ack: what a run has given is accepted afterwards, or comes again.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int)');
my $dir = scratch();

# Every slot sees all changes, so each part of this test takes one of its own.
sub state_of ($name) { return "$dir/$name.json" }
sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', -e => 'plain', -t => 't', '--state' => state_of($name), '-v', '--status-interval' => '0.1', @more];
}

sub begin ($name, @more) {
    Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, -E => 'now', @more))->exited(0, "$name: a slot");
}

sub start ($name, $stdout, @more) {
    return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => args($name, '--ack-mode=deferred', @more));
}
sub run ($name, @more) { return start($name, 'pipe', -E => 'now', @more)->wait }
sub ack ($name, @more) { return Cdc->run(server => $pg, db => 'shop', args => ['--ack', '--state' => state_of($name), @more]) }

my $last_id = 0;
sub insert ($n = 3, $width = 10) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', $width) FROM generate_series($first, $last_id) g");
}

sub ids ($bytes) {
    my @ids = $bytes =~ /^\{"op":"[cr]",.*?"row":\{"id":(\d+)/mg;
    return @ids ? "$ids[0]..$ids[-1]" . (@ids == $ids[-1] - $ids[0] + 1 ? '' : ' ' . @ids) : '';
}
sub last_ids ($n) { return $last_id - $n + 1 . "..$last_id" }

sub last_commit ($bytes) { return lsn_num(($bytes =~ /"commit_lsn":"([^"]+)"/g)[-1]) }

sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub record_of ($name) { return JSON::PP->new->decode(slurp(state_of($name))) }
sub saved ($name) { return lsn_num(record_of($name)->{lsn}) }
sub pending ($name) { return exists record_of($name)->{pending} }

# That nothing has been accepted; $position is [state file, slot] before.
sub position ($name) { return [saved($name), confirmed($name)] }
sub stands ($name, $position, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is_deeply(position($name), $position, $what);
}

# ---- options ----

for my $case (
    ['deferred without --state', ['--ack-mode=deferred', -S => 's', -m => 'never'], qr/--state/],
    ['deferred with placeholders in --file', [@{ args('never') }, '--ack-mode=deferred', -f => "$dir/{table}"], qr/deferred/],
    ['--ack without --state', ['--ack'], qr/--state/],
    ['--ack without a state file', ['--ack', '--state' => "$dir/none.json"], qr/\Q$dir\E\/none\.json/],
) {
    my ($what, $args, $words) = @$case;
    my $r = Cdc->run(server => $pg, db => 'shop', args => $args);
    $r->exited(2, "refused: $what");
    like($r->err, $words, '… and says so');
    is($r->out, '', '… without output');
}
ok(!-e "$dir/none.json" && !-e "$dir/none.json.lock", '--ack makes no file');
is($pg->slot('never'), undef, 'nor does a slot come into being');

# ---- a run, and what it has given ----

{
    my $name = 'plain';
    begin($name);
    my $r = ack($name);
    $r->exited(0, 'nothing is pending: status 0');
    like($r->err, qr/nothing/, '… and says so');
    insert();
    my $before = position($name);
    my $first = run($name);
    $first->exited(0, 'a deferred run');
    is(ids($first->out), last_ids(3), '… gives the changes');
    stands($name, $before, '… and acknowledges nothing');
    ok(pending($name), '… but has left word of what it gave');
    insert(2);
    my $second = run($name);
    is(ids($second->out), last_ids(5), 'without --ack the next run gives them again, and more');
    stands($name, $before, '… and acknowledges nothing either');
    $r = ack($name);
    $r->exited(0, '--ack');
    is($r->out, '', '… is silent on standard output');
    my $end = last_commit($second->out);
    cmp_ok(saved($name), '>', $end, '… moves the position behind what the last run gave');
    is(confirmed($name), saved($name), '… and the slot');
    ok(!pending($name), '… and nothing is pending any more');
    $before = position($name);
    my $content = slurp(state_of($name));
    $r = ack($name);
    $r->exited(0, 'once more');
    like($r->err, qr/nothing/, '… there is nothing to be acknowledged');
    stands($name, $before, '… and nothing is');
    is(slurp(state_of($name)), $content, '… nor is the file touched');
    insert();
    $r = run($name);
    is(ids($r->out), last_ids(3), 'the next run goes on behind it');
    # what came after the run is not in it
    insert();
    ack($name)->exited(0, '--ack after more changes');
    is(ids(run($name)->out), last_ids(3), '… takes just what had been given');
    $r = ack($name, qw(-q));
    is($r->err, '', '--ack -q says nothing');

    # a run in another mode takes up where --ack left
    insert();
    run($name)->exited(0, 'deferred again');
    ok(pending($name), '… pending');
    my $other = Cdc->run(server => $pg, db => 'shop', args => args($name, -E => 'now'));
    is(ids($other->out), last_ids(3), 'a run that acknowledges by itself gives it again');
    ok(!pending($name), '… and then nothing is pending');
    my $stands = position($name);
    ack($name)->exited(0, '… so --ack has nothing to do');
    stands($name, $stands, '… and does nothing');
}

# ---- runs that end otherwise ----

{
    my $name = 'otherwise';
    begin($name);
    insert();
    my $before = position($name);
    run($name)->exited(0, 'a run that ends well');
    ok(pending($name), '… leaves a position');
    insert(20_000, 100);
    my $c = start($name, 'pipe', -E => 'now');
    $c->read_lines(1);
    ok(!pending($name), 'the next run has removed it before its first output');
    ok($c->kill('KILL'), '… and is killed');
    $c->wait;
    ok(!pending($name), '… leaving none');
    my $r = ack($name);
    $r->exited(0, '--ack after it');
    like($r->err, qr/nothing/, '… finds nothing');
    stands($name, $before, '… and moves nothing');

    $c = start($name, 'pipe', -E => 'now');
    $c->read_lines(1);
    $c->close_stdout;
    $c->wait->signaled('PIPE', 'a reader that goes');
    ok(!pending($name), '… leaves none');

    Cdc->run(server => $pg, db => 'shop', stdout => '>/dev/full', args => args($name, '--ack-mode=deferred', -E => 'now'))
        ->exited(5, 'an output that is full');
    ok(!pending($name), '… leaves none');
    stands($name, $before, '… and nothing has moved');

    # Stopped by a signal, it ends well: with the transactions that it has given whole.
    $c = start($name, 'pipe');
    $c->read_until(qr/"id":$last_id,/);
    $c->wait_written($pg->wal_lsn);
    insert();
    $c->read_until(qr/"id":$last_id,/);
    $c->wait_written($pg->wal_lsn);
    $r = $c->stop('TERM');
    $r->exited(0, 'a run that is stopped');
    ok(pending($name), '… leaves a position');
    stands($name, $before, '… and moves nothing');
    ack($name)->exited(0, '… which --ack takes');
    cmp_ok(saved($name), '>', last_commit($r->out), '… behind what was given');
    is(run($name)->out, '', 'and nothing comes again');

    insert();
    $c = start($name, 'pipe', '--retries=0');
    $c->read_until(qr/"id":$last_id,/);
    $pg->stop('immediate');
    $c->wait->exited(3, 'a connection that is lost');
    ok(!pending($name), '… leaves none');
    $pg->start;
    is(ids(run($name)->out), last_ids(3), '… and its changes come again');
    ack($name)->exited(0, '… to be acknowledged');

    $pg->stop;
    $r = start($name, 'pipe', -E => 'now')->wait;
    $r->exited(3, 'a server that is away');
    insert() if $pg->start;
    run($name)->exited(0, 'and back');
    ok(pending($name), '… leaves a position');
    $before = position($name);
    $pg->stop;
    ack($name)->exited(3, '--ack while the server is away: status 3');
    ok(pending($name), '… keeps it');
    $pg->start;
    is(saved($name), $before->[0], '… and moves nothing');
    ack($name)->exited(0, '--ack when it is back');
    is(ids(run($name)->out), '', '… and nothing comes again');
}

# ---- an empty run, and positions without changes ----

{
    my $name = 'empty';
    begin($name);
    insert();
    run($name)->exited(0, 'a run with changes');
    ack($name)->exited(0, 'acknowledged');
    my $before = position($name);
    $pg->sql('shop', 'INSERT INTO other VALUES (1)');
    my $end = lsn_num($pg->wal_lsn);
    my $r = run($name);
    $r->exited(0, 'a run without changes');
    is($r->out, '', '… gives nothing');
    stands($name, $before, '… and acknowledges nothing');
    ack($name)->exited(0, '--ack after it');
    cmp_ok(confirmed($name), '>=', $before->[1], 'the slot does not go back');
}

# ---- what the position belongs to ----

{
    my $name = 'belongs';
    begin($name);
    insert();
    run($name)->exited(0, 'belongs: a run');
    my $before = position($name);
    for my $case (['-S', ['-S', 'plain'], qr/slot/], ['-P', ['-P', 'test_decoding'], qr/plugin/], ['--publication', ['--publication=other'], qr/publication/]) {
        my ($what, $args, $words) = @$case;
        my $r = ack($name, @$args);
        $r->exited(2, "--ack with another $what: status 2");
        like($r->err, $words, '… and says so');
    }
    my $c = start($name, 'pipe');
    $c->wait_stderr(qr/streaming from/);
    my $r = ack($name);
    $r->exited(3, '--ack while a run uses the state file: status 3');
    like($r->err, qr/in use|holds|process/, '… and says so');
    $c->stop->exited(0, '… which goes on until it is stopped');

    my $stranger = PgServer->new;
    $stranger->create_db('shop');
    $stranger->sql('shop', "CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION cdcdump_$name FOR TABLE t;
        SELECT pg_create_logical_replication_slot('$name', 'pgoutput')");
    $r = Cdc->run(server => $stranger, db => 'shop', args => ['--ack', '--state' => state_of($name)]);
    $r->exited(2, '--ack at another system: status 2');
    $stranger->remove;
    $pg->create_db('another');
    $r = Cdc->run(server => $pg, db => 'another', args => ['--ack', '--state' => state_of($name)]);
    $r->exited(2, '--ack at another database: status 2');
    stands($name, $before, 'none of them moves the position');
    ok(pending($name), '… nor forgets what is pending');
    ack($name, @{ args($name) })->exited(0, '--ack with the options of the run');
    cmp_ok(saved($name), '>', $before->[0], '… moves it');

    insert();
    run($name)->exited(0, 'belongs: another run');
    my $content = slurp(state_of($name));
    insert();
    $pg->sql('shop', "SELECT pg_replication_slot_advance('$name', pg_current_wal_lsn())");
    $r = ack($name);
    $r->exited(4, '--ack of a slot that is ahead: status 4');
    is(slurp(state_of($name)), $content, '… leaves the state file alone');
    $pg->sql('shop', "SELECT pg_drop_replication_slot('$name')");
    $r = ack($name);
    $r->exited(4, '--ack of a slot that is not there: status 4');
    like($r->err, qr/replication slot "$name" does not exist/, '… and says so');
    is(slurp(state_of($name)), $content, '… leaves the state file alone');
    is($pg->slot($name), undef, '… and makes no slot');
    spew(state_of($name), substr $content, 0, -10);
    ack($name)->exited(2, '--ack of a torn state file: status 2');
    is(slurp(state_of($name)), substr($content, 0, -10), '… which is left alone');
}

# ---- killed in between ----

SKIP: {
    my $strace = CdcTest::Process::find_program('strace');
    my $works = $strace && eval {
        CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', '-e', 'inject=write:signal=KILL:when=1', 'echo'])->{signal};
    };
    skip_without($works, 'strace cannot inject signals here', 12);
    my $name = 'killed';
    begin($name);
    my $traced = sub ($call, $n) {
        my $r = Cdc->run(server => $pg, db => 'shop', args => ['--ack', '--state' => state_of($name)],
            env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
            wrap => [$strace, '-qq', '-o', '/dev/null', '-e', "trace=$call", '-e', "inject=$call:signal=KILL:when=$n"]);
        return defined $r->signal && $r->signal == 9;
    };
    # the new state file is synced, renamed, the folder is synced
    for my $step ([fsync => 1, 0], [rename => 1, 0], [fsync => 2, 1]) {
        my ($call, $n, $moved) = @$step;
        insert();
        run($name)->exited(0, "$call $n: a run");
        my $before = position($name);
        ok($traced->($call, $n), "$call $n: --ack is killed there");
        is(saved($name) > $before->[0] ? 1 : 0, $moved, "$call $n: the position " . ($moved ? 'is on record' : 'is the old one'));
        is(confirmed($name), $before->[1], "$call $n: the slot has not been moved");
        ack($name)->exited(0, "$call $n: --ack again");
        cmp_ok(saved($name), '>', $before->[0], "$call $n: the position is on record");
        is(confirmed($name), saved($name), "$call $n: and the slot has been moved");
        is(run($name)->out, '', "$call $n: nothing comes again");
        ack($name);
    }
}

# ---- regular files ----

for my $how ('-f', '>>') {
    my $name = $how eq '-f' ? 'named' : 'appended';
    my $file = "$dir/$name.out";
    begin($name);
    my $start = $last_id;
    my @run = $how eq '-f' ? ('null', -E => 'now', -f => $file) : (">>$file", -E => 'now');
    my $go = sub ($what) { start($name, @run)->wait->exited(0, "$how: $what") };
    insert();
    $go->('a run');
    my $before = position($name);
    is(ids(slurp($file)), last_ids(3), "$how: has given the changes");
    insert(2);
    $go->('another without --ack');
    is(ids(slurp($file)), last_ids(5), "$how: has taken back what was not acknowledged, and given it again");
    stands($name, $before, "$how: without --ack the position does not move");
    ack($name)->exited(0, "$how: --ack");
    cmp_ok(confirmed($name), '>', $before->[1], "$how: moves it");
    insert();
    $go->('after --ack');
    is(ids(slurp($file)), $start + 1 . "..$last_id", "$how: the next run appends");
    # killed, it leaves more than was acknowledged
    insert(20_000, 100);
    my $c = start($name, @run, '--transport=stream');    # which takes its time
    wait_until(sub { -s $file > 100_000 }, 20, 'output');
    ok($c->kill('KILL'), "$how: killed");
    $c->wait;
    ack($name)->exited(0, "$how: --ack after a kill");
    $go->('after the kill');
    is(ids(slurp($file)), $start + 1 . "..$last_id", "$how: every change once");
    ack($name)->exited(0, "$how: --ack");
    my $length = -s $file;
    $go->('with nothing to give');
    is(-s $file, $length, "$how: nothing comes again");
}

# ---- rows ----

for my $kind ('consistent', 'incremental') {
    my $name = "rows_$kind";
    $pg->sql('shop', 'TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 250) g');
    $last_id = 250;
    my @more = ('-m' => 'initial', "--snapshot=$kind", $kind eq 'incremental' ? '--chunk-size=100' : ());
    for my $n (1, 2) {
        my $r = run($name, @more);
        $r->exited(0, "$kind: run $n without --ack");
        is(gist($r), 'r1..250', "$kind: gives all rows");
    }
    ack($name)->exited(0, "$kind: --ack");
    is(run($name, @more)->out, '', "$kind: the rows do not come again");
    insert();
    my $r = run($name, @more);
    is(gist($r), 'c251..253', "$kind: then the changes");
    is(gist(run($name, @more)), 'c251..253', "$kind: again, without --ack");
    ack($name)->exited(0, "$kind: --ack");
    is(run($name, @more)->out, '', "$kind: and then no more");
}

# Modes that come to an end by themselves: that, too, is for --ack to say.
for my $mode (qw(initial_only snapshot)) {
    my $name = "mode_$mode";
    my $how = [-S => $name, '-m' => $mode, -e => 'plain', -t => 't', '--state' => state_of($name), '--ack-mode=deferred'];
    my $count = $pg->sql('shop', 'SELECT count(*) FROM t');
    for my $n (1, 2) {
        my $r = Cdc->run(server => $pg, db => 'shop', args => $how);
        $r->exited(0, "$mode: run $n");
        is(scalar $r->lines, $count, "$mode: gives the rows");
    }
    ack($name)->exited(0, "$mode: --ack");
    my $r = Cdc->run(server => $pg, db => 'shop', args => $how);
    $r->exited(0, "$mode: nothing is left to do");
    is($r->out, '', "$mode: nor given");
    is($pg->slot($name), undef, "$mode: and no slot is left behind");
}

# ---- a slot that is in use ----

{
    my $name = 'busy';
    begin($name);
    insert();
    run($name)->exited(0, 'busy: a run');
    my $before = position($name);
    my $other = CdcTest::Process->spawn(argv => [PgServer::bindir() . '/pg_recvlogical', '-d', $pg->connstr('shop'), '-S', $name, '--start', '-f', '-',
        '-o', 'proto_version=1', '-o', "publication_names=cdcdump_$name"], stdout => 'null', stderr => 'null', stdin => 'null');
    wait_until(sub { $pg->slot($name)->{active} }, 10, 'another reader');
    ack($name)->exited(3, '--ack of a slot that is in use: status 3');
    ok(pending($name) || saved($name) > $before->[0], '… loses nothing');
    $other->kill('KILL');
    wait_until(sub { !$pg->slot($name)->{active} }, 10, 'its end');
    ack($name)->exited(0, '… and goes well later');
    cmp_ok(saved($name), '>', $before->[0], '… with the position on record');
    is(confirmed($name), saved($name), '… and the slot told');
}

# ---- status 6 ----

{
    my $name = 'columns';
    my @csv = (-F => 'csv', -e => 'flink', '--changelog-mode=upsert');
    $pg->sql('shop', 'CREATE TABLE c (id int PRIMARY KEY, v text)');
    my $args = [-S => $name, '-m' => 'never', -t => 'c', @csv, '--state' => state_of($name), -E => 'now'];
    Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => $args)->exited(0, 'columns: a slot');
    $pg->sql('shop', q(INSERT INTO c VALUES (1, 'x'); ALTER TABLE c ADD w int; INSERT INTO c VALUES (2, 'y', 3)));
    my $go = sub { Cdc->run(server => $pg, db => 'shop', args => [@$args, '--ack-mode=deferred']) };
    for my $n (1, 2) {
        my $r = $go->();
        $r->exited(6, "columns: run $n ends where they change");
        like($r->out, qr/,1,x,/, '… having given what came before');
        unlike($r->out, qr/,2,y,/, '… and no more');
    }
    ok(pending($name), 'columns: and has left a position');
    ack($name)->exited(0, '… which --ack takes');
    my $r = $go->();
    $r->exited(0, 'columns: the next run goes on behind it');
    like($r->out, qr/,2,y,3,/, '… with the new ones');
    unlike($r->out, qr/,1,x,/, '… alone');
}

# ---- not held up ----

{
    my $name = 'fast';
    begin($name);
    my $c = start($name, 'pipe', '--retry-delay=0.1');
    insert();
    $c->read_until(qr/"id":$last_id,/);
    my $before = position($name);
    # the connection is alive, and what was given is not acknowledged
    my $began = time;
    ok(eval { $pg->stop('fast', 15) }, 'a fast stop of the server is not held up') or $pg->stop('immediate');
    note sprintf 'stopped in %.2f s', time - $began;
    $pg->start;
    insert();
    my @lines = $c->read_until(qr/"id":$last_id,/);
    is(ids(join '', map { "$_\n" } @lines), last_ids(3), '… and the run goes on without repeating anything');
    is(saved($name), $before->[0], '… still having acknowledged nothing');
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'fast: stopped');
    ack($name)->exited(0, 'fast: --ack');
    is(run($name)->out, '', 'fast: nothing comes again');
}

# ---- as it is meant to be used ----

{
    my $name = 'pipeline';
    begin($name);
    insert();
    my $pipeline = sub ($reader) {
        return CdcTest::Process->capture(argv => ['bash', '-o', 'pipefail', '-c', qq("\$0" "\$@" --ack-mode=deferred -E now | $reader && "\$0" "\$@" --ack),
            $Cdc::BINARY, -d => $pg->connstr('shop'), @{ args($name) }])->{exit};
    };
    isnt($pipeline->("cat > $dir/p1; exit 7"), 0, 'pipeline: a reader that fails');
    is($pipeline->("cat > $dir/p2"), 0, 'pipeline: one that does not');
    is(slurp("$dir/p2"), slurp("$dir/p1"), '… gets the same');
    is(ids(slurp("$dir/p2")), last_ids(3), '… which is all');
    is($pipeline->("cat > $dir/p3"), 0, 'pipeline: the next time');
    is(slurp("$dir/p3"), '', '… nothing comes again');
}

done_testing;
