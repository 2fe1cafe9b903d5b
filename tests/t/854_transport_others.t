# Reading through SQL: others who consume the slot meanwhile, and what speaks against it.
use v5.36;
use CdcTest;
use CdcTest::Transports;
use Time::HiRes qw(sleep);
use lib "$Cdc::TOP/tests/torture/lib";
use Torture::Proxy;

my $slots = 8;    # that the server has
my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => { max_replication_slots => $slots, max_prepared_transactions => 4 });
create_ones($pg, 'shop', 4000);
my $dir = scratch();
my $slot;

# A slot with the whole backlog.
sub fresh () {
    $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot')") if $slot && $pg->slot($slot);
    $slot = fresh_slot($pg, 'shop');
}

sub args (@how) { return ['-S', $slot, qw(-m never -e plain --publication-mode existing --publication p), '--state', "$dir/$slot.json",
    (grep { $_ eq '--transport=stream' } @how) ? () : @SMALL, @how] }
sub run (@how) { return Cdc->run(server => $pg, db => 'shop', args => args(@how)) }
sub recorded () { return lsn_num(JSON::PP->new->decode(slurp("$dir/$slot.json"))->{lsn}) }
sub confirmed () { return lsn_num($pg->slot($slot)->{confirmed_flush_lsn}) }

# As a consumer of another kind does it, when nobody holds the slot.
sub consume ($sql) {
    wait_until(sub {
        my ($status, undef, $err) = $pg->try_sql('shop', $sql);
        die $err if $status && $err !~ /is active for PID/;
        return $status == 0;
    }, 20, 'the slot to be free');
}

fresh();
my $whole = run('-E', 'now', '--transport=stream')->out;
is($whole =~ tr/\n//, 4000, 'the backlog') or BAIL_OUT('no backlog');

# ---- others ----

# Another capture of the same slot has to wait, although nobody holds the slot itself.  It does so for some seconds:
# what comes of it is looked at below.
$pg->sql('shop', "SELECT pg_copy_logical_replication_slot('kept', 'pair')");
my @pair = (server => $pg, db => 'shop');
my @of_pair = (qw(-S pair -m never -e plain --publication-mode existing --publication p -E now), @SMALL);
my $one = Cdc->start(@pair, args => [@of_pair, qw(--transport=sql --stall-timeout=600)]);
$one->read_lines(100);
my $other = Cdc->start(@pair, args => \@of_pair);

# Its reader stands still in the first part of the backlog while $meddle is done, and goes on slowly from there, until
# it has been noticed.
sub disturbed ($meddle, $notices, @how) {
    fresh();
    my $c = Cdc->start(server => $pg, db => 'shop', args => args(qw(--transport=sql --stall-timeout=600 -E now), @how));
    $c->read_lines(100);
    $meddle->();
    while ($c->running && $c->stderr !~ $notices) {
        last unless $c->read_lines(20);
        sleep 0.05;
    }
    my $r = $c->wait;
    like($r->err, $notices, 'it is noticed');
    cmp_ok(pieces($r), '>', 1, 'through SQL');
    return $r;
}

my $moved = qr/warning: replication slot "\w+" has been moved by another consumer: it is at /;
my $read = "pg_logical_slot_get_binary_changes('SLOT', NULL, %s, 'proto_version', '1', 'publication_names', 'p')";

my $r = disturbed(sub { consume("SELECT pg_replication_slot_advance('$slot', pg_current_wal_flush_lsn())") }, $moved);
$r->exited(4, 'the slot moved ahead of the output: exit status 4');
like($r->err, qr/error: position lost: replication slot "$slot" is at \S+, ahead of our position/, 'and says why');
ok(length $r->out < length $whole && index($whole, $r->out) == 0, 'what it gave is the beginning');
cmp_ok(recorded(), '<', confirmed(), 'the position is that of the output');

$r = disturbed(sub { consume("SELECT count(*) FROM " . sprintf $read =~ s/SLOT/$slot/r, 12) }, $moved);
$r->exited(0, 'the slot moved, but not ahead of the output: goes on');
same($r->out, $whole, 'nothing lost and nothing doubled');
cmp_ok(confirmed(), '<=', recorded(), 'the slot is not ahead of the position');

$r = disturbed(sub { consume("SELECT pg_drop_replication_slot('$slot')") }, qr/warning: replication slot "\w+" has been dropped while it was read/);
$r->exited(4, 'the slot dropped: exit status 4');
like($r->err, qr/error: position lost: replication slot "$slot" does not exist/, 'and says why');
ok(length $r->out < length $whole && index($whole, $r->out) == 0, 'what it gave is the beginning');

$r = disturbed(sub { consume("SELECT pg_drop_replication_slot('$slot'); SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')") }, $moved);
$r->exited(4, 'the slot dropped and made anew: exit status 4');

# Who only looks does no harm.
{
    fresh();
    my $c = Cdc->start(server => $pg, db => 'shop', args => args(qw(--transport=sql --stall-timeout=600 -E now)));
    $c->read_lines(100);
    my $before = confirmed();
    my $looked = Cdc->run(server => $pg, db => 'shop', args => ['--peek', '-S', $slot, qw(--publication p -e plain --count=50)]);
    $looked->exited(0, '--peek meanwhile');
    is(length $looked->out, length join('', map { "$_\n" } ($looked->lines)[0 .. 49]), 'gives something');
    ok(index($whole, $looked->out) >= 0, 'of what is there');
    $pg->sql('shop', 'SELECT count(*) FROM ' . sprintf $read =~ s/SLOT/$slot/r =~ s/get/peek/r, 'NULL');
    $r = $c->wait;
    $r->exited(0, 'the capture goes on');
    unlike($r->err, $moved, 'and has nothing to say of it');
    same($r->out, $whole, 'it gives all');
    cmp_ok(confirmed(), '>', $before, 'the slot has moved');
}
# Two captures of a slot.
$r = $other->wait;
$r->exited(3, 'a slot that is read through SQL: exit status 3');
like($r->err, qr/error: replication slot "pair" is in use by process \d+/, 'a slot that is read through SQL: says so');
is($r->out, '', 'a slot that is read through SQL: nothing is given');
$r = $one->wait;
$r->exited(0, 'the one that reads it goes on');
same($r->out, $whole, 'and gives everything');
cmp_ok(pieces($r), '>', 1, 'through SQL');
$pg->sql('shop', "SELECT pg_drop_replication_slot('pair')");
copies_are_gone($pg, 'others');

# ---- what speaks against it ----

# With auto the stream is taken, and -v says why; sql refuses.  %conn: of the connection.
sub against ($why, $conn, @how) {
    my %result;
    fresh();
    for my $way ('--transport=sql', '--transport=auto') {
        my $before = confirmed();
        my $conninfo = $pg->connstr('shop', %$conn);
        $result{$way} = Cdc->run(args => ['-d', $conninfo, @{ args($way, '-E', 'now', @how) }]);
        is(confirmed(), $before, "$why: the slot is where it was") if $way =~ /sql/;
    }
    my ($sql, $auto) = @result{'--transport=sql', '--transport=auto'};
    $sql->exited(2, "$why, sql: exit status 2");
    like($sql->err, qr/^cdcdump: error: .*$why/m, "$why, sql: says so");
    $auto->exited(0, "$why, auto: exit status 0");
    like($auto->err, qr/^cdcdump: not reading through SQL: .*$why/m, "$why, auto: says so");
    is(streams($auto), 1, "$why, auto: streams") or diag($auto->err);
    same($auto->out, $whole, "$why, auto: everything");
    return $sql;
}

# A pooler: what is said to be the session's process is not.
{
    my $proxy = Torture::Proxy->new($pg->port);
    $proxy->ask('pids', 1);
    my $r = against('a connection pooler lies before the server', { tcp => 1, port => $proxy->port });
    is($r->out, '', 'a pooler: nothing is given');
}

# A role that may not call one of the functions.
$pg->sql('shop', 'CREATE ROLE app LOGIN REPLICATION; GRANT SELECT ON t TO app');
for my $function ('pg_copy_logical_replication_slot(name, name, boolean)', 'pg_logical_slot_peek_binary_changes(name, pg_lsn, integer, text[])',
    'pg_logical_slot_get_binary_changes(name, pg_lsn, integer, text[])', 'pg_replication_slot_advance(name, pg_lsn)') {
    my ($name) = $function =~ /(\w+)/;
    $pg->sql('shop', "REVOKE EXECUTE ON FUNCTION $function FROM PUBLIC");
    my $r = against("permission denied for function $name", { user => 'app' });
    is($r->out, '', "$name: nothing is given");
    $pg->sql('shop', "GRANT EXECUTE ON FUNCTION $function TO PUBLIC");
}

# What the slot is for.
{
    my @temporary = ('-S', 'temp', qw(-m never --temporary-slot -E now -v --publication-mode existing --publication p));
    my $r = Cdc->run(server => $pg, db => 'shop', args => \@temporary);
    $r->exited(0, 'a temporary slot, auto: exit status 0');
    like($r->err, qr/^cdcdump: not reading through SQL: a temporary slot is the replication connection's alone\n/m, 'a temporary slot, auto: says so');
    is(streams($r), 1, 'a temporary slot, auto: streams');
}
SKIP: {
    skip_without($pg->version >= 14, 'two-phase slots came with PostgreSQL 14', 4);
    $pg->sql('shop', "SELECT pg_create_logical_replication_slot('two', 'pgoutput', false, true)");
    $pg->sql('shop', "BEGIN; INSERT INTO t VALUES (-1, 'two'); PREPARE TRANSACTION 'a'; COMMIT PREPARED 'a'; DELETE FROM t WHERE id < 0");
    my $r = Cdc->run(server => $pg, db => 'shop', args => [qw(-S two -m never -E now -v -e plain --two-phase --transactions --publication-mode existing --publication p)]);
    $r->exited(0, 'a two-phase slot, auto: exit status 0');
    like($r->err, qr/^cdcdump: not reading through SQL: .*prepared transactions\n/m, 'a two-phase slot, auto: says so');
    is(streams($r), 1, 'a two-phase slot, auto: streams');
    like($r->out, qr/"op":"prepare".*"op":"commit_prepared".*"op":"d"/s, 'a two-phase slot, auto: gives what is there');
    $pg->sql('shop', "SELECT pg_drop_replication_slot('two')");
}

# No slot to make a copy with, or for one reader only.
for my $left (1, 2) {
    my @others = map { "other$_" } 1 .. $slots - 2 - $left + 1;    # beside "kept" and ours
    fresh();    # by now there is a little more
    my $whole = run('-E', 'now', '--transport=stream')->out;
    fresh();
    $pg->sql('shop', join ';', map { "SELECT pg_create_physical_replication_slot('$_')" } @others);
    my $free = $pg->sql('shop', "SELECT $slots - count(*) FROM pg_replication_slots");
    is($free, $left - 1, "$free free slots");
    if ($free == 0) {
        my $before = confirmed();
        $r = run(qw(--transport=sql -E now));
        $r->exited(2, 'no free slot, sql: exit status 2');
        like($r->err, qr/error: could not copy the replication slot: all replication slots are in use/, 'no free slot, sql: says so');
        is(confirmed(), $before, 'no free slot, sql: the slot is where it was');
        $r = run(qw(-E now));
        like($r->err, qr/not reading through SQL: .*all replication slots are in use/, 'no free slot, auto: says so');
        is(streams($r), 1, 'no free slot, auto: streams');
    } else {
        $r = run(qw(--transport=sql -E now));
        like($r->err, qr/reading with one connection: .*all replication slots are in use/, 'one free slot: says so');
        cmp_ok(pieces($r), '>', 1, 'one free slot: through SQL');
    }
    $r->exited(0, "$free free slots: exit status 0");
    same($r->out, $whole, "$free free slots: everything");
    $pg->sql('shop', join ';', map { "SELECT pg_drop_replication_slot('$_')" } @others);
}

done_testing;
