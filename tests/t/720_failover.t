# The primary goes away for good and a standby takes its place: the run goes on there where nothing is
# lost, and says what is where something is.  Slots are carried over by hand, as before PostgreSQL 17.
use v5.36;
use CdcTest;
use Socket;
use Time::HiRes qw(sleep time);

my %quiet = (bgwriter_delay => '10s', checkpoint_timeout => '1h');    # nothing in the WAL but what is written here
my $first = PgServer->new(extra_conf => \%quiet);
$first->create_db('shop');
$first->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t');
my $dir = scratch();
my @all = qw(gone live history lagging cut pipe);    # slots, each with a capture of its own
my @carried = qw(live history);                      # to the standby that has everything
my @behind = qw(lagging cut pipe);                   # to the one that has not
my $rows = 80_000;

sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }
sub ids ($name) { return slurp("$dir/$name.out") =~ /"row":\{"id":(\d+),/g }
sub count ($name) { return scalar(() = ids($name)) }

sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '-e' => 'plain', '--publication' => 'p', '--publication-mode' => 'existing',
        '--state' => "$dir/$name.json", ($name eq 'pipe' ? () : (-f => "$dir/$name.out")),
        '--retry-delay' => '0.1', '-v', @more];
}

sub run ($server, $name, @more) { return Cdc->run(server => $server, db => 'shop', args => args($name, -E => 'now', @more)) }

# On any of several servers, whichever can be written to; slow beside a test that waits for a moment of it.
sub start ($name, @servers) {
    my $hosts = PgServer::hosts('shop', \@servers, target_session_attrs => 'read-write');
    my $c = Cdc->start(args => ['-d', $hosts, @{ args($name) }], wrap => [qw(nice -n 19)]);
    $c->wait_stderr(qr/streaming from/);
    return $c;
}

sub insert ($server, @ids) { $server->sql('shop', join '', map { "INSERT INTO t VALUES ($_, 'x');" } @ids) }
sub confirmed ($server, $name) { return $server->slot($name)->{confirmed_flush_lsn} }

# What a refusal has to leave as it is; a slot is asked for where there is one.
sub held ($name, $server) {
    my $slot = $server->slot($name);
    return join '|', map { -e ? slurp($_) : 'none' } "$dir/$name.json", "$dir/$name.out", $slot ? $slot->{confirmed_flush_lsn} : ();
}

sub refuses ($server, $name, $status, $regex, $what) {
    my $before = held($name, $server);
    my $r = run($server, $name);
    $r->exited($status, "$what: exit status $status");
    like($r->err, $regex, "$what: says why");
    is($r->out, '', "$what: no output");
    unlike($r->err, qr/trying again|streaming from/, "$what: nothing was streamed");
    ok(held($name, $server) eq $before, "$what: file, state and slot are as they were");
}

# ---- three servers ----

run($first, $_)->exited(0, "slot $_") for @all;
my $second = PgServer->new(backup_of => $first, standby => 1);
my $behind = PgServer->new(backup_of => $first, standby => 1);
my $started = $second->sql('postgres', 'SELECT pg_last_wal_replay_lsn()');
wait_until(sub {
    $first->sql('shop', 'CHECKPOINT');
    run($first, $_) for @all;
    !grep { lsn_num($first->slot($_)->{restart_lsn}) <= lsn_num($started) } @all;
}, 30, 'slots behind the backup');
$first->sql('shop', 'CHECKPOINT');    # which also writes the slots
$second->take_slot($first, $_) for @carried;
$behind->take_slot($first, $_) for @behind;

my %run = (gone => start('gone', $first, $second), lagging => start('lagging', $first, $behind));
insert($first, 1 .. 3);
$run{$_}->wait_written($first->wal_lsn) for qw(gone lagging);
run($first, $_) for qw(live history cut pipe);
$behind->wait_replayed($first->wal_lsn)->detach;

# ---- the primary is killed in the middle of a transaction, which one of the standbys has ----

# Those that are to stand in its middle come later: while it is written, their positions would move.
$first->sql('shop', "INSERT INTO t SELECT g, repeat('y', 200) FROM generate_series(1001, 1000 + $rows) g");
my $big = $first->wal_lsn;
$run{$_}->wait_written($big, 30) for qw(gone lagging);
$second->wait_replayed($big);
for my $name (qw(live cut)) {
    $run{$name} = start($name, $first, $name eq 'live' ? $second : $behind);
    my $deadline = time + 30;
    while (-s "$dir/$name.out" < 50_000 && time < $deadline) { sleep 0.0005 }
    $run{$name}->kill('STOP');
    cmp_ok(count($name), '<', $rows, "$name: stands in the middle of the transaction");
}
$run{pipe} = start('pipe', $first, $behind);
like(($run{pipe}->read_lines(1))[0], qr/"id":1001,/, 'pipe: so does this one, unread');
$first->kill9;
$run{$_}->kill('CONT') for qw(live cut);
$_->promote for $second, $behind;

my $r = $run{gone}->wait(20);
$r->exited(4, 'without the slot: exit status 4');
like($r->err, qr/position lost: replication slot "gone" does not exist\nDETAIL: .*failover/, 'without the slot: says so');
like($r->err, qr/trying again/, 'without the slot: it was looking for a server before');
is(saved('gone')->{timeline}, 1, 'without the slot: the timeline on record is that of the position');
is(count('gone'), 3 + $rows, 'without the slot: nothing is written');
$second->sql('shop', q(SELECT pg_create_logical_replication_slot('gone', 'pgoutput')));
insert($second, 4);
refuses($second, 'gone', 4, qr/position lost: replication slot "gone" is at \S+, ahead of our position/, 'a slot made anew');

$r = run($second, 'gone', -m => 'when_needed');
$r->exited(0, 'when_needed: takes a snapshot there');
is($r->err =~ /position lost: .*\n(?:.*\n)*.*taking a new snapshot/ ? saved('gone')->{timeline} : 'no word of it', 2, 'when_needed: on the new timeline');
insert($second, 5);
$run{live}->wait_written($second->wal_lsn, 30);
like($run{live}->stderr, qr/trying again/, 'live: the connection was lost');
$run{live}->stop->exited(0, 'live: goes on at the new primary');
is(join(' ', ids('live')), join(' ', 1 .. 3, 1001 .. 1000 + $rows, 4, 5), 'live: every change once, the one that was cut off as well');
is(saved('live')->{timeline}, 2, 'live: the new timeline is on record');
is(confirmed($second, 'live'), saved('live')->{lsn}, 'live: acknowledged there');

# ---- the standby that did not have it ----

$r = $run{lagging}->wait(20);
$r->exited(4, 'lagging: exit status 4');
like($r->err, qr/position lost: the server left timeline 1 at \S+, before our position.*\nDETAIL:  The output holds transactions/,
    'lagging: says so');
is(join(' ', ids('lagging')), join(' ', 1 .. 3, 1001 .. 1000 + $rows), 'lagging: nothing is written');
refuses($behind, 'lagging', 4, qr/the server left timeline 1/, 'lagging, once more');

# What has begun and never was: a file forgets it, the reader of a pipe cannot.
$run{cut}->wait_stderr(qr/(streaming from.*){2}/s);
ok(eval { $behind->restart('fast', 10) }, 'a fast stop is not held up by who waits for that transaction')
    or do { diag($@); $behind->restart('immediate') };
insert($behind, 6);
$run{cut}->wait_written($behind->wal_lsn, 30);
like($run{cut}->stderr, qr/transaction \d+, whose beginning had been written, has not committed/, 'cut: the transaction is missed');
$run{cut}->stop->exited(0, 'cut: goes on');
is(join(' ', ids('cut')), '1 2 3 6', 'cut: and gone from the file');
my $place = saved('pipe')->{lsn};
$r = $run{pipe}->wait(20);
$r->exited(4, 'pipe: exit status 4');
like($r->err, qr/position lost: transaction \d+, whose beginning has been written, does not come again/, 'pipe: says why');
unlike($r->out, qr/"id":6,/, 'pipe: and gives nothing of the other history');
is(saved('pipe')->{lsn}, $place, 'pipe: nothing is accepted');

# ---- the old primary is back ----

$first->start;
insert($first, 900_001);
refuses($first, 'live', 3, qr/the server is on timeline 1, but the position is on timeline 2/, 'the old primary');
{
    my $hosts = PgServer::hosts('shop', [$first, $second], target_session_attrs => 'read-write');
    insert($second, 7);
    my $r = Cdc->run(args => ['-d', $hosts, @{ args('live', -E => 'now') }]);
    $r->exited(0, 'among several hosts: the new one is found');
    like($r->err, qr/on timeline 1.*trying the next host.*reading through SQL/s, 'and that is said');
    is(join(' ', grep { $_ < 1000 || $_ > 900_000 } ids('live')), '1 2 3 4 5 7', 'and the old one gives nothing');
    $first->stop;
}

# A host that takes connections and says nothing, as one whose network has gone: the next one is tried.
{
    socket my $silent, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    bind $silent, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    listen $silent, 5;
    my ($port) = unpack_sockaddr_in(getsockname $silent);
    my $hosts = "host=127.0.0.1,127.0.0.1 port=$port," . $second->port . ' user=postgres dbname=shop connect_timeout=2';
    my $r = Cdc->run(args => ['-d', $hosts, @{ args('live', -E => 'now') }]);
    $r->exited(0, 'behind a silent host: goes on');
    like($r->err, qr/could not connect: no answer within 2 seconds from "127.0.0.1", port $port\b.*reading through SQL/s, 'behind a silent host: says so');
}

# ---- the history of timelines ----

{
    my $file = $second->data_dir . '/pg_wal/00000002.history';
    rename $file, "$file.away" or die "rename: $!";
    refuses($second, 'history', 2, qr/could not read the timeline history: could not open file/, 'without its file');
    rename "$file.away", $file or die "rename: $!";
}

# Two switches at once: its position is of the first timeline, the server is on the third.
my $third = PgServer->new(backup_of => $second, standby => 1);
$started = $third->sql('postgres', 'SELECT pg_last_wal_replay_lsn()');
wait_until(sub {
    $second->sql('shop', 'CHECKPOINT');
    run($second, 'live');
    lsn_num($second->slot('live')->{restart_lsn}) > lsn_num($started);
}, 30, 'a slot behind the backup');
$second->sql('shop', 'CHECKPOINT');
$third->take_slot($second, 'live');
insert($second, 8);
$third->wait_replayed($second->wal_lsn);
$second->stop;
$third->promote;
insert($third, 9);
is(saved('live')->{timeline}, 2, 'the position is on timeline 2');
run($third, 'live')->exited(0, 'on the third timeline');
is(saved('live')->{timeline}, 3, 'which is on record then');
is(join(' ', grep { $_ < 1000 || $_ > 900_000 } ids('live')), '1 2 3 4 5 7 8 9', 'nothing lost or doubled');

done_testing;
