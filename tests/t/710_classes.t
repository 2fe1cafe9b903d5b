# What a real server refuses, and what becomes of it: worth another try or not, the exit status, the words,
# and that nothing is acknowledged.  Rows that this server cannot produce are in 714_answers.t.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(extra_conf => {
    max_connections => 12, max_wal_senders => 3, max_replication_slots => 4, wal_sender_timeout => '1s',
});
$pg->create_db($_) for qw(shop gone);
my $table = 'CREATE TABLE t (id int PRIMARY KEY, n int)';
$pg->sql($_, $table) for qw(shop gone);
my $dir = scratch();
my $id = 0;

sub insert ($db = 'shop') { $pg->sql($db, 'INSERT INTO t VALUES (' . ++$id . ', 1)'); return $id }
sub insert_wide () { $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$id . ", 1, 'x')"); return $id }
sub args ($slot, @more) { return ['-S' => $slot, '-m' => 'never', '-e' => 'plain', '--state' => "$dir/$slot.json", '--retry-delay' => '0.05', @more] }
sub start ($slot, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($slot, @more)) }
sub run ($slot, @more) { return start($slot, '-E' => 'now', @more)->wait(30) }
sub streaming ($c, $times = 1) { $c->wait_stderr(qr/(?:streaming from.*){$times}/s); return $c }
sub as ($user, $slot, @more) {
    return Cdc->start(args => ['-d' => $pg->connstr('shop', user => $user, tcp => 1, sslmode => 'disable'), @{ args($slot, '-E' => 'now', @more) }]);
}
sub errors ($r) { return scalar(() = $r->err =~ /^cdcdump: error: /mg) }
sub tries ($r) { return scalar(() = $r->err =~ /trying again/g) }
sub ids ($r) { return join ' ', $r->out =~ /"row":\{"id":(\d+)/g }
sub file_of ($path) { return -e $path ? slurp($path) : 'none' }

# What $code runs into is the end: with that status, these words, at once, and nothing has come of it.
sub ends ($name, $status, $words, $slot, $code) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($file, $there) = (file_of("$dir/$slot.json"), $pg->slot($slot));
    my $r = $code->();
    $r->exited($status, "$name: status $status");
    like($r->err, $words, "$name: is said");
    is(errors($r), 1, "$name: once") or diag($r->err);
    unlike($r->err, qr/trying again/, "$name: is not tried again");
    is($r->out, '', "$name: gives nothing");
    is(file_of("$dir/$slot.json"), $file, "$name: the state file is as it was");
    my $after = $pg->slot($slot);
    is($after && $after->{confirmed_flush_lsn}, $there && $there->{confirmed_flush_lsn}, "$name: nothing has been acknowledged");
    return $r;
}

# What passes: without --retries it is the end, with status 3, with them the run goes on when $release has been called.
sub passes ($name, $words, $slot, $release, %how) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $start = $how{start} // sub (@more) { start($slot, '-E' => 'now', @more) };
    ends("$name, without --retries", 3, $words, $slot, sub { $start->()->wait(30) });
    my $c = $start->('--retries=1000');
    $c->wait_stderr(qr/(?:trying again.*){2}/s);
    is($c->out, '', "$name: gives nothing before");
    $release->();
    my $r = $c->wait(30);
    $r->exited(0, "$name: passes");
    like($r->err, $words, "$name: is said");
    return $r;
}

run('s')->exited(0, 'a slot');

# ---- too many ----

{
    my @holders = map { $pg->session('postgres', replication => 'true') } 1 .. 3;
    $_->sql('IDENTIFY_SYSTEM') for @holders;
    insert();
    my $r = passes('no walsender left', qr/^cdcdump: error: could not connect: .*number of requested standby connections exceeds .*max_wal_senders.*\nHINT:  .*max_wal_senders/m,
        's', sub { $_->close for @holders });
    is(ids($r), $id, 'no walsender left: the change is there afterwards');
}
{
    $pg->sql('shop', 'CREATE ROLE app LOGIN REPLICATION; GRANT SELECT ON t TO app');
    my @holders = map { $pg->session('postgres') } 1 .. 9;
    $_->sql('SELECT 1') for @holders;
    insert();
    my $r = passes('no connection left', qr/^cdcdump: error: could not connect: .*(?:remaining connection slots are reserved|too many clients).*\nHINT:  .*max_connections/m,
        's', sub { $_->close for @holders }, start => sub (@more) { as('app', 's', @more) });
    is(ids($r), $id, 'no connection left: the change is there afterwards');
}
{
    $pg->sql('postgres', q(SELECT pg_create_logical_replication_slot('taken' || n, 'pgoutput') FROM generate_series(1, 3) n));
    my $r = ends('no slot left', 2, qr/^cdcdump: error: could not create the replication slot: all replication slots are in use\nHINT:  Free one or increase "?max_replication_slots"?\.$/m,
        'another', sub { run('another', '--retries=3') });
    $pg->sql('postgres', q(SELECT pg_drop_replication_slot('taken' || n) FROM generate_series(1, 3) n));
}

# ---- a slot that somebody else has ----

{
    my $holder = streaming(start('s', '-v'));
    my $pid = $pg->slot('s')->{active_pid};
    my $c = Cdc->start(server => $pg, db => 'shop', args => [qw(-S s -m never -e plain -E now --retries=1000 --retry-delay=0.05)]);
    $c->wait_stderr(qr/^cdcdump: error: replication slot "s" is in use by process $pid\nHINT:  .*\ncdcdump: trying again/m);
    is($c->out, '', 'a slot in use: gives nothing');
    ok($holder->running, 'a slot in use: the first one is undisturbed');
    $holder->stop->exited(0, 'a slot in use: the first one ends');
    $c->wait(30)->exited(0, 'a slot in use: the other one has it then');
}
unlink "$dir/s.json";
run('s')->exited(0, 'a new beginning');

# ---- who may not ----

{
    $pg->sql('postgres', q(CREATE ROLE plain LOGIN; CREATE ROLE outside LOGIN REPLICATION; CREATE ROLE nologin NOLOGIN REPLICATION;
        REVOKE CONNECT ON DATABASE shop FROM public; GRANT CONNECT ON DATABASE shop TO app, plain));
    insert();
    my $refusal = PgServer::version() < 16 ? qr/must be superuser or replication role to start walsender/
        : qr/permission denied to start WAL sender\nDETAIL:  Only roles with the REPLICATION attribute may start a WAL sender process\./;
    ends('a role without REPLICATION', 2, qr/^cdcdump: error: could not connect: .*FATAL:  $refusal\nHINT:  .*ALTER ROLE … REPLICATION/m,
        's', sub { as('plain', 's', '--retries=3')->wait });
    my $r = ends('a role without CONNECT', 2, qr/^cdcdump: error: could not connect: .*FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege\.$/m,
        's', sub { as('outside', 's', '--retries=3')->wait });
    unlike($r->err, qr/REPLICATION/, 'a role without CONNECT: no advice that does not help');
    ends('a role without LOGIN', 2, qr/^cdcdump: error: could not connect: .*FATAL:  role "nologin" is not permitted to log in$/m,
        's', sub { as('nologin', 's', '--retries=3')->wait });
    ends('a role that is not there', 2, qr/^cdcdump: error: could not connect: .*FATAL:  role "nobody_there" does not exist$/m,
        's', sub { as('nobody_there', 's', '--retries=3')->wait });

    my $hba = $pg->data_dir . '/pg_hba.conf';
    my $trust = slurp($hba);
    spew($hba, "host shop app 127.0.0.1/32 reject\n$trust");
    $pg->reload;
    my @psql = (argv => [PgServer::bindir() . '/psql', '-Xwqc', 'SELECT', $pg->connstr('shop', user => 'app', tcp => 1, sslmode => 'disable')]);
    wait_until(sub { CdcTest::Process->capture(@psql)->{exit} }, 10, 'the server to refuse');
    ends('pg_hba.conf', 2, qr/^cdcdump: error: could not connect: .*FATAL:  pg_hba\.conf rejects connection for host "127\.0\.0\.1", user "app", database "shop", .*\nHINT:  .*pg_hba\.conf.*"replication" does not match/m,
        's', sub { as('app', 's', '--retries=3')->wait });
    spew($hba, $trust);
    $pg->reload;
    wait_until(sub { !CdcTest::Process->capture(@psql)->{exit} }, 10, 'the server to accept');
}
# While it runs: the next connection is refused, and that is the end.
{
    my $c = Cdc->start(args => ['-d' => $pg->connstr('shop', user => 'app'), @{ args('s', '-v') }]);
    streaming($c);
    $c->wait_written($pg->wal_lsn);
    $pg->sql('postgres', 'ALTER ROLE app NOREPLICATION');
    $pg->terminate_slot_user('s') or die 'nobody to terminate';
    my $r = $c->wait(20);
    $r->exited(2, 'REPLICATION is taken away: status 2');
    is(tries($r), 1, 'REPLICATION is taken away: after one more try');
    like($r->err, qr/HINT:  .*ALTER ROLE … REPLICATION/, 'REPLICATION is taken away: what to do');
    $pg->sql('postgres', 'ALTER ROLE app REPLICATION');
    is(ids(run('s')), '', 'REPLICATION is taken away: what had been given was on record');
}

# ---- sessions that are ended ----

# It goes on after $what, with the row that comes then, once.
sub survives ($name, $what, $words, @more) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $c = streaming(start('s', '-v', @more));
    $what->($c);
    $c->wait_stderr(qr/trying again.*streaming from/s, 20);
    my $new = insert();
    $c->read_until(qr/"id":$new\b/);
    $c->wait_written($pg->wal_lsn);
    my $r = $c->stop;
    $r->exited(0, "$name: goes on");
    is(ids($r), $new, "$name: nothing twice");
    like($r->err, $words, "$name: is said");
}

my $backends = q(FROM pg_stat_activity WHERE application_name = 'cdcdump' AND pid <> pg_backend_pid());
survives('every session terminated', sub ($c) { $pg->sql('postgres', "SELECT pg_terminate_backend(pid) $backends") },
    qr/^cdcdump: error: could not read the stream: terminating connection due to administrator command$/m);
survives('the walsender cancelled', sub ($c) { $pg->sql('postgres', "SELECT pg_cancel_backend(pid) $backends AND backend_type = 'walsender'") },
    qr/^cdcdump: error: could not read the stream: canceling statement due to user request$/m);
survives('wal_sender_timeout', sub ($c) {
    my $mark = $pg->log_mark;
    $c->kill('STOP');
    $pg->wait_for(sub { $pg->log_contains(qr/terminating walsender process due to replication timeout/, $mark) }, 20, 'the timeout');
    $c->kill('CONT');
}, qr/^cdcdump: warning: lost the connection/m);

# What a role is set to would end sessions that have nothing to do for a while.
SKIP: {
    skip_without(PgServer::version() >= 14, 'idle_session_timeout came with PostgreSQL 14', 4);
    $pg->sql('postgres', q(ALTER ROLE app SET idle_session_timeout = '300ms'));
    my $mark = $pg->log_mark;
    my $c = Cdc->start(args => ['-d' => $pg->connstr('shop', user => 'app'), @{ args('s', '-v', '--retries=0') }]);
    streaming($c);
    my $idle = $pg->session('shop', user => 'app');
    $idle->send('SELECT 1');
    $pg->wait_for(sub { $pg->log_contains(qr/terminating connection due to idle-session timeout/, $mark) }, 10, 'the timeout');
    $pg->sql('shop', 'ALTER TABLE t ADD COLUMN more text');
    my $new = insert_wide();
    $c->read_until(qr/"id":$new\b.*"more":/);
    $c->wait_written($pg->wal_lsn);
    my $r = $c->stop;
    $r->exited(0, 'idle_session_timeout: goes on');
    is(ids($r), $new, 'idle_session_timeout: every change, once');
    unlike($r->err, qr/error/, 'idle_session_timeout: without trouble');
    is(scalar(() = substr($pg->log_text, $mark) =~ /terminating connection due to idle-session timeout/g), 1, 'idle_session_timeout: it ended one that is not of cdcdump');
    $pg->sql('postgres', 'ALTER ROLE app RESET idle_session_timeout');
    $pg->sql('shop', 'ALTER TABLE t DROP COLUMN more');
}

# A session that waits in a question: its end is a lost connection, told in the server's words.
{
    my $holder = $pg->session('shop');
    $holder->sql('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
    my $c = start('locked', '-E' => 'now', '--replica-identity=full', '--retries=3');
    $pg->wait_for(sub { $pg->sql('shop', "SELECT count(*) $backends AND wait_event_type = 'Lock'") > 0 }, 10, 'the lock to be waited for');
    $pg->sql('postgres', "SELECT pg_terminate_backend(pid) $backends AND wait_event_type = 'Lock'");
    $c->wait_stderr(qr/trying again/);
    $holder->sql('ROLLBACK');
    my $r = $c->wait(20);
    $r->exited(0, 'terminated in a question: passes');
    like($r->err, qr/^cdcdump: error: could not set the replica identity: terminating connection due to administrator command$/m, 'terminated in a question: is said');
    is(errors($r), 1, 'terminated in a question: once');
    unlike($r->err, qr/server closed the connection/, 'terminated in a question: and nothing that follows from it');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('locked'); DROP PUBLICATION cdcdump_locked; ALTER TABLE t REPLICA IDENTITY DEFAULT));
}

# ---- a server that shuts down ----

{
    my $new = insert();
    my $holder = $pg->session('postgres');
    $holder->sql('SELECT 1');
    kill 'TERM', $pg->pid;    # waits for that session
    $pg->wait_for(sub { $pg->log_contains(qr/received smart shutdown request/) }, 10, 'the shutdown');
    my $r = run('s');
    $r->exited(3, 'shutting down: status 3');
    like($r->err, qr/^cdcdump: error: could not connect: .*FATAL:  the database system is shutting down$/m, 'shutting down: is said');
    my $c = start('s', '-E' => 'now', '--retries=1000');
    $c->wait_stderr(qr/shutting down.*trying again/s);
    $holder->close;
    $pg->{process}->wait_exit(20) or die 'the server does not stop';
    $c->wait_stderr(qr/(?:No such file|Connection refused).*trying again/s);
    $pg->start;
    $r = $c->wait(30);
    $r->exited(0, 'shutting down: passes');
    is(ids($r), $new, 'shutting down: the change is there afterwards');
}

# ---- what a role or a database is set to ----

{
    $pg->sql('postgres', 'ALTER DATABASE shop SET default_transaction_read_only = on');
    ends('a read-only session', 2, qr/^cdcdump: error: could not create the publication: cannot execute CREATE PUBLICATION in a read-only transaction$/m,
        'readonly', sub { run('readonly', '--retries=3') });
    $pg->sql('postgres', 'ALTER DATABASE shop RESET default_transaction_read_only');
    insert();
    is(ids(run('s')), $id, 'a read-only session was that');
}
# A warning that comes before the connection stands is one of the server's, for -v.
SKIP: {
    skip_without(PgServer::version() >= 15, 'versions of collations came with PostgreSQL 15', 3);
    $pg->sql('postgres', q(UPDATE pg_database SET datcollversion = '0' WHERE datname = 'shop'));
    my $r = run('s', '-q');
    $r->exited(0, 'a warning at the start');
    is($r->err, '', 'a warning at the start: nothing of it with -q');
    like(run('s', '-v')->err, qr/^cdcdump: server: WARNING:  .*collation version/m, 'a warning at the start: with -v');
    $pg->sql('postgres', q(UPDATE pg_database SET datcollversion = NULL WHERE datname = 'shop'));
}
# Options of the plugin.
ends('an option for a later version', 2, qr/^cdcdump: error: -o origin needs PostgreSQL 16 or later$/m, 's', sub { run('s', -o => 'origin=none', '--retries=3') }) if PgServer::version() < 16;
ends('an option with a wrong value', 2, qr/^cdcdump: error: could not start streaming: binary requires a Boolean value$/m, 's', sub { run('s', -o => 'binary=perhaps', '--retries=3') });

# ---- what the slot cannot give ----

# A row filter that fails: the plugin evaluates it in the past, so changing the publication does not help.
SKIP: {
    skip_without(PgServer::version() >= 15, 'row filters came with PostgreSQL 15', 32);
    for my $f (['22012', '1 / n > 0', 'division by zero'], ['22003', 'n * 2000000000 > 0', 'integer out of range']) {
        my ($code, $filter, $text) = @$f;
        my $slot = "filter$code";
        $pg->sql('shop', "CREATE TABLE $slot (id int PRIMARY KEY, n int); CREATE PUBLICATION $slot FOR TABLE $slot WHERE ($filter)");
        my @how = ('--publication' => $slot, qw(--publication-mode existing -t), $slot, '-E' => 'now', '--retries=3');
        Cdc->run(server => $pg, db => 'shop', args => args($slot, @how))->exited(0, "row filter, $code: a slot");
        $pg->sql('shop', "INSERT INTO $slot VALUES (1, " . ($code eq '22012' ? 0 : 1000) . ')');
        for my $time ('at first', 'the next time') {
            my $r = ends("row filter, $code, $time", 2, qr/^cdcdump: error: could not read the stream: $text\nDETAIL:  slot "$slot", output plugin "pgoutput", in the change callback, associated LSN \S+$/m,
                $slot, sub { start($slot, @how)->wait });
            like($r->err, qr/^HINT:  .*row filter.*"$slot"/m, "row filter, $code, $time: what to do");
            $pg->sql('shop', "ALTER PUBLICATION $slot SET TABLE $slot") if $time eq 'at first';
        }
        $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot')");
    }
}

# WAL that is not there, and WAL that cannot be read: each is a slot with one transaction in a segment of its own.
sub segment_with_a_change ($slot) {
    run($slot)->exited(0, "$slot: a slot");
    $pg->sql('shop', 'SELECT pg_switch_wal()');
    insert();
    my $file = $pg->sql('shop', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
    my $lsn = $pg->wal_lsn;
    insert();
    $pg->sql('shop', 'SELECT pg_switch_wal()');
    insert();
    return ($pg->data_dir . "/pg_wal/$file", lsn_num($lsn));
}
sub forget ($slot) { $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot')") }
{
    my ($file) = segment_with_a_change('removed');
    my @older = grep { $_ lt $file && m{/[0-9A-F]{24}\z} } glob $pg->data_dir . '/pg_wal/*';
    rename $_, "$_.away" or die "$_: $!" for $file, @older;
    my $r = ends('a WAL segment that is gone', 4, qr/^cdcdump: error: could not read the stream: requested WAL segment [0-9A-F]{24} has already been removed\n(?:DETAIL:  .*\n)*HINT:  .*begin anew/m,
        'removed', sub { run('removed', '--retries=3') });
    rename "$_.away", $_ or die "$_: $!" for $file, @older;
    is(scalar(split ' ', ids(run('removed'))), 3, 'a WAL segment that is gone: had the changes');
    forget('removed');
}
{
    my ($file, $lsn) = segment_with_a_change('spoilt');
    my $good = slurp($file);
    my $bad = $good;
    substr $bad, $lsn % length $bad, 64, "\xAA" x 64;
    open my $fh, '+<:raw', $file or die "$file: $!";
    print $fh $bad;
    close $fh or die "$file: $!";
    my $r = run('spoilt', '--retries=1');
    $r->exited(1, 'WAL that cannot be read, with one retry: status 1');
    is(tries($r), 1, 'WAL that cannot be read, with one retry: after one');
    $r = run('spoilt', '--retries=5');
    $r->exited(1, 'WAL that cannot be read: status 1');
    is(tries($r), 3, 'WAL that cannot be read: after a few tries, as it may not have been there as a whole');
    like($r->err, qr/^cdcdump: error: could not read the stream: .*(?:could not find record|record|resource manager|length)/m, 'WAL that cannot be read: is said');
    unlike($r->err, qr/HINT:  .*binary/, 'WAL that cannot be read: no advice that does not help');
    cmp_ok(lsn_num($pg->slot('spoilt')->{confirmed_flush_lsn}), '<=', $lsn, 'WAL that cannot be read: is not passed over');
    open $fh, '+<:raw', $file or die "$file: $!";
    print $fh $good;
    close $fh or die "$file: $!";
    is(scalar(split ' ', ids(run('spoilt'))), 2, 'WAL that cannot be read: the changes behind it come when it can') or diag($r->err);
    forget('spoilt');
}

# ---- a database that goes away, with its slot ----

{
    my $c = Cdc->start(server => $pg, db => 'gone', args => args('lost', '-v', '--retry-delay=1'));
    streaming($c);
    my ($failed, undef, $why) = $pg->try_sql('postgres', 'DROP DATABASE gone');
    ok($failed && $why =~ /is used by an active logical replication slot|is being accessed by other users/, 'a database in use cannot be dropped');
    $c->wait_written($pg->sql('gone', 'SELECT pg_current_wal_lsn()'));
    $pg->terminate_slot_user('lost') or die 'nobody to terminate';
    $pg->wait_for(sub {
        my ($failed) = $pg->try_sql('postgres', 'DROP DATABASE gone WITH (FORCE)');
        $pg->terminate_slot_user('lost') if $failed;
        return !$failed;
    }, 10, 'the database to be dropped');
    my $r = $c->wait(20);
    $r->exited(2, 'a database that is dropped: status 2');
    like($r->err, qr/^cdcdump: error: could not connect: .*FATAL:  database "gone" does not exist$/m, 'a database that is dropped: is said');
}

# ---- a server that is not set up for it ----

{
    my $small = PgServer->new(extra_conf => { wal_level => 'replica' });
    $small->create_db('shop');
    $small->sql('shop', $table);
    my $r = Cdc->run(server => $small, db => 'shop', args => args('small', '-E' => 'now', '--retries=3'));
    $r->exited(2, 'wal_level too low: status 2');
    like($r->err, qr/^cdcdump: error: could not create the replication slot: logical decoding requires "?wal_level"? >= "?logical"?\nHINT:  .*wal_level.*restart/m, 'wal_level too low: what to do');
    unlike($r->err, qr/trying again/, 'wal_level too low: is not tried again');
    ok(!-e "$dir/small.json", 'wal_level too low: leaves no state file');
}

done_testing;
