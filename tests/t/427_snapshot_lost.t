# Connections that are lost while rows are read, snapshots over several runs, and what becomes of
# their slots.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(extra_conf => { max_connections => 60 });
$pg->create_db('shop');
my $dir = scratch();
my $n = 0;    # t has the rows 1 .. $n

sub sql ($text) { return $pg->sql('shop', $text) }
sub add ($many = 1) { sql('INSERT INTO t SELECT g, repeat(g::text, 3) FROM generate_series(' . ($n + 1) . ', ' . ($n + $many) . ') g'); $n += $many }

sub args ($slot, $mode, @more) { return [-S => $slot, -m => $mode, -t => 't', @more] }
sub start ($slot, $mode, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($slot, $mode, @more)) }
sub run ($slot, $mode, @more) { return start($slot, $mode, @more)->wait(20) }
sub state_of ($slot) { return ('--state', "$dir/$slot.json") }
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }

sub gives ($r, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $r->exited(0, "$name: status 0");
    is(gist($r), $want, "$name: gives " . ($want || 'nothing'));
    return $r;
}

sub has_slot ($slot, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(defined $pg->slot($slot) ? 'a slot' : 'no slot', $want ? 'a slot' : 'no slot', $name);
}

sub drop ($slot) {
    wait_until(sub { !($pg->slot($slot) // {})->{active} }, 10, "the end of the slot's user");
    sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$slot'");
}

# An incremental snapshot then reads a table of whatever size by its index.
sql('CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY); ALTER DATABASE shop SET enable_sort = off; ALTER DATABASE shop SET jit = off');
add(3);
sql('CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)');

my $reading = q{state = 'active' AND query LIKE '%COPY (SELECT%TO STDOUT%' AND pid <> pg_backend_pid()};
sub readers () { return sql("SELECT count(*) FROM pg_stat_activity WHERE $reading") }
sub end_readers () { return sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE $reading") }

# Rows come up to $stop, then none for a minute.
sub slow ($stop) { return ('--snapshot-query', "public.t=SELECT id, repeat('x', 2000) AS name FROM t WHERE id < $stop OR pg_sleep(60) IS NULL") }
add(60);

# ---- connections that are lost ----

# The backend that reads rows: the one that COPYs.
sub kill_reader () { return wait_until(\&end_readers, 10, 'a reader') }

for my $slot_there (0, 1) {
    for my $jobs (1, 2) {
        run('reader', 'never', -E => 'now')->exited(0, 'a slot') if $slot_there;
        my $c = start('reader', 'initial', state_of('reader'), slow(40), -j => $jobs);
        $c->read_lines(5);
        kill_reader();
        my $r = $c->wait(10);
        $r->exited(3, "a reader connection is lost in a consistent snapshot, -j $jobs: status 3");
        like($r->err, qr/^cdcdump: error: .*(?:terminating connection|lost the connection)/m, 'says so');
        like($r->err, qr/^HINT:  The next run begins the snapshot anew\.$/m, 'and what comes next');
        add();
        $r = run('reader', 'initial', state_of('reader'), -E => 'now');
        gives($r, "r1..$n", 'it does');
        drop('reader');
        unlink "$dir/reader.json";
    }
}
{
    # initial_only has no stream that could be kept up.
    my $c = start('reader', 'initial_only', state_of('reader'), slow(40));
    $c->read_lines(5);
    kill_reader();
    $c->wait(10)->exited(3, 'a lost reader connection in initial_only');
    gives(run('reader', 'initial_only', state_of('reader')), "r1..$n", 'then it begins anew');
    unlink "$dir/reader.json";
}
# The reader stands still in the second chunk, then in the third, as long as these locks are held.
my $gate = $pg->session('shop');
my @gated = ('--snapshot-query', q(public.t=SELECT id, repeat('x', 3000) AS name FROM t
    WHERE id < 25 OR pg_advisory_lock_shared(CASE WHEN id < 45 THEN 1 ELSE 2 END) IS NOT NULL));
for my $key ([], ['--chunk-key', 'id']) {
    $gate->sql("SELECT pg_advisory_lock($_)") for 1, 2;
    my $c = start('retried', 'initial', state_of('retried'), @gated, '--snapshot=incremental', '--chunk-size=20', @$key);
    my @lines;
    for (1 .. 2) {
        push @lines, $c->read_lines(15);
        kill_reader();
        add();
        $gate->sql("SELECT pg_advisory_unlock($_)");
    }
    push @lines, $c->read_until(qr/"id":$n,/);
    my $r = $c->stop('TERM');
    $r->exited(0, 'reader connections are lost in an incremental snapshot: the run goes on');
    like($r->err, qr/going on with table public\.t/, 'says so');
    my %times;
    $times{ $_->{after}{id} }++ for records(join '', map { "$_\n" } @lines);
    is(scalar(keys %times), $n, 'no row is lost');
    is(join(' ', grep { $times{$_} > 1 } sort { $a <=> $b } keys %times), '', 'none doubled');
    drop('retried');
    unlink "$dir/retried.json";
}
# The stream's connection.
my @slower = ('--snapshot-query', q(public.t=SELECT id, repeat('x', 3000) AS name FROM t WHERE pg_sleep(0.005) IS NOT NULL));
for my $how ([], ['--snapshot=incremental', '--chunk-size=20']) {
    my $c = start('stream', 'initial', state_of('stream'), '--retry-delay=0.1', @slower, @$how);
    my @lines = $c->read_lines(5);
    wait_until(sub { $pg->slot('stream')->{active} }, 5, 'a stream');
    $pg->terminate_slot_user('stream');
    add();
    sql('UPDATE t SET name = \'after\' WHERE id = 1');
    push @lines, $c->read_until(qr/"name":"after"/);
    push @lines, $c->read_until(qr/"id":$n,/) unless grep { /"id":$n,/ } @lines;
    my $r = $c->stop('TERM');
    $r->exited(0, "@$how: the stream's connection is lost while rows are read");
    my %times;
    $times{ $_->{after}{id} }++ for grep { $_->{op} =~ /[rc]/ } records(join '', map { "$_\n" } @lines);
    is(scalar(keys %times), $n, 'no row is lost');
    is(join(' ', grep { $times{$_} > 1 } sort { $a <=> $b } keys %times), '', 'none doubled');
    drop('stream');
    unlink "$dir/stream.json";
}
# A server that goes away.
for my $how ([], ['--snapshot=incremental', '--chunk-size=20']) {
    my $c = start('crash', 'initial', state_of('crash'), '--retry-delay=0.1', slow(60), @$how);
    $c->read_lines(15);
    $pg->restart('immediate');
    if (@$how) {
        $c->wait_stderr(qr/trying again|going on/);
        $c->stop('TERM')->exited(0, 'incremental: the run waits for the server');
    } else {
        $c->wait(10)->exited(3, 'a server that crashes in a consistent snapshot: status 3');
    }
    my $r = run('crash', 'initial', state_of('crash'), -E => 'now', @$how);
    $r->exited(0, 'then the next run');
    like(gist($r), @$how ? qr/\Ar\d+\.\.$n\z/ : qr/\Ar1\.\.$n\z/, @$how ? 'goes on' : 'begins anew');
    drop('crash');
    unlink "$dir/crash.json";
}

# ---- the slot, over several runs ----

{
    # Mode snapshot, chunk by chunk, run by run; the last one drops what the first one created.
    my ($runs, $out) = (0, '');
    my $r;
    do {
        $r = run('steps', 'snapshot', '--snapshot=incremental', '--chunk-size=60', '--count=1', state_of('steps'));
        $r->exited(0, 'a step of mode snapshot') or last;
        $out .= $r->out;
    } while (++$runs < 20 && saved('steps')->{phase} ne 'complete');
    cmp_ok($runs, '>', 1, 'several of them');
    is(gist($out), "r1..$n", 'all rows in the end');
    has_slot('steps', 0, 'and no slot is left');
    $r = gives(run('steps', 'snapshot', '--snapshot=incremental', state_of('steps')), '', 'then nothing is left to do');
    # A table that has come since.
    for my $mode (qw(snapshot initial_only)) {
        my @run = (server => $pg, db => 'shop');
        Cdc->run(@run, args => [-S => "later_$mode", -m => $mode, -t => 'u', state_of("later_$mode")])->exited(0, "mode $mode with one table");
        my $r = Cdc->run(@run, args => [-S => "later_$mode", -m => $mode, -t => 'u|other2', state_of("later_$mode")]);
        $r->exited(0, "mode $mode, the same again");
        sql('CREATE TABLE other2 (id int PRIMARY KEY); INSERT INTO other2 VALUES (1)');
        $r = Cdc->run(@run, args => [-S => "later_$mode", -m => $mode, -t => 'u|other2', state_of("later_$mode")]);
        $r->exited($mode eq 'initial_only' ? 0 : 2, "mode $mode, with a table that has come since");
        is(gist($r), $mode eq 'initial_only' ? 'r1' : '', $mode eq 'initial_only' ? 'its rows come' : 'the slot has gone');
        like($r->err, qr/is complete and its replication slot has been dropped\nHINT:/, 'says so') if $mode eq 'snapshot';
        sql('DROP TABLE other2');
        has_slot("later_$mode", 0, 'no slot is left');
    }
    # Temporary slots, slots that are dropped.
    my $t = start('temp', 'initial', '--temporary-slot', '--count=' . ($n + 1));
    $t->read_until(qr/"id":$n,/);
    add();
    is(scalar($t->read_lines(1)) && $t->wait(10)->exit, 0, 'a temporary slot: rows, then changes');
    has_slot('temp', 0, 'it has gone');
    gives(run('dropped', 'initial', '--drop-slot-on-stop', -E => 'now', state_of('dropped')), "r1..$n", '--drop-slot-on-stop');
    has_slot('dropped', 0, 'drops it');
    ok(!-e "$dir/dropped.json", 'and the state file');
    run('kept', 'never', -E => 'now')->exited(0, 'a slot');
    gives(run('kept', 'initial_only', '--drop-slot-on-stop'), "r1..$n", '--drop-slot-on-stop with initial_only');
    has_slot('kept', 1, 'which has no part in a slot that is there');
    drop('kept');

    # The position is lost in the middle of an incremental snapshot.
    my @inc = ('--snapshot=incremental', '--chunk-size=50', state_of('midway'));
    gives(run('midway', 'initial', @inc, '--count=1'), 'r1..50', 'a chunk');
    drop('midway');
    add();
    run('midway', 'initial', @inc, -E => 'now')->exited(4, 'the slot is lost: status 4');
    gives(run('midway', 'when_needed', @inc, -E => 'now'), "r1..$n", 'when_needed begins with the first chunk');
    drop('midway');

    # A slot that was created by hand, before there was a publication, as the seeds tell their users.
    for my $how ([], ['--snapshot=incremental', '--chunk-size=50']) {
        sql(q(SELECT pg_create_logical_replication_slot('byhand', 'pgoutput'); DROP PUBLICATION IF EXISTS cdcdump_byhand));
        add();
        my $open = $pg->session('shop');
        $open->sql('BEGIN');
        $open->sql('INSERT INTO t VALUES (' . ($n + 1) . ", 'open')");
        my $c = start('byhand', 'initial', state_of('byhand'), @$how);
        sleep 0.3;
        $open->sql('COMMIT');
        $n++;
        $c->read_until(qr/"id":$n,/);
        add();
        my @lines = $c->read_until(qr/"id":$n,/);
        my $r = $c->stop('TERM');
        $r->exited(0, "@$how: a slot created by hand");
        is(gist($r) =~ s/^r1\.\.@{[$n - 1]} /R /r, "R c$n", 'rows and changes, and a transaction that was open when the publication was created');
        drop('byhand');
        unlink "$dir/byhand.json";
    }
}

# ---- always ----

{
    my $out = "$dir/always.out";
    my @always = (-E => 'now', state_of('always'), -f => $out);
    run('always', 'always', @always)->exited(0, 'always');
    my $before = $n;
    add();
    sql('DELETE FROM t WHERE id = 1');
    run('always', 'always', @always)->exited(0, 'always, again');
    my @records = records(slurp($out));
    is(scalar(grep { $_->{op} eq 'r' } @records), $before + $n - 1, 'the rows of both times');
    is(gist([grep { $_->{op} ne 'r' } @records]), '', 'and no change that they show');
    run('always', 'always', @always, '--snapshot=incremental', '--chunk-size=30')->exited(0, 'always, incremental');
    @records = records(slurp($out));
    is(gist([grep { $_->{source}{snapshot} eq 'incremental' } @records]), "r2..$n", 'all chunks');
    run('always', 'always', @always, '--snapshot=incremental', '--chunk-size=30', '--count=1')->exited(0, 'always, ended after a chunk');
    run('always', 'always', @always)->exited(0, 'always, behind that');
    my @last = splice @{ [records(slurp($out))] }, -($n - 1);
    is(gist(\@last), "r2..$n", 'begins with the first row again');
}

done_testing;
