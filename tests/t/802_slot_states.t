# Slots in every state that there is a way to, and why each of them does not move; a terminal's view of it.
use v5.36;
use utf8;
use CdcTest;
use Encode qw(decode_utf8 encode_utf8);
use Fcntl qw(O_RDWR O_NOCTTY);
use JSON::PP ();

my $version = PgServer::version();
my $limits = $version >= 13;
my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => { max_wal_size => '1GB' });
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY)');
$pg->sql('postgres', 'CREATE ROLE poor LOGIN');

my $process = qr/process (\d+)/;
my $moment = qr/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/;

sub list (@args) { return Cdc->run(server => $pg, args => ['--list-slots', @args]) }
sub look ($name, %opts) {
    my ($line) = Cdc->run(args => ['-d', $pg->connstr('shop', %opts), qw(--list-slots -F ndjson -S), $name])->lines;
    return JSON::PP::decode_json($line // '{}');
}
sub reason ($name, %opts) { return look($name, %opts)->{reason} }
sub notes ($name) { return (split /\n\n/, list(-S => $name)->out)[1] =~ s/\n +/ /gr }

sub capture ($name, %how) {
    my $args = delete $how{args} // [];
    my $c = Cdc->start(server => $pg, db => 'shop', args => [-S => $name, qw(-P test_decoding -m never -v), @$args], %how);
    $c->wait_stderr(qr/streaming from/);
    return $c;
}

my $rows = 0;
sub insert () { $rows++; $pg->sql('shop', "INSERT INTO t VALUES ($rows)") }
sub segments ($n) { $pg->sql('shop', 'CREATE TABLE x (); DROP TABLE x; SELECT pg_switch_wal()') for 1 .. $n }

# ---- nobody reads it ----

$pg->sql('shop', q(SELECT pg_create_logical_replication_slot(s, 'test_decoding') FROM unnest(ARRAY['s', 'idle']) AS s));
my $row = look('idle');
like($row->{reason}, $version >= 17 ? qr/\Anobody reads it since $moment/ : qr/\Anobody reads it\z/, 'nobody reads it');
is($row->{active_pid}, undef, 'nobody reads it: no process');

# ---- somebody does, and keeps up ----

# Status messages that come often, so that nothing is outstanding for long.
my $c = capture('s', stdout => 'null', args => ['--status-interval', '0.1']);
insert();
wait_until(sub { my $r = look('s'); $r->{lag_bytes} == 0 && !defined $r->{reason} }, 20, 'a slot that has nothing left to give');
is(look('s')->{active_pid}, $pg->slot('s')->{active_pid}, 'it is read: by whom');
wait_until(sub { !defined reason('s', user => 'poor') }, 20, 'nothing to be seen by others, either');
wait_until(sub { list()->out !~ /^s:/m }, 20, 'a table that says nothing about it');
pass('it is read: there is nothing to be said');

# ---- a transaction holds it back ----

for my $kind ('an open transaction', 'a prepared transaction') {
    my $session = $pg->session('shop');
    $session->sql('BEGIN; INSERT INTO t VALUES (-1)');
    my $pid = $session->pid;
    $session->sql(q(PREPARE TRANSACTION E'odd\x1b[31m"one"')) if $kind =~ /prepared/;
    # Which transactions are running is written down at a checkpoint; the slot learns of it when that was acknowledged.
    wait_until(sub {
        $pg->sql('shop', 'CHECKPOINT');
        insert();
        return (reason('s') // '') =~ /holds back/;
    }, 30, "$kind to hold the slot back");
    my $who = $kind =~ /prepared/ ? qr/prepared transaction "odd\x1b\[31m"one"" of $moment/ : qr/the transaction of process $pid \(psql, idle in transaction since $moment\)/;
    like(reason('s'), qr/(?:\A|; )$who holds back its restart_lsn\z/, "$kind holds it back: why");
    cmp_ok(look('s')->{retained_bytes}, '>', 0, "$kind holds it back: WAL is kept");
    if ($kind =~ /prepared/) {
        like(notes('s'), qr/prepared transaction "odd\?\[31m"one"" of/, "$kind holds it back: the terminal is left alone");
        like(notes('s'), qr/ COMMIT PREPARED E?'odd/, "$kind holds it back: what to do");
        $pg->sql('shop', q(ROLLBACK PREPARED E'odd\x1b[31m"one"'));
    } else {
        like(reason('s', user => 'poor'), qr/the transaction of process $pid \(psql\) holds back its restart_lsn\z/, "$kind holds it back: what others may know");
        like(notes('s'), qr/ SELECT pg_terminate_backend\($pid\);/, "$kind holds it back: what to do");
        $session->sql('ROLLBACK');
    }
    wait_until(sub { $pg->sql('shop', 'CHECKPOINT'); insert(); (reason('s') // '') !~ /holds back/ }, 30, "the end of $kind");
    pass("$kind holds it back: and then no more");
}
$c->stop->exited(0, 'the one who read it');

# ---- somebody does, and does not acknowledge ----

# Nobody takes anything out of the pipe.
$c = capture('s', tcp => 1, env => { PGAPPNAME => "my\x07 app" }, args => ['--stall-timeout', '600']);
my $before = $pg->slot('s')->{confirmed_flush_lsn};
insert();
wait_until(sub { (reason('s') // '') =~ /acknowledged nothing/ }, 20, 'a change that is not acknowledged');
my $name = $version >= 16 ? 'my\\x07 app' : 'my? app';
$row = look('s');
like($row->{reason}, qr/\Aread by process $row->{active_pid} \(\Q$name\E, 127\.0\.0\.1\), which has acknowledged nothing beyond $row->{confirmed_lsn} yet, \d+ k?B less than the server has decoded for it\z/,
    'not acknowledged: why');
is(reason('s', user => 'poor'), "read by process $row->{active_pid} ($name); how far, only members of pg_read_all_stats can see", 'not acknowledged: what others may know');
my ($poor) = Cdc->run(args => ['-d', $pg->connstr('shop', user => 'poor'), qw(--list-slots -S s)])->out =~ /^ +(GRANT .*;)$/m;
is($poor, 'GRANT pg_read_all_stats TO poor;', 'not acknowledged: how others can see more');
$pg->sql('postgres', $poor // '');
is(reason('s', user => 'poor') =~ s/\d+ k?B less/N less/r, $row->{reason} =~ s/\d+ k?B less/N less/r, 'and with that they do');

# A server process that does nothing for the moment.
{
    $pg->sql('shop', q(SELECT pg_create_logical_replication_slot('halted', 'test_decoding')));
    my $reader = capture('halted', stdout => 'null', args => ['--status-interval', '0.1']);
    my ($halted, $why);
    for (1 .. 5) {    # the server writes to the WAL by itself, too, now and then
        wait_until(sub { !defined reason('halted') }, 20, 'a slot that is at the end');
        $halted = look('halted');
        kill 'STOP', $halted->{active_pid} or die "could not halt the walsender: $!";
        insert();
        $why = reason('halted');
        kill 'CONT', $halted->{active_pid};
        last if $why =~ /decoding/;
    }
    like($why, qr/\Aread by process $halted->{active_pid} \(cdcdump\), for which the server is decoding WAL behind $halted->{confirmed_lsn}\z/,
        'a change that has not been decoded: why');
    $reader->stop->exited(0, 'and its reader');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('halted')));
}

# A transaction that is larger than what lies between the server and a reader who has stopped.
{
    $pg->sql('shop', q(CREATE TABLE big (v text); SELECT pg_create_logical_replication_slot('stuck', 'test_decoding')));
    my $reader = capture('stuck', args => ['--stall-timeout', '600']);
    $pg->sql('shop', q(INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 8000)));
    wait_until(sub { (reason('stuck') // '') =~ /nothing more is taken/ }, 20, 'a reader that takes no more');
    my $stuck = look('stuck');
    like($stuck->{reason}, qr/\Aread by process $stuck->{active_pid} \(cdcdump\), .*, and nothing more is taken from its connection\z/, 'a reader that takes no more: why');
    $reader->kill('KILL');
    Cdc->run(server => $pg, db => 'shop', args => [qw(--drop-slot -S stuck)])->exited(0, 'and its slot can be dropped');
}

# ---- in use, and to be dropped ----

my $r = Cdc->run(server => $pg, db => 'shop', args => [qw(--drop-slot -S s)]);
$r->exited(3, 'a slot in use is not dropped: exit status 3');
is($r->err, qq(cdcdump: error: replication slot "s" is in use by process $row->{active_pid} ($name, 127.0.0.1)\n), 'a slot in use is not dropped: by whom');
ok($pg->slot('s'), 'a slot in use is not dropped: it is there');
$c->kill('KILL');
$r = Cdc->run(server => $pg, db => 'shop', args => [qw(--drop-slot -S s)]);
$r->exited(0, 'a slot whose reader is just ending: is waited for');
$c->wait;

# ---- temporary ones, and held by other means ----

my $walsender = $pg->session('shop', replication => 'database', application_name => 'holder');
$walsender->sql('CREATE_REPLICATION_SLOT passing TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT');
my $session = $pg->session('shop', application_name => 'asker');
my $asker = $session->pid;
$session->sql(q(SELECT pg_create_logical_replication_slot('asked', 'test_decoding', true)));
insert();
$row = look('passing');
ok($row->{temporary}, 'a temporary slot: it is one');
is($row->{reason}, "held by process $row->{active_pid} (holder), which has not begun to read", 'a temporary slot: why');
like(notes('passing'), qr/^passing \(temporary\): held by/, 'a temporary slot: the table tells it apart');
is(reason('asked'), "held by process $asker (asker), which reads by SQL functions", 'a slot of an ordinary session: why');
$_->close for $walsender, $session;
wait_until(sub { !$pg->slot('passing') && !$pg->slot('asked') }, 20, 'the end of temporary slots');

# ---- failover slots ----

SKIP: {
    skip_without($version >= 17, 'failover slots come with 17', 7);
    $pg->sql('shop', q(SELECT pg_create_physical_replication_slot('second', true); SELECT pg_create_logical_replication_slot('kept', 'test_decoding', false, false, true)));
    my $second = PgServer->new(backup_of => $pg, standby => 1, extra_conf => { primary_slot_name => 'second', sync_replication_slots => 'on' });
    wait_until(sub {
        $pg->sql('shop', q(SELECT pg_log_standby_snapshot(); SELECT count(*) FROM pg_logical_slot_get_changes('kept', NULL, NULL)));
        my $slot = $second->slot('kept');
        return $slot && $slot->{synced} && !$slot->{temporary};
    }, 60, 'the slot on the standby');
    my $r = Cdc->run(server => $second, args => [qw(--list-slots -S kept -F ndjson)]);
    my $there = JSON::PP::decode_json($r->out);
    is($there->{reason}, 'being synchronized from the primary', 'on a standby: why');
    like($there->{lag_bytes}, qr/\A\d+\z/, 'on a standby: its lag');
    $r = Cdc->run(server => $second, args => [qw(--drop-slot -S kept)]);
    $r->exited(2, 'on a standby: is not dropped, exit status 2');
    like($r->err, qr/error: replication slot "kept" is being synchronized from the primary server\nHINT/, 'on a standby: is not dropped, and why');
    like(Cdc->run(server => $second, args => ['--list-slots'])->out, qr/^kept \(failover, synced\): being synchronized/m, 'on a standby: the table');

    $second->stop;
    my $c = capture('kept', stdout => 'null');
    for (['second', 'which no standby uses at the moment'], ['wrong', 'which does not exist']) {
        my ($name, $what) = @$_;
        $pg->append_conf({ synchronized_standby_slots => $name });
        $pg->reload;
        insert();
        wait_until(sub { (reason('kept') // '') =~ /"$name"/ }, 20, 'a standby that is waited for');
        is(reason('kept'), qq(waits for standby slot "$name" (synchronized_standby_slots), $what), "a standby that is waited for: $what");
    }
    $pg->append_conf({ synchronized_standby_slots => '' });
    $pg->reload;
    $c->kill('KILL');
    $pg->sql('postgres', q(SELECT pg_drop_replication_slot('second')));
}

# ---- in danger, and lost ----

SKIP: {
    skip_without($limits, 'limits for slots come with 13', 9);
    $pg->sql('shop', q(SELECT pg_create_logical_replication_slot('doomed', 'test_decoding'); SELECT pg_drop_replication_slot('idle')));
    $pg->append_conf({ max_slot_wal_keep_size => '6MB' });
    $pg->reload;
    segments(4);
    wait_until(sub { $pg->sql('postgres', 'SHOW max_slot_wal_keep_size') eq '6MB' }, 20, 'the setting');
    like(reason('doomed'), qr/\Anobody reads it.*; another \d+ kB of WAL will invalidate it \(max_slot_wal_keep_size\)\z/, 'close to the limit: why');
    like(notes('doomed'), qr/; raise max_slot_wal_keep_size$/m, 'close to the limit: what to do');
    segments(4);
    $row = look('doomed');
    is($row->{state}, 'unreserved', 'beyond the limit: its state');
    like($row->{reason}, qr/\Anobody reads it.*; the next checkpoint will remove WAL that it needs\z/, 'beyond the limit: why');
    $pg->sql('postgres', 'CHECKPOINT');
    $row = look('doomed');
    is($row->{state}, $version >= 17 ? 'wal_removed' : 'lost', 'lost: its state');
    is($row->{reason}, "invalidated ($row->{state}): what it has not given yet is lost, drop it and take a new snapshot", 'lost: why');
    is($row->{retained_bytes}, undef, 'lost: nothing is kept for it');
    like(notes('doomed'), qr/ SELECT pg_drop_replication_slot\('doomed'\);$/m, 'lost: what to do');
    Cdc->run(server => $pg, db => 'shop', args => [qw(--drop-slot -S doomed)])->exited(0, 'lost: can be dropped');
}

# ---- names that spoil a table, and terminals that are too narrow for it ----

my $wide = "数据库\x1b[2J\x{85}\x{202e}e\x{301}" . 'n' x 20;
my $slot = 'a_slot_with_a_name_that_is_longer_than_most_terminals_like_it';
$pg->create_db($wide);
$pg->sql($wide, qq(SELECT pg_create_logical_replication_slot('$slot', 'test_decoding'); SELECT pg_create_logical_replication_slot('b', 'test_decoding')));

# What a line takes of a terminal: no column for the accent, two for each of the characters in front.
sub width ($line) { return length($line =~ s/\x{301}//gr) + (() = $line =~ /[数据库]/g) }

my $out = decode_utf8(list()->out);
unlike($out, qr/[^\n -~数据库e\x{301}]/, 'no control character gets through');
like($out, qr/数据库\?\[2J\?\?e\x{301}nnn/, 'and the rest of the name does');
my ($lines) = split /\n\n/, $out;
my %starts;    # where the LSN stands
for (split /\n/, $lines) { $starts{ width($1) }++ if m{\A((?:b|a_slot).*? )[0-9A-F]+/[0-9A-F]+ } }
is(join(',', values %starts), 2, 'the columns are even');
is(JSON::PP::decode_json((list(qw(-F ndjson -S b))->lines)[0])->{database}, $wide, 'programs get the name as it is');

# A terminal of its own, $columns wide: what is shown on it.
sub on_terminal ($columns, @args) {
    sysopen my $master, '/dev/ptmx', O_RDWR | O_NOCTTY or return undef;
    my ($unlock, $number) = (pack('i', 0), pack('i', 0));
    ioctl $master, 0x40045431, $unlock or return undef;     # TIOCSPTLCK
    ioctl $master, 0x80045430, $number or return undef;     # TIOCGPTN
    sysopen my $terminal, '/dev/pts/' . unpack('i', $number), O_RDWR | O_NOCTTY or return undef;
    ioctl $terminal, 0x5414, pack('S4', 24, $columns, 0, 0) or return undef;    # TIOCSWINSZ
    my $r = Cdc->run(server => $pg, args => ['--list-slots', @args], stdout => $terminal);
    $r->exited(0, "on a terminal of $columns columns");
    sysread $master, my $shown, 65536;
    return decode_utf8($shown) =~ s/\r\n/\n/gr;
}

SKIP: {
    my $shown = on_terminal(90);
    skip_without(defined $shown, 'no terminals can be made here', 5);
    my ($table) = split /\n\n/, $shown;
    is(join("\n", grep { width($_) > 90 } split /\n/, $table), '', 'it fits');
    like($shown, qr/^a_slot_\w*…  /m, 'long names are cut in the table');
    like($shown, qr/^\Q$slot\E: nobody/m, 'and whole below it') or diag(encode_utf8($shown));
    like(on_terminal(200), qr/^\Q$slot\E  test_decoding  /m, 'a wide terminal has room for all of it');
}

# ---- a server that has gone ----

$pg->stop;
$r = list();
$r->exited(3, 'no server: exit status 3');
is($r->out, '', 'no server: no table');

done_testing;
