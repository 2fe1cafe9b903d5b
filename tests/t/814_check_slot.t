# --check: the slot, the state file, the output that it knows, and whether they agree.
use v5.36;
use CdcTest;
use CdcTest::Check;

my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => { min_wal_size => '2MB', max_wal_size => '4MB' });
my $version = $pg->version;
$pg->create_db($_) for qw(shop other);
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();
my $check = CdcTest::Check->new(server => $pg, db => 'shop', dir => $dir);

sub args ($name, @more) { return (-S => $name, '-m' => 'never', '--state' => "$dir/$name.json", @more) }
sub file_args ($name, @more) { return args($name, -f => "$dir/$name.out", @more) }
sub capture ($name, @more) {
    return Cdc->run(server => $pg, db => 'shop', args => [file_args($name, -E => 'now', @more)])->exited(0, "$name: captured");
}
my $id = 0;
sub insert ($n = 1) { $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$id . ", 'x')") for 1 .. $n }
sub error_is ($c, $regex, $name) { return like($c->line('error'), $regex, $name) }

# ---- slots that are not for this capture ----

error_is($check->predicts(2, 'no slot', qw(-S none -m committed-offset)),
    qr/^error: replication slot "none" does not exist; remedy: Create it first, or use -m never, which creates it$/, 'no slot');
$pg->sql('shop', q(SELECT pg_create_physical_replication_slot('physical'); SELECT pg_create_logical_replication_slot('testing', 'test_decoding')));
$pg->sql('other', q(SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')));
error_is($check->predicts(2, 'a physical slot', qw(-S physical -m never)),
    qr/^error: replication slot "physical" is a physical slot; remedy: Changes can only be read from a logical slot; choose another name$/, 'a physical slot');
error_is($check->predicts(2, 'another database', qw(-S elsewhere -m never)),
    qr/^error: replication slot "elsewhere" belongs to database "other", not to "shop"$/, 'another database');
my $c = $check->predicts(2, 'another plugin', qw(-S testing -m never -P pgoutput));
error_is($c, qr/^error: replication slot "testing" was created for plugin "test_decoding", not for "pgoutput"; remedy: .*, or use -P test_decoding$/, 'another plugin');
$check->predicts(0, 'another plugin, as told', qw(-S testing -m never), $c->remedy(qr/plugin/) =~ /use (-P) (\w+)/);
SKIP: {
    skip_without($version >= 15, 'prepared transactions came with 15', 6);
    $pg->sql('shop', q(SELECT pg_create_logical_replication_slot('prepared', 'pgoutput', false, true); CREATE PUBLICATION cdcdump_prepared FOR TABLE t));
    $c = $check->predicts(2, 'a slot of two phases', qw(-S prepared -m committed-offset));
    error_is($c, qr/^error: replication slot "prepared" gives prepared transactions before they are committed; remedy: Add --two-phase --transactions, or /, 'a slot of two phases');
}

$pg->sql('shop', q(SELECT pg_create_logical_replication_slot('older', 'pgoutput')));
like($check->looks(0, 'a slot without its publication', qw(-S older -m never))->line('warning', qr/younger/),
    qr/^warning: publication "cdcdump_older" would be younger than replication slot "older": .*; remedy: .* -m latest-offset$/, 'a slot without its publication');

# ---- where to begin ----

capture('start', '--transactions');
my $begin = $pg->slot('start')->{confirmed_flush_lsn};
insert();
my $now = $pg->wal_lsn;
my @start = qw(-S start -m committed-offset -I);
error_is($check->predicts(2, 'changes that would be skipped', @start, $now), qr/^error: starting at \S+ would skip unread changes from \S+ on; remedy: Add --force to skip them$/, 'changes that would be skipped');
error_is($check->predicts(2, 'beyond the WAL', @start, 'FFFF/0', '--force'), qr/^error: start position FFFF\/0 lies beyond the server's WAL/, 'beyond the WAL');
error_is($check->predicts(4, 'before the slot', @start, '0/1'), qr/^error: position lost: replication slot "start" has no changes before \S+, but the start is to be 0\/1$/, 'before the slot');
error_is($check->looks(2, 'no time', qw(-S start -m committed-offset -E nonsense)), qr/^error: could not read the timestamp: /, 'no time');

# ---- the state file ----

insert();
capture('state');
insert(3);
capture('state');
my $state = JSON::PP->new->decode(slurp("$dir/state.json"));
$c = $check->predicts(0, 'a state file that fits', file_args('state'));
is($c->line('ok', qr/state file/), qq(ok: state file "$dir/state.json" is whole: it is at $state->{lsn}), 'a state file that fits');
is($c->line('ok', qr/output file/), qq(ok: output file "$dir/state.out" can be written), 'the output file that it knows');
error_is($check->predicts(2, 'the state of another slot', qw(-S start -m never --state), "$dir/state.json"), qr/^error: state file "\S+" belongs to another replication slot: "state", not "start"; remedy: /, 'the state of another slot');
like($check->predicts(2, 'the state of another publication', args('state', qw(--publication other)))->line("error", qr/state file "/), qr/^error: state file "\S+" belongs to another publication: /, 'the state of another publication');
my $whole = slurp("$dir/state.json");
spew("$dir/state.json", substr $whole, 0, length($whole) / 2);
error_is($check->predicts(2, 'a torn state file', file_args('state')), qr/^error: state file "\S+" is not usable: .*; remedy: It has been left as it is\.  ?To begin anew, /, 'a torn state file');
spew("$dir/state.json", $whole);
error_is($check->predicts(2, 'no folder for the state', qw(-S x -m never --state), "$dir/nowhere/x"), qr/^error: could not open "\S+x\.lock": No such file or directory$/, 'no folder for the state');

my $accepted = slurp("$dir/state.out");
spew("$dir/state.out", substr $accepted, 0, 10);
error_is($check->predicts(2, 'an output that was cut', file_args('state')), qr/^error: output file "\S+" does not fit the state file: it is shorter than what was accepted; remedy: /, 'an output that was cut');
spew("$dir/state.out", 'x' x length $accepted);
error_is($check->predicts(2, 'an output that was changed', file_args('state')), qr/^error: output file "\S+" does not fit the state file: its accepted part has been changed; remedy: /, 'an output that was changed');
unlink "$dir/state.out";
error_is($check->predicts(2, 'an output that is missing', file_args('state')), qr/^error: output file "\S+" does not fit the state file: it is missing; remedy: /, 'an output that is missing');
spew("$dir/state.out", '');
like($check->looks(0, 'an output that was emptied', file_args('state'))->line('warning', qr/output file/), qr/ has been (?:emptied|replaced by an empty one) since the last run$/, 'an output that was emptied');

my @once = (qw(-S once -m initial_only --state), "$dir/once.json");
$check->predicts(0, 'rows alone', @once);
is($check->predicts(0, 'rows that were read', @once)->line('ok', qr/nothing/), 'ok: there is nothing left to do: all rows have been given', 'rows that were read');

my @grown = (qw(-S grown -m initial --state), "$dir/grown.json");
$check->predicts(0, 'a table that is there', @grown);
$pg->sql('shop', 'CREATE TABLE grown (id int PRIMARY KEY)');
like($check->predicts(0, 'a table that came later', @grown)->line('ok', qr/altered/), qr/^ok: publication "cdcdump_grown" would be altered: ALTER PUBLICATION cdcdump_grown SET TABLE ONLY public\.grown, ONLY public\.t$/, 'a table that came later');
$pg->sql('shop', 'DROP TABLE grown');

# ---- what was not acknowledged ----

Cdc->run(server => $pg, db => 'shop', args => [args('later', qw(-E now))])->exited(0, 'deferred: the slot');
insert();
Cdc->run(server => $pg, db => 'shop', args => [args('later', qw(-E now --ack-mode deferred))])->exited(0, 'deferred: given');
$c = $check->looks(0, 'deferred', args('later', '--ack-mode', 'deferred'));
like($c->line('warning', qr/acknowledged/), qr{^warning: what the last run has given up to [0-9A-F]+/[0-9A-F]+ was not acknowledged, and would be given again; remedy: cdcdump --ack --state=\Q$dir\E/later\.json$}, 'deferred: what is pending is said');
my (undef, @ack) = split / /, $c->remedy(qr/acknowledged/);
Cdc->run(server => $pg, db => 'shop', args => \@ack)->exited(0, 'deferred: the remedy');
is($check->predicts(0, 'acknowledged', args('later'))->line('warning'), '', 'acknowledged: nothing is pending');

# ---- a slot that others have, and that does not move ----

my $reader = Cdc->start(server => $pg, db => 'shop', args => [args('held', '-v', -f => "$dir/held.out")]);
$reader->wait_stderr(qr/streaming from/);
insert();
$reader->wait_written($pg->wal_lsn);
$reader->kill('STOP');
insert();
wait_until(sub {
    $pg->sql('shop', q(SELECT sent_lsn > confirmed_flush_lsn FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid WHERE slot_name = 'held')) eq 't';
}, 10, 'something that is not acknowledged');
my $second = Cdc->start(server => $pg, db => 'shop', args => [qw(-S held -m never -E now)]);    # both wait a while
my $walsender = $pg->slot('held')->{active_pid};
$c = $check->looks(3, 'a slot in use', args('held'));
$second->wait->exited(3, 'a slot in use: so it is with the capture');
is($c->line('error', qr/replication slot/), qq(error: replication slot "held" is in use by process $walsender (cdcdump); remedy: SELECT pg_terminate_backend($walsender);), 'a slot in use: by whom');
like($c->line('warning', qr/acknowledged/), qr/^warning: replication slot "held": read by process $walsender \(cdcdump\), which has acknowledged nothing beyond /, 'a slot in use: why it does not move');
my $reader_pid = $reader->pid;
like($c->line('error', qr/state file/), qr/^error: state file "\S+" is in use by process $reader_pid$/, 'a state file in use: by whom');
$reader->kill('KILL');
$reader->wait;
wait_until(sub { !$pg->slot('held')->{active_pid} }, 10, 'the end of the walsender');
$check->predicts(0, 'when they have gone', args('held', -f => "$dir/held.out"));

# ---- a position that is lost ----

capture($_) for qw(ahead renewed dropped);
insert();
$pg->sql('shop', "SELECT pg_replication_slot_advance('$_', pg_current_wal_lsn())") for qw(ahead renewed);
$pg->sql('shop', q(SELECT pg_drop_replication_slot('dropped')));
error_is($check->predicts(4, 'a slot that is ahead', file_args('ahead')), qr/^error: position lost: replication slot "ahead" is at \S+, ahead of our position \S+ \(it was advanced by another consumer, .*\); remedy: To begin anew, /, 'a slot that is ahead');
error_is($check->predicts(4, 'a slot that was dropped', file_args('dropped')), qr/^error: position lost: replication slot "dropped" does not exist \(it was dropped, or .*\)/, 'a slot that was dropped');
$c = $check->predicts(0, 'a new snapshot when needed', file_args('renewed', '-m', 'when_needed'));
like($c->line('warning', qr/position lost/), qr/^warning: position lost: replication slot "renewed" is at /, 'a new snapshot when needed: the position is lost');
is($c->line('warning', qr/snapshot/), 'warning: the capture would take a new snapshot, as its startup mode says', 'a new snapshot when needed: said so');

# ---- transactions that a new slot waits for ----

my $open = $pg->session('shop');
$open->sql('BEGIN');
$open->sql('INSERT INTO t VALUES (1000)');
my $pid = $open->pid;
$pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (1001); PREPARE TRANSACTION 'it''s'));
$c = $check->looks(0, 'transactions', qw(-S waits -m never));
my @waits = grep { /waits for/ } $c->lines;
like($waits[0], qr/^warning: the creation of the replication slot waits for the transaction of process $pid \(.*idle in transaction\) since .* UTC; remedy: SELECT pg_terminate_backend\($pid\);$/, 'a transaction that is open');
is($waits[1], q(warning: the creation of the replication slot waits for prepared transaction "it's" of database "shop"; remedy: COMMIT PREPARED 'it''s';), 'a prepared transaction');
$pg->sql('shop', $_) for map { /; remedy: (.*;)$/ } @waits;
wait_until(sub { $pg->sql('shop', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") == 0 }, 10, 'the end of the session');
is($check->predicts(0, 'no transactions', qw(-S waits -m never))->line('warning'), '', 'no transactions: nothing is waited for');

# ---- a slot that the server has given up ----

SKIP: {
    skip_without($version >= 13, 'slots are not given up before 13', 14);
    $pg->sql('postgres', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name <> 'state'));
    $pg->sql('postgres', q(ALTER SYSTEM SET max_slot_wal_keep_size = '2MB'));
    $pg->reload;
    wait_until(sub { $pg->sql('postgres', 'SHOW max_slot_wal_keep_size') eq '2MB' }, 10, 'the setting');
    $c = $check->looks(0, 'little WAL is kept', qw(-S little -m never));
    is($c->line('warning'), 'warning: max_slot_wal_keep_size is 2MB: a slot that is further behind is invalidated; remedy: ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf();', 'little WAL is kept');
    wait_until(sub {
        $pg->sql('shop', "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)); SELECT pg_switch_wal(); CHECKPOINT");
        $pg->slot('state')->{wal_status} eq 'lost';
    }, 20, 'a slot that is lost');
    error_is($check->predicts(4, 'a slot that is lost', file_args('state')), qr/^error: position lost: replication slot "state" has been invalidated \(\w+\) \(the server has removed WAL or rows that the slot needs\); remedy: /, 'a slot that is lost');
    $pg->sql('postgres', $_) for split /(?<=;) /, $c->remedy(qr/max_slot/);
    wait_until(sub { $pg->sql('postgres', 'SHOW max_slot_wal_keep_size') eq '-1' }, 10, 'the setting');
    is($check->looks(0, 'as much as is needed', qw(-S little -m never))->line('warning'), '', 'as much as is needed');
}

# ---- a standby ----

my $standby = PgServer->new(backup_of => $pg, standby => 1, extra_conf => { hot_standby_feedback => 'off' });
my $there = CdcTest::Check->new(server => $standby, db => 'shop', dir => $dir);
$c = $there->predicts(2, 'a standby', qw(-S standby -m never));
like($c->line('ok', qr/PostgreSQL/), qr/, a standby$/, 'a standby: is called one');
is($c->line('error', qr/before/), $version < 16 ? 'error: before PostgreSQL 16 only a primary server gives changes; remedy: target_session_attrs=read-write' : '', 'a standby: decodes from 16 on');
like($c->line('error', qr/publication/), qr/^error: publication "cdcdump_standby" cannot be created: the server is a standby, which gets it from the primary; remedy: CREATE PUBLICATION /, 'a standby: nothing can be created');
like($c->line('warning', qr/feedback/), qr/^warning: hot_standby_feedback is off: .*; remedy: ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf\(\);$/, 'a standby: feedback');

# The slot is on the second host: the first is left behind, as it is by the capture.
capture('hosts');
$standby->wait_replayed($pg->wal_lsn);
my $both = PgServer::hosts('shop', [$standby, $pg]);
for my $how ('--check', '-v') {
    my $r = Cdc->run(args => ['-d', $both, $how, file_args('hosts', '-E', 'now')]);
    $r->exited(0, "two hosts, $how");
    like($r->out . $r->err, qr/(?:warning|error): the server is a standby, and /, "two hosts, $how: the first is not the right one");
}

done_testing;
