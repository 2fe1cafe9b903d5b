# The state file: what it refuses to go on from, and that it survives what it must.
use v5.36;
use CdcTest;
use File::Copy qw(copy);
use Time::HiRes qw(sleep);

my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => { min_wal_size => '2MB', max_wal_size => '4MB' });
$pg->create_db($_) for qw(shop other);
$pg->sql($_, 'CREATE TABLE t (id int PRIMARY KEY, name text)') for qw(shop other);
my $dir = scratch();
chmod 0755, $dir;
my ($state, $out) = ("$dir/s.json", "$dir/s.out");

sub args (@more) { return [-S => 's', '-m' => 'never', '-e' => 'plain', '--state' => $state, -f => $out, @more] }

sub run ($server, @more) {
    return Cdc->run(server => $server, db => 'shop', stdout => 'null', args => args(-E => 'now', @more));
}

sub start (@more) { return Cdc->start(server => $pg, db => 'shop', stdout => 'null', args => args('-v', @more)) }

my $last_id = 0;
sub insert ($server = $pg, $n = 3) {
    $last_id += $n;
    $server->sql('shop', 'INSERT INTO t SELECT g, g FROM generate_series(' . ($last_id - $n + 1) . ", $last_id) g");
}

sub ids () { return join ',', map { $_->{row}{id} } records(slurp($out)) }
sub saved () { return JSON::PP->new->decode(slurp($state)) }

# A run that must not do anything: status, words, and all as it was before.
sub refuses ($name, $status, $words, %how) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $server = $how{server} // $pg;
    my @before = (slurp($state), -e $out ? slurp($out) : '');
    my $confirmed = ($how{slot} // 1) && ($server->slot('s') // {})->{confirmed_flush_lsn};
    my $r = Cdc->run(server => $server, db => $how{db} // 'shop', stdout => 'null', args => args(-E => 'now', @{ $how{args} // [] }));
    $r->exited($status, $name);
    like($r->err, $words, "$name: says so") if $words;
    ok($before[0] eq slurp($state) && $before[1] eq (-e $out ? slurp($out) : ''), "$name: state and output are left alone");
    is(($server->slot('s') // {})->{confirmed_flush_lsn}, $confirmed, "$name: nothing is acknowledged") if $confirmed;
    return $r;
}

# ---- the file itself ----

umask 022;
run($pg)->exited(0, 'a first run');
insert();
run($pg)->exited(0, 'a second one');
is(ids(), '1,2,3', 'which has written something');
my $good = slurp($state);
is((stat $state)[2] & 07777, 0600, 'its mode');
is(join(' ', glob "$dir/*"), "$state $out", 'nothing lies beside it');

my $secret = 'hush-hush';
my $r = Cdc->run(args => ['-d', $pg->connstr('shop', password => $secret), @{ args('-v', -E => 'now') }], stdout => 'null');
$r->exited(0, 'with a password');
unlike(slurp($state) . $r->err, qr/$secret/, 'the password is in no file and no message');
my $c = Cdc->start(args => ['-d', $pg->connstr('shop', password => $secret), @{ args('-v') }], stdout => 'null');
$c->wait_stderr(qr/streaming/);
is(scalar(grep { slurp($_) =~ /$secret/ } glob "$dir/*"), 0, 'while it runs, too');
$c->stop;
$good = slurp($state);

# Cut at every byte: without a server, so that a state file that is taken shows as status 3.
my $elsewhere = "-d 'host=$dir dbname=shop' -S s -m never -E now -f $out --state $dir/torn.json";
my $length = length $good;
my $loop = CdcTest::Process->capture(timeout => 300, env => { ASAN_OPTIONS => 'exitcode=99' }, argv => ['/bin/sh', '-c',
    "i=0; while [ \$i -le $length ]; do head -c \$i $state >$dir/torn.json; $Cdc::BINARY $elsewhere >/dev/null 2>>$dir/torn.err;"
    . ' echo $?; i=$((i + 1)); done']);
my @status = split ' ', $loop->{out};
# The last byte is a newline, without which it is as whole as with it.
is(scalar(@status), $length + 1, 'cut at every byte');
is(join(' ', map { "$_:$status[$_]" } grep { $status[$_] != ($_ < $length - 1 ? 2 : 3) } 0 .. $length), '',
    'every piece is refused, the whole is not');
like(slurp("$dir/torn.err"), qr/torn/, 'and called torn');

spew($state, '');
refuses('an empty state file', 2, qr/state file "\Q$state\E" is not usable/);
for my $line (grep { /"/ } split /\n/, $good) {
    my ($name) = $line =~ /"(\w+)"/;
    next if $name eq 'output';
    (my $edited = $good) =~ s/(\Q$line\E)/my $l = $1; $l =~ s{([0-9a-z])(?="?,?\z)}{$1 eq '1' ? 2 : 1}e; $l/e;
    spew($state, $edited);
    refuses("edited: $name", 2, qr/is not usable: /, slot => 0) if $edited ne $good;
}
spew($state, $good =~ s/"cdcdump_state":\s*1/"cdcdump_state": 2/r);
refuses('a newer version', 2, qr/it was written by a newer version of cdcdump/);
spew($state, $good =~ s/"cdcdump_state"/"something_else"/r);
refuses('the file of something else', 2, qr/it was not written by cdcdump/);
spew($state, "[1, 2]\n");
refuses('another kind of JSON', 2, qr/not a JSON object/);
spew($state, "\0" x 700);
refuses('zeroes, as a crash of the machine may leave', 2, qr/is not usable/);
spew($state, $good);
{
    mkdir "$dir/d.json";
    my $r = Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args('--state', "$dir/d.json", -E => 'now'));
    $r->exited(2, 'a directory in its place');
    like($r->err, qr/could not read state file/, 'says so');
    $r = Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args('--state', "$dir/none/s.json", -E => 'now'));
    $r->exited(2, 'a directory that is not there');
    like($r->err, qr{could not open "\Q$dir\E/none/s\.json\.lock": No such file}, 'says so');
}

# As somebody whom permissions concern.
SKIP: {
    my $setpriv = CdcTest::Process::find_program('setpriv');
    my @as_other = $> ? () : ($setpriv, qw(--reuid=65534 --regid=65534 --clear-groups --));
    skip_without(@as_other ? $setpriv : 1, 'setpriv is not there', 4);
    local $Cdc::BINARY = do { copy($Cdc::BINARY, "$dir/cdcdump"); chmod 0755, "$dir/cdcdump"; "$dir/cdcdump" };
    mkdir "$dir/closed", 0555;
    mkdir "$dir/open";
    chmod 0777, "$dir/open";
    spew("$dir/open/s.json", $good);
    chmod 0, "$dir/open/s.json";
    for (['a directory that cannot be written', 'closed', qr/could not open .*Permission denied/],
        ['a state file that cannot be read', 'open', qr/could not read state file .*Permission denied/]) {
        my ($name, $where, $words) = @$_;
        my $r = Cdc->run(server => $pg, db => 'shop', wrap => \@as_other, args => ['-S', 's', '-m', 'never', '--state', "$dir/$where/s.json", -E => 'now']);
        $r->exited(2, $name);
        like($r->err, $words, "$name: says so");
    }
}

# A directory that goes away: nothing that is not on record may be acknowledged.
mkdir "$dir/gone";
copy($state, "$dir/gone/s.json");
{
    my $c = Cdc->start(server => $pg, db => 'shop', stdout => 'null', args => args('--state', "$dir/gone/s.json", '-v', '--status-interval', '0.1'));
    $c->wait_stderr(qr/streaming/);
    # It may have put a later position on record by now: that one is to go on from.
    $c->kill('STOP');
    copy("$dir/gone/s.json", $state);
    unlink glob "$dir/gone/*";
    rmdir "$dir/gone" or die "rmdir: $!";
    $c->kill('CONT');
    insert();
    my $r = $c->wait(10);
    $r->exited(5, 'a state file that cannot be written any more');
    like($r->err, qr/could not write state file/, 'says so');
    cmp_ok(lsn_num($pg->slot('s')->{confirmed_flush_lsn}), '<=', lsn_num(saved()->{lsn}), 'and the server was not told');
}
run($pg)->exited(0, 'the older state file goes on');
is(ids(), join(',', 1 .. $last_id), 'and cuts off what was not on record');

# A symbolic link stays one.
rename $state, "$dir/real.json";
symlink 'real.json', $state;
insert();
run($pg)->exited(0, 'a symbolic link');
ok(-l $state && lsn_num(saved()->{lsn}) > lsn_num(JSON::PP->new->decode($good)->{lsn}), 'stays one, and leads to the new state');
is(ids(), join(',', 1 .. $last_id), 'and the run was right');

# ---- locks ----

$c = start();
$c->wait_stderr(qr/streaming/);
my $pid = $c->pid;
for ($state, "$dir/real.json") {
    my $r = Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args(-E => 'now', '--state', $_));
    $r->exited(3, 'a second run');
    like($r->err, qr/state file "\Q$_\E" is in use by process $pid$/m, 'names the first one');
    cmp_ok($r->seconds, '<', 2, 'at once');
}
unlink $state;
rename "$dir/real.json", $state;
my $walsender = $pg->slot('s')->{active_pid};
my $second = Cdc->start(server => $pg, db => 'shop', args => [qw(-S s -m never -E now)]);
insert();
wait_until(sub { slurp($out) =~ /"id":$last_id\b/ }, 10, 'the first one');
$r = $second->wait(20);
$r->exited(3, 'a slot that is in use');
like($r->err, qr/replication slot "s" is in use by process $walsender$/m, 'names the process');
is($r->out, '', 'and prints nothing');
insert();
wait_until(sub { slurp($out) =~ /"id":$last_id\b/ }, 10, 'the first one');
is($pg->slot('s')->{active_pid}, $walsender, 'the first one is undisturbed');
$c->kill('KILL');
$c->wait->signaled('KILL', 'killed');
ok(-e "$state.lock" || -e "$dir/real.json.lock", 'a lock file stays behind');
run($pg)->exited(0, 'and is of no matter');
is(ids(), join(',', 1 .. $last_id), 'nothing lost or doubled');

# ---- foreign ----

refuses('another slot', 2, qr/belongs to another replication slot: "s", not "elsewhere"/, args => [-S => 'elsewhere']);
is($pg->slot('elsewhere'), undef, 'which is not created');
refuses('another database', 2, qr/belongs to another database: "shop", not "other"/, db => 'other');
refuses('another publication', 2, qr/belongs to another publication: "cdcdump_s", not "p"/, args => ['--publication', 'p']);
{
    my $foreign = PgServer->new;
    $foreign->create_db('shop');
    refuses('another system', 2, qr/belongs to another database system: "\d+", not "\d+"/, server => $foreign);
    is($foreign->slot('s'), undef, 'which gets no slot');
}

# ---- slots that are not what they were ----

# Does something to the slot, looks, and makes a new beginning.
sub with_slot ($name, $status, $words, $change) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    insert();
    $change->();
    my $r = refuses($name, $status, $words);
    unlink $state, $out;
    $pg->sql('shop', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 's' AND database IS NULL OR slot_name = 's' AND database = 'shop'));
    $pg->sql('other', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 's'));
    $pg->sql('shop', 'TRUNCATE t');
    run($pg)->exited(0, "$name: a new beginning") or diag($r->err);
    $last_id = 0;
}

my $drop = q(SELECT pg_drop_replication_slot('s'));
with_slot('dropped', 4, qr/position lost: replication slot "s" does not exist/, sub { $pg->sql('shop', $drop) });
with_slot('advanced by hand', 4, qr/position lost: replication slot "s" is at \S+, ahead of our position/,
    sub { $pg->sql('shop', q(SELECT pg_replication_slot_advance('s', pg_current_wal_lsn()))) });
with_slot('created again', 4, qr/position lost: replication slot "s" is at \S+, ahead of our position/,
    sub { $pg->sql('shop', "$drop; SELECT pg_create_logical_replication_slot('s', 'pgoutput')") });
with_slot('read by another', 4, qr/ahead of our position/, sub {
    $pg->sql('shop', q(SELECT count(*) FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '1', 'publication_names', 'cdcdump_s')));
});
with_slot('of another plugin', 2, qr/was created for plugin "test_decoding", not for "pgoutput"/,
    sub { $pg->sql('shop', "$drop; SELECT pg_create_logical_replication_slot('s', 'test_decoding')") });
with_slot('of another database', 2, qr/belongs to database "other", not to "shop"/,
    sub { $pg->sql('shop', $drop); $pg->sql('other', q(SELECT pg_create_logical_replication_slot('s', 'pgoutput'))) });
with_slot('a physical one', 2, qr/is a physical slot/,
    sub { $pg->sql('shop', "$drop; SELECT pg_create_physical_replication_slot('s')") });
with_slot('publication missing', 2, qr/publication "cdcdump_s" does not exist/, sub { $pg->sql('shop', 'DROP PUBLICATION cdcdump_s') });

# ---- WAL that is gone ----

SKIP: {
    skip_without(PgServer::version() >= 13, 'max_slot_wal_keep_size came with PostgreSQL 13', 6);
    sub lose_wal () {
        $pg->append_conf({ max_slot_wal_keep_size => '1MB' });
        $pg->reload;
        for (1 .. 20) {    # until the checkpointer has heard of the setting
            $pg->sql('other', "INSERT INTO t SELECT g, repeat('z', 1000) FROM generate_series($_ * 3000, $_ * 3000 + 2999) g; SELECT pg_switch_wal(); CHECKPOINT");
            last if $_ >= 2 && $pg->slot('s')->{wal_status} eq 'lost';
        }
        $pg->sql('other', 'TRUNCATE t');
        is($pg->slot('s')->{wal_status}, 'lost', 'the slot has been invalidated');
    }
    sub keep_wal () { $pg->append_conf({ max_slot_wal_keep_size => -1 }); $pg->reload }
    with_slot('invalidated while down', 4, qr/position lost: replication slot "s" has been invalidated \((lost|wal_removed)\)/,
        sub { lose_wal(); keep_wal() });

    # While it runs: its reader takes nothing, so its position stands still.
    my $c = Cdc->start(server => $pg, db => 'shop', args => ['-S', 's', '-m', 'never', '-v', '--state', $state, '--retry-delay', '0.1']);
    $c->wait_stderr(qr/streaming/);
    insert();
    my $mark = $pg->log_mark;
    lose_wal();
    ok($pg->log_contains(qr/invalidating|terminating process \d+ to release replication slot/, $mark), 'while it was in use');
    my $r = $c->wait(20, drain => 0);
    $r->exited(4, 'invalidated while running: ends');
    like($r->err, qr/position lost: replication slot "s" has been invalidated/, 'and says so');
    keep_wal();
    with_slot('after that', 4, qr/has been invalidated/, sub { });
}

# ---- publications in mid-stream ----

$c = start();
$c->wait_stderr(qr/streaming/);
insert();
wait_until(sub { slurp($out) =~ /"id":$last_id\b/ }, 10, 'a change');
$pg->sql('shop', 'DROP PUBLICATION cdcdump_s');
insert();
$r = $c->wait(10);
$r->exited(4, 'publication dropped in mid-stream');
like($r->err, qr/publication "cdcdump_s"/, 'which is named');
like($r->err, qr/HINT:  The publication did not exist at that point/, 'with what to do') if PgServer::version() < 18;
is(ids(), join(',', 1 .. $last_id - 3), 'what came before is there');
with_slot('resumed after that', 2, qr/publication "cdcdump_s" does not exist/, sub { });

$pg->sql('shop', q(SELECT pg_create_logical_replication_slot('late', 'pgoutput')));
insert();
$pg->sql('shop', 'CREATE PUBLICATION late FOR TABLE t');
my $confirmed = $pg->slot('late')->{confirmed_flush_lsn};
for my $mode (qw(never committed-offset)) {
    my $r = Cdc->run(server => $pg, db => 'shop', args => [-S => 'late', '-m', $mode, qw(--publication late --publication-mode existing -E now)]);
    $r->exited(4, "publication created after the slot: $mode");
    like($r->err, qr/HINT:  The publication did not exist at that point/, 'with what to do') if PgServer::version() < 18;
    is($r->out, '', 'nothing was printed');
    is($pg->slot('late')->{confirmed_flush_lsn}, $confirmed, 'nothing was acknowledged');
}
$pg->sql('shop', q(SELECT pg_drop_replication_slot('late')));
run($pg)->exited(0, 'go on');

# ---- crashes and copies of the server ----

# The server saves the slot at checkpoints, and when its restart_lsn moves, which is when the stream has
# passed one of the records of running transactions that are written now and then.  Those that are there
# are passed first; another one may come just now.
my ($lsn, $back);
for (1 .. 5) {
    run($pg)->exited(0, 'up to now');
    insert();
    run($pg)->exited(0, 'before a crash');
    $lsn = lsn_num(saved()->{lsn});
    $pg->restart('immediate');
    $back = lsn_num($pg->slot('s')->{confirmed_flush_lsn});
    last if $back < $lsn;
}
cmp_ok($back, '<', $lsn, 'the crash took the server\'s memory of the position back');
run($pg)->exited(0, 'after the crash');
insert();
run($pg)->exited(0, 'and on');
is(ids(), join(',', 1 .. $last_id), 'nothing lost or doubled');

# The standby needs the slot, which a base backup leaves out: it is copied, as Patroni does, once
# its restart_lsn lies behind the backup.
my $copy = PgServer->new(backup_of => $pg, start => 0);
my $standby = PgServer->new(backup_of => $pg, standby => 1);
for (1 .. 3) {
    insert();
    $pg->sql('shop', 'CHECKPOINT');
    run($pg)->exited(0, 'on the primary');
}
$pg->sql('shop', 'CHECKPOINT');
wait_until(sub { lsn_num($standby->sql('postgres', 'SELECT pg_last_wal_replay_lsn()')) >= lsn_num(saved()->{lsn}) }, 20, 'the standby');
$standby->stop;
mkdir $standby->data_dir . '/pg_replslot/s', 0700;
copy($pg->data_dir . '/pg_replslot/s/state', $standby->data_dir . '/pg_replslot/s/state') or die "copy: $!";
chown((stat $standby->data_dir)[4, 5], map { $standby->data_dir . "/pg_replslot/s$_" } '', '/state');
my ($fitting, $fitting_out) = (slurp($state), slurp($out));

$copy->start;
refuses('a server restored from a backup', 4, qr/position lost: our position \S+ lies beyond the server's WAL/, server => $copy);
undef $copy;

insert();
run($pg)->exited(0, 'the primary goes on without the standby');
$pg->stop;
$standby->start->promote;
refuses('a standby that had not got so far', 4, qr/position lost: the server left timeline 1 at \S+, before our position/, server => $standby);

spew($state, $fitting);
spew($out, $fitting_out);
$last_id -= 3;
# The identity of the output is its inode, which spew() keeps.
insert($standby);
run($standby)->exited(0, 'a promoted standby that had');
is(ids(), join(',', 1 .. $last_id), 'its changes come, nothing lost or doubled');
is(saved()->{timeline}, 2, 'its timeline is on record');
$pg->start;
refuses('the old primary after that', 3, qr/the server is on timeline 1, but the position is on timeline 2/);

done_testing;
