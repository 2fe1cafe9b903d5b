# Standby servers: what they cannot do before PostgreSQL 16, decoding from them since then, and a promotion
# while they are read from.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $version = PgServer::version();
my $primary = PgServer->new(extra_conf => { bgwriter_delay => '10s', checkpoint_timeout => '1h' });
$primary->create_db('shop');
$primary->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t');
my $dir = scratch();

sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '-e' => 'plain', '--publication' => 'p', '--publication-mode' => 'existing',
        '--state' => "$dir/$name.json", -f => "$dir/$name.out", '--retry-delay' => '0.1', '-v', @more];
}

sub start ($server, $name, @more) { return Cdc->start(server => $server, db => 'shop', args => args($name, @more)) }
sub run ($server, $name, @more) { return start($server, $name, -E => 'now', @more)->wait }
sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }
sub ids ($name) { return join ' ', slurp("$dir/$name.out") =~ /"row":\{"id":(\d+),/g }
sub insert ($server, @ids) { $server->sql('shop', join '', map { "INSERT INTO t VALUES ($_, 'x');" } @ids) }

# What a refusal leaves as it is.
sub refuses ($server, $name, $status, $regex, $what) {
    my $before = slurp("$dir/$name.json") . slurp("$dir/$name.out");
    my $r = run($server, $name);
    $r->exited($status, "$what: exit status $status");
    like($r->err, $regex, "$what: says why");
    unlike($r->err, qr/streaming from|trying again/, "$what: nothing was streamed");
    ok(slurp("$dir/$name.json") . slurp("$dir/$name.out") eq $before, "$what: file and state are as they were");
}

run($primary, $_)->exited(0, "slot $_") for qw(s missing window);
my $standby = PgServer->new(backup_of => $primary, standby => 1);
my $started = $standby->sql('postgres', 'SELECT pg_last_wal_replay_lsn()');
wait_until(sub {
    $primary->sql('shop', 'CHECKPOINT');
    run($primary, $_) for qw(s window);
    !grep { lsn_num($primary->slot($_)->{restart_lsn}) <= lsn_num($started) } qw(s window);
}, 30, 'slots behind the backup');
$primary->sql('shop', 'CHECKPOINT');
$standby->wait_replayed($primary->wal_lsn)->take_slot($primary, $_) for qw(s window);
my $may_decode = $version >= 16;

# ---- what a standby does not have ----

refuses($standby, 'missing', 3, $may_decode ? qr/the server is a standby, and does not have our replication slot\nHINT/
    : qr/the server is a standby, and before PostgreSQL 16 only a primary server gives changes\nHINT/, 'no slot');
refuses($standby, 's', 3, qr/before PostgreSQL 16 only a primary server gives changes/, 'with a slot') unless $may_decode;

$standby->detach;
insert($primary, 1, 2);
run($primary, 's')->exited(0, 'on the primary');
refuses($standby, 's', 3, $may_decode ? qr/the server is a standby, and has not received the WAL up to our position\nHINT/
    : qr/before PostgreSQL 16/, 'behind our position');

# Nothing can be made on a standby but a slot.
my $r = Cdc->run(server => $standby, db => 'shop', args => [qw(-S new -m never -E now)]);
$r->exited(2, 'no publication: exit status 2');
like($r->err, qr/could not create the publication: cannot execute CREATE PUBLICATION in a read-only transaction/, 'no publication: says why');
$r = Cdc->run(server => $standby, db => 'shop', args => [qw(-S new -m initial_only -e plain)]);
$r->exited(0, 'rows alone come from a standby');
$standby->attach->wait_replayed($primary->wal_lsn);
$r = Cdc->run(server => $standby, db => 'shop', args => [qw(-S new -m initial_only -e plain)]);
is(join(' ', $r->out =~ /"row":\{"id":(\d+),/g), '1 2', 'those that it has');
if (!$may_decode) {
    $r = Cdc->run(server => $standby, db => 'shop', args => [qw(-S new -m never --publication p --publication-mode existing -E now)]);
    $r->exited(2, 'a slot on a standby before 16: exit status 2');
    like($r->err, qr/could not create the replication slot: logical decoding cannot be used while in recovery/, 'a slot on a standby before 16: says why');
}

# ---- a run that is at a standby while that is promoted ----

# Without target_session_attrs the standby is taken as soon as the primary has gone.
{
    my $hosts = PgServer::hosts('shop', [$primary, $standby]);
    my $c = Cdc->start(args => ['-d', $hosts, @{ args('window') }]);
    $c->wait_stderr(qr/streaming from/);
    insert($primary, 3);
    $c->wait_written($primary->wal_lsn);
    $standby->wait_replayed($primary->wal_lsn);
    $primary->stop;
    if ($may_decode) { $c->wait_stderr(qr/(streaming from.*){2}/s) }
    else             { $c->wait_stderr(qr/(the server is a standby.*trying again.*){2}/s) }
    ok($c->running, 'before the promotion: waits');
    $standby->promote;
    insert($standby, 4);
    $c->wait_written($standby->wal_lsn, 30);
    $c->stop->exited(0, 'after the promotion: goes on');
    is(ids('window'), '1 2 3 4', 'after the promotion: nothing lost or doubled');
    insert($standby, 5);
    run($standby, 'window')->exited(0, 'and the next run, too');
    is(ids('window'), '1 2 3 4 5', 'with what has come since');
    is(saved('window')->{timeline}, 2, 'on the new timeline');

    # The old primary, which still has the slot, comes back as a standby of the new one.
    insert($standby, 50);
    $primary->follow($standby)->wait_replayed($standby->wal_lsn);
    my $r = Cdc->run(args => ['-d', $hosts, @{ args('window', -E => 'now') }]);
    $r->exited(0, 'the roles are changed: goes on');
    like($r->err, $may_decode ? qr/streaming from|reading through SQL/ : qr/the server is a standby.*trying the next host.*reading through SQL/s,
        'the roles are changed: ' . ($may_decode ? 'from the standby' : 'at the next host'));
    is(ids('window'), '1 2 3 4 5 50', 'the roles are changed: nothing lost or doubled');
    $primary->stop;
    $standby->sql('shop', 'DELETE FROM t WHERE id = 50');
}

# ---- decoding from a standby ----

SKIP: {
    skip_without($may_decode, "standby servers decode from PostgreSQL 16 on, this is $version", 16);
    my $source = $standby;    # the primary now
    my $copy = PgServer->new(backup_of => $source, standby => 1);
    my $third = PgServer->new(backup_of => $source, standby => 1);

    # A slot is made at the next record of running transactions, of which a quiet primary writes none.
    my $c = start($copy, 'made', -E => 'now');
    $c->wait_stderr(qr/waiting for running transactions before the replication slot can be created\nHINT: .*pg_log_standby_snapshot\(\)/, 20);
    $source->sql('shop', 'SELECT pg_log_standby_snapshot()');
    $c->wait->exited(0, 'a slot is made on the standby');
    is($source->slot('made'), undef, 'and only there');

    # Rows and changes from the standby.
    $c = Cdc->start(server => $copy, db => 'shop', args => [@{ args('rows', -E => 'now') }, -m => 'initial']);
    wait_until(sub { $source->sql('shop', 'SELECT pg_log_standby_snapshot()'); !$c->running }, 30, 'the snapshot');
    $c->wait->exited(0, 'a snapshot with a slot of its own');
    insert($source, 6);
    $copy->wait_replayed($source->wal_lsn);
    run($copy, $_)->exited(0, "$_: on from there") for qw(made rows);
    is(ids('made'), '6', 'the change');
    is(ids('rows'), '1 2 3 4 5 6', 'rows and change');

    # The primary falls back on another standby; this one follows without a word.
    $c = start($copy, 'made');
    $c->wait_stderr(qr/streaming from/);
    insert($source, 7);
    wait_until(sub { ids('made') eq '6 7' }, 20, 'a change through the standby');
    $_->wait_replayed($source->wal_lsn) for $copy, $third;
    $source->stop;
    $third->promote;
    $copy->append_conf({ primary_conninfo => $third->connstr('postgres') });
    $copy->reload;
    insert($third, 8);
    my $end = $third->wal_lsn;
    wait_until(sub { lsn_num(saved('made')->{lsn}) >= lsn_num($end) }, 30, 'a change of the next timeline on record');
    $c->kill('KILL');
    $c->wait;
    run($copy, 'made')->exited(0, 'its primary is another: the next run goes on');
    is(ids('made'), '6 7 8', 'its primary is another: nothing lost or doubled');
    is(saved('made')->{timeline}, 3, 'its primary is another: on its timeline');

    # And then it is promoted itself.
    $c = start($copy, 'made');
    $c->wait_stderr(qr/streaming from/);
    $copy->wait_replayed($third->wal_lsn);
    $third->stop;
    $copy->promote;
    insert($copy, 9);
    wait_until(sub { ids('made') eq '6 7 8 9' }, 30, 'a change after the promotion');
    $c->wait_written($copy->wal_lsn);
    $end = $copy->wal_lsn;
    wait_until(sub { lsn_num(saved('made')->{lsn}) >= lsn_num($end) }, 20, 'the position on record');
    is(saved('made')->{timeline}, 4, 'promoted: the new timeline is on record with the position');
    $c->stop->exited(0, 'promoted: goes on');
    insert($copy, 10);
    run($copy, $_)->exited(0, "promoted: and the next run, too ($_)") for qw(made rows);
    is(ids('made'), '6 7 8 9 10', 'promoted: nothing lost or doubled');
    is(ids('rows'), '1 2 3 4 5 6 7 8 9 10', 'promoted: nor where nobody streamed');
}

# ---- a slot of a standby that its primary's vacuum invalidates ----

SKIP: {
    skip_without($may_decode, "standby servers decode from PostgreSQL 16 on, this is $version", 5);
    my $source = PgServer->new;
    $source->create_db('shop');
    $source->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t');
    my $copy = PgServer->new(backup_of => $source, standby => 1, extra_conf => "hot_standby_feedback = off\n");
    my $c = start($copy, 'vacuum');
    wait_until(sub { $source->sql('shop', 'SELECT pg_log_standby_snapshot()'); $c->stderr =~ /streaming from/ }, 20, 'the slot');
    insert($source, 1);
    wait_until(sub { ids('vacuum') eq '1' }, 20, 'a change');
    $source->sql('shop', 'CREATE TABLE u (x int); DROP TABLE u; VACUUM FULL pg_class; VACUUM pg_attribute');
    insert($source, 2);
    my $r = $c->wait(30);
    $r->exited(4, 'rows removed: exit status 4');
    like($r->err, qr/position lost: replication slot "vacuum" has been invalidated \((?:rows_removed|lost|reserved|extended)\)/, 'rows removed: says so');
    cmp_ok(scalar(() = $r->err =~ /trying again/g), '<=', 3, 'rows removed: no endless tries');
    $r = run($copy, 'vacuum', '--retries=100');
    $r->exited(4, 'rows removed: and so the next run');
    unlike($r->err, qr/trying again/, 'rows removed: at once');
}

done_testing;
