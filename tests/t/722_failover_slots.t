# Failover slots (PostgreSQL 17 and later): made with --failover, kept on a standby by the servers themselves,
# and read on there after its promotion.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $version = PgServer::version();
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

my $primary = PgServer->new(extra_conf => { bgwriter_delay => '10s', checkpoint_timeout => '1h' });
$primary->create_db('shop');
$primary->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t');

if ($version < 17) {
    my $r = run($primary, 's', '--failover');
    $r->exited(2, 'before 17: exit status 2');
    like($r->err, qr/error: --failover needs PostgreSQL 17 or later\nDETAIL:  The server's version is $version\./, 'before 17: says why');
    is($primary->slot('s'), undef, 'before 17: no slot is made');
    ok(!-e "$dir/s.json", 'before 17: and no state file');
    SKIP: { skip_without(0, "failover slots came with PostgreSQL 17, this is $version", 44) }
    done_testing;
    exit;
}

# ---- making one ----

my $r = Cdc->run(server => $primary, db => 'shop', args => args('x', '--failover', '--temporary-slot', -E => 'now'));
$r->exited(2, 'a temporary failover slot: exit status 2');
is($primary->slot('x'), undef, 'a temporary failover slot: is not made');
run($primary, $_, '--failover')->exited(0, "failover slot $_") for qw(s late);
ok($primary->slot('s')->{failover}, 'it is one');
run($primary, 'plain')->exited(0, 'another slot');
ok(!$primary->slot('plain')->{failover}, 'which is none');
$r = run($primary, 'plain', '--failover');
$r->exited(0, '--failover with a slot that is none');
like($r->err, qr/warning: replication slot "plain" is there already and no failover slot\nHINT/, '--failover with a slot that is none: is said');

$primary->sql('postgres', q(SELECT pg_create_physical_replication_slot('second', true)));
my $second = PgServer->new(backup_of => $primary, standby => 1,
    extra_conf => { primary_slot_name => 'second', sync_replication_slots => 'on' });

# The slot on the standby is good for something once the primary's has got beyond where the standby began.
sub synchronized ($name) {
    my $slot = $second->slot($name);
    return $slot && $slot->{synced} && !$slot->{temporary} && !$slot->{invalidation_reason};
}

wait_until(sub {
    $primary->sql('shop', 'SELECT pg_log_standby_snapshot()');
    run($primary, $_) for qw(s plain);
    synchronized('s');
}, 60, 'the slot on the standby');
is($second->slot('plain'), undef, 'no other slot gets there');
ok(!synchronized('late'), 'nor one that nobody has read since the standby began');
$primary->append_conf({ synchronized_standby_slots => 'second' });
$primary->reload;

# ---- being synchronized ----

for my $name (qw(s plain)) {
    my $before = slurp("$dir/$name.json") . slurp("$dir/$name.out");
    $r = run($second, $name);
    $r->exited(3, "the standby, slot $name: exit status 3");
    like($r->err, $name eq 's' ? qr/error: replication slot "s" is being synchronized from the primary server\nHINT/
        : qr/error: the server is a standby, and does not have our replication slot\nHINT/, "the standby, slot $name: says why");
    ok(slurp("$dir/$name.json") . slurp("$dir/$name.out") eq $before, "the standby, slot $name: file and state are as they were");
}
$r = Cdc->run(server => $second, db => 'shop', args => args('y', '--failover', -E => 'now'));
$r->exited(2, 'a failover slot cannot be made on a standby: exit status 2');
like($r->err, qr/cannot enable failover for a replication slot created on the standby/, 'a failover slot cannot be made on a standby: says why');

# ---- a standby that is waited for ----

# With -t no warning of the server's is said that may be about other tables; this one is.
{
    my $c = start($primary, 's', -t => 't');
    $c->wait_stderr(qr/streaming from/);
    insert($primary, 1);
    wait_until(sub { ids('s') eq '1' }, 20, 'a change that the standby has, too');
    $second->stop;
    insert($primary, 2);
    $c->wait_stderr(qr/warning: .*replication slot "second" specified in parameter "synchronized_standby_slots" does not have active_pid\nDETAIL/);
    ok($c->running, 'the standby is away: the run waits');
    is(ids('s'), '1', 'the standby is away: its changes are held back');
    is(scalar(() = $c->stderr =~ /does not have active_pid/g), 1, 'the standby is away: said once');
    $second->start;
    wait_until(sub { ids('s') eq '1 2' }, 30, 'the change, when the standby is there again');
    $c->stop->exited(0, 'the standby is back: goes on');

    # A name that is wrong holds it up for ever.
    $primary->append_conf({ synchronized_standby_slots => 'wrong' });
    $primary->reload;
    $c = start($primary, 's', -t => 't');
    $c->wait_stderr(qr/streaming from/);
    insert($primary, 3);
    $c->wait_stderr(qr/warning: .*replication slot "wrong" specified in parameter "synchronized_standby_slots" does not exist\nDETAIL.*\nHINT/);
    ok($c->running, 'no such standby: the run waits');
    ok(eval { $primary->stop('fast', 20) }, 'no such standby: a fast stop of the server is not held up') or diag($@);
    wait_until(sub { $c->stderr =~ /trying again/ || !$c->running }, 20, 'the end of the connection');
    ok($c->running, 'no such standby: nor is it the end of the run');
    $primary->append_conf({ synchronized_standby_slots => 'second' });
    $primary->running ? $primary->restart('immediate') : $primary->start;
    wait_until(sub { ids('s') eq '1 2 3' }, 30, 'the change, when the name is right');
    $c->stop->exited(0, 'the name is right: goes on');
}

# ---- the primary fails ----

{
    my $hosts = PgServer::hosts('shop', [$primary, $second]);
    my $c = Cdc->start(args => ['-d', $hosts, @{ args('s') }]);
    $c->wait_stderr(qr/streaming from/);
    insert($primary, 4);
    wait_until(sub { ids('s') eq '1 2 3 4' }, 30, 'a change');
    wait_until(sub { lsn_num(saved('s')->{lsn}) >= lsn_num($primary->slot('s')->{confirmed_flush_lsn}) && synchronized('s') }, 30, 'the slot');
    cmp_ok(lsn_num($second->slot('s')->{confirmed_flush_lsn}), '<=', lsn_num(saved('s')->{lsn}), 'the slot on the standby is not ahead');
    my $rows = 30_000;
    $primary->sql('shop', "INSERT INTO t SELECT g FROM generate_series(1001, 1000 + $rows) g");
    insert($primary, 5);
    $second->wait_replayed($primary->wal_lsn);
    $primary->kill9;
    # It is tried on the standby, which is not promoted yet.
    $c->wait_stderr(qr/(is being synchronized.*trying again.*){2}/s, 30);
    ok($c->running, 'before the promotion: waits');
    $second->promote;
    insert($second, 6);
    wait_until(sub { ids('s') =~ /\b6\z/ }, 30, 'the change after the promotion');
    ok($second->slot('s')->{synced}, 'though it is still called synchronized');
    $c->wait_written($second->wal_lsn);
    $c->stop->exited(0, 'after the promotion: goes on');
    is(ids('s'), join(' ', 1 .. 4, 1001 .. 1000 + $rows, 5, 6), 'after the promotion: nothing lost or doubled');
    is(saved('s')->{timeline}, 2, 'after the promotion: on the new timeline');
    insert($second, 7);
    run($second, 's')->exited(0, 'and the next run');
    like(ids('s'), qr/ 5 6 7\z/, 'with its change');
}

for my $name (qw(plain late)) {
    $r = run($second, $name);
    $r->exited(4, "$name: a slot that did not get there: exit status 4");
    like($r->err, qr/position lost: replication slot "$name" does not exist\nDETAIL: .*failover without a failover slot/, "$name: says why");
}

# ---- the old primary ----

$primary->start;
insert($primary, 901);
$r = run($primary, 's');
$r->exited(3, 'the old primary: exit status 3');
like($r->err, qr/the server is on timeline 1, but the position is on timeline 2/, 'the old primary: says why');
insert($second, 8);
$r = Cdc->run(args => ['-d', PgServer::hosts('shop', [$primary, $second]), @{ args('s', -E => 'now') }]);
$r->exited(0, 'the old primary among several hosts: the next one is taken');
like($r->err, qr/on timeline 1.*trying the next host.*streaming from/s, 'the old primary among several hosts: says so');
like(ids('s'), qr/ 6 7 8\z/, 'the old primary among several hosts: nothing of it is given');

done_testing;
