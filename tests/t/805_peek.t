# --peek: what a slot would give, without taking it; the slot, and all else on the server, as it was.
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Plugins;

my $pg = PgServer->new(initdb => PgServer::version() >= 11 ? ['--wal-segsize=1'] : []);
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE u (id int PRIMARY KEY)');
my $dir = scratch();

sub args ($slot, @more) { return ['--peek', -S => $slot, -e => 'plain', $slot =~ /pgoutput/ ? ('--publication' => 'every') : (), @more] }
sub peek ($slot, @more) { return Cdc->run(server => $pg, db => 'shop', args => args($slot, @more)) }
sub start ($slot, %how) { return Cdc->start(server => $pg, db => 'shop', %how, args => args($slot, @{ $how{args} // [] })) }
sub capture ($slot, %how) {
    return Cdc->start(server => $pg, db => 'shop', %how,
        args => [-S => $slot, qw(-m never -e plain), $slot =~ /pgoutput/ ? qw(--publication=every --publication-mode=existing) : (), @{ $how{args} // [] }]);
}

# The slot but for who reads it and which WAL the server keeps for it, which it may find out to be less.
my @passing = qw(active active_pid restart_lsn catalog_xmin inactive_since wal_status safe_wal_size);
sub slot ($name) {
    my %slot = %{ $pg->slot($name) };
    delete @slot{@passing};
    return canonical(\%slot);
}
sub idle ($name) { wait_until(sub { !$pg->slot($name)->{active} }, 20, "$name to be free") }

# What a capture would make or change.
sub catalog () {
    return $pg->sql('shop', q(SELECT json_agg(p) FROM pg_publication p; SELECT json_agg(r) FROM pg_publication_rel r;
        SELECT oid::regclass, relreplident FROM pg_class WHERE relkind = 'r' ORDER BY 1; SELECT slot_name FROM pg_replication_slots ORDER BY 1));
}
sub rows ($r) { return join ' ', map { "$_->{op}:" . ($_->{row} // $_->{old} // {})->{id} } grep { $_->{row} || $_->{old} } $r->records }

# ---- all plugins: twice the same, and a capture gets it all ----

my $slots = CdcTest::Plugins->new(server => $pg, db => 'shop', name => 'every')->create;
my @libraries = grep { CdcTest::Plugins::library_of($_) eq $_ } $slots->plugins;
SKIP: { skip_without(0, $_) for sort values %{ $slots->missing } }
$pg->sql('shop', q(BEGIN; INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, 3) g; COMMIT; UPDATE t SET name = 'y' WHERE id = 2;
    BEGIN; DELETE FROM t WHERE id = 3; INSERT INTO u VALUES (7); COMMIT));
my $catalog = catalog();
my %before = map { $_ => slot("every_$_") } @libraries;
my %given;
for my $plugin (@libraries) {
    my $r = peek("every_$plugin");
    $r->exited(0, "$plugin: peek");
    is($r->err, '', "$plugin: nothing to say");
    is(scalar($r->lines), 6, "$plugin: every change");
    $given{$plugin} = $r->out;
    idle("every_$plugin");
    is(slot("every_$plugin"), $before{$plugin}, "$plugin: the slot is where it was");
    is(peek("every_$plugin")->out, $given{$plugin}, "$plugin: the same once more");
}
is(rows(peek('every_pgoutput')), 'c:1 c:2 c:3 u:2 d:3 c:7', 'these changes');

# ---- what is looked at ----

my ($first, $second) = map { $_->{commit_lsn} } (records($given{pgoutput}))[0, 3];
is(rows(peek('every_pgoutput', -t => 't')), 'c:1 c:2 c:3 u:2 d:3', '-t');
is(rows(peek('every_pgoutput', -I => $second)), 'u:2 d:3 c:7', '-I begins later');
is(rows(peek('every_pgoutput', -E => $first)), 'c:1 c:2 c:3', '-E ends earlier');
is(rows(peek('every_pgoutput', '--count=1')), 'c:1 c:2 c:3', '--count, at the end of a transaction');
my $r = peek('every_pgoutput', qw(--transactions -f), "$dir/out");
$r->exited(0, '-f');
is($r->out, '', '-f: nothing on standard output');
is(join(' ', map { $_->{op} } records(slurp("$dir/out"))), 'begin c c c end begin u end begin d c end', '-f: the records are there');
is_deeply([glob "$dir/*"], ["$dir/out"], '-f: and nothing beside it');
$r = peek('every_pgoutput', qw(-F csv -t u -e flink --changelog-mode=upsert));
$r->exited(0, '-F csv');
like($r->out, qr/\Arow_kind,.*\n\+I,[^\n]*,7,\n\z/, '-F csv: as in a capture');
$r = peek('every_pgoutput', -I => '0/1');
$r->exited(4, '-I before the slot: exit status 4');
like($r->err, qr/position lost: replication slot "every_pgoutput" has no changes before/, '-I before the slot: says so');

# ---- how it ends ----

{
    my $c = start('every_pgoutput', args => ['--idle-exit=600', '--status-interval=0.02']);
    $c->read_lines(6);
    my $told = "SELECT count(*) FROM pg_stat_replication WHERE write_lsn > '$second' AND flush_lsn IS NULL";
    ok(eval { wait_until(sub { $pg->sql('shop', $told) == 1 }, 20, 'feedback') }, 'what it tells the server is not that anything is flushed');
    is($pg->sql('shop', 'SELECT count(*) FROM pg_stat_replication WHERE flush_lsn IS NOT NULL'), 0, 'never');
    $pg->sql('shop', 'INSERT INTO u VALUES (8)');
    like(($c->read_lines(1))[0], qr/"row":\{"id":8\}/, 'it waits for more where that is asked for');
    $pg->terminate_slot_user('every_pgoutput');
    $pg->sql('shop', 'INSERT INTO u VALUES (9)');
    like(($c->read_lines(1))[0], qr/"row":\{"id":9\}/, 'and comes back when it has lost the connection, without repeating anything');
    $c->stop('TERM')->exited(0, 'SIGTERM: exit status 0');
    idle('every_pgoutput');
    is(slot('every_pgoutput'), $before{pgoutput}, 'SIGTERM: the slot is where it was');
}
$given{pgoutput} = peek('every_pgoutput')->out;
is($given{pgoutput} =~ tr/\n//, 8, 'all of it again');
{
    my $c = start('every_pgoutput');
    $r = $c->wait(20, drain => 0);
    $r->exited(0, 'it does not wait for what it has written to be read');
    $c->read_lines(8);
    is($c->out, $given{pgoutput}, 'which is there');
}
for my $end (qw(KILL PIPE)) {
    my $c = start('every_pgoutput', args => ['--idle-exit=600', '--status-interval=0.02']);
    $c->read_lines(8);
    if ($end eq 'KILL') {
        ok($c->kill('KILL'), 'kill -9');
    } else {
        $c->close_stdout;
    }
    $c->wait->signaled($end, "SIG$end ends it");
    idle('every_pgoutput');
    is(slot('every_pgoutput'), $before{pgoutput}, "SIG$end: the slot is where it was");
}
$r = Cdc->run(server => $pg, db => 'shop', args => args('every_pgoutput'), stdout => '>/dev/full');
$r->exited(5, 'a full disk: exit status 5');
like($r->err, qr/could not write to standard output: No space left on device/, 'a full disk: says so');

# ---- a slot that somebody reads ----

# What its reader does not take out of the pipe is not acknowledged.
{
    my $reader = capture('every_pgoutput', args => [qw(-v --status-interval=0.02)], wrap => ['env', 'PGAPPNAME=the reader']);
    $reader->wait_stderr(qr/streaming from/);
    wait_until(sub { $pg->sql('shop', 'SELECT count(*) FROM pg_stat_replication WHERE write_lsn = sent_lsn') == 1 }, 20, 'the reader to have all');
    my $pid = $pg->slot('every_pgoutput')->{active_pid};
    my $r = peek('every_pgoutput');
    $r->exited(0, 'in use: exit status 0');
    is($r->out, $given{pgoutput}, 'in use: what is pending');
    is($r->err, qq(cdcdump: replication slot "every_pgoutput" is in use by process $pid (the reader): looking at a temporary copy of it\n),
        'in use: by whom');
    is(slot('every_pgoutput'), $before{pgoutput}, 'in use: the slot is where it was');
    is($pg->slot('every_pgoutput')->{active_pid}, $pid, 'in use: still by the same');
    wait_until(sub { catalog() eq $catalog }, 20, 'the end of the copy');
    pass('in use: the copy has gone');

    # Functions that fit better than the server's own, which whoever may create some could put there.
    my %hostile = ('to_jsonb(pg_replication_slots)' => 'jsonb', 'quote_literal(name)' => 'text', 'pg_copy_logical_replication_slot(text, text, bool)' => 'text');
    $pg->sql('shop', join '', map { "CREATE FUNCTION public.$_ RETURNS $hostile{$_} LANGUAGE plpgsql AS " . q($$BEGIN RAISE EXCEPTION 'hijacked'; END$$;) } sort keys %hostile);
    $r = peek('every_pgoutput');
    $r->exited(0, 'in use, hostile functions: exit status 0');
    is($r->out, $given{pgoutput}, 'in use, hostile functions: what is pending');
    $pg->sql('shop', join '', map { "DROP FUNCTION public.$_;" } sort keys %hostile);

    # The copy of one that is killed does not stay, either.
    my $c = start('every_pgoutput', args => ['--idle-exit=600']);
    $c->read_lines(8);
    is($pg->sql('shop', q(SELECT count(*) FROM pg_replication_slots WHERE temporary AND slot_name LIKE 'cdcdump\_peek\_%')), 1, 'in use: a copy is read');
    $c->kill('KILL');
    $c->wait;
    wait_until(sub { catalog() eq $catalog }, 20, 'the end of the copy');
    pass('in use, kill -9: the copy has gone');

    # A plugin that refuses an option takes the copy with it.
    for my $other (grep { $_ ne 'pgoutput' } @libraries) {
        my $c = capture("every_$other", args => ['-v']);
        $c->wait_stderr(qr/streaming from/);
        my $r = peek("every_$other");
        is($r->out, $given{$other} . join('', grep { /"id":[89]\}/ } map { "$_\n" } $r->lines), "in use, $other: what is pending");
        is(() = $r->err =~ /is in use by process/g, 1, "in use, $other: said once");
        $c->kill('KILL');
        $c->wait;
    }

    my $free = $pg->sql('shop', q(SELECT setting::int - (SELECT count(*) FROM pg_replication_slots) FROM pg_settings WHERE name = 'max_replication_slots'));
    $pg->sql('shop', "SELECT pg_create_physical_replication_slot('filler_' || g) FROM generate_series(1, $free) g");
    $r = peek('every_pgoutput');
    $r->exited(3, 'no free slot: exit status 3');
    like($r->err, qr/\Acdcdump: error: replication slot "every_pgoutput" is in use by process $pid \(the reader\)
DETAIL:  A temporary copy of it to look at could not be made: all replication slots are in use\.\nHINT:  .*max_replication_slots.*\n\z/, 'no free slot: who has it and why there is no copy');
    is($r->out, '', 'no free slot: no output');
    $pg->sql('shop', "SELECT pg_drop_replication_slot('filler_' || g) FROM generate_series(1, $free) g");
    $reader->kill('KILL');
    $reader->wait(30, drain => 0);
}

# ---- what cannot be looked at ----

$pg->sql('shop', q(SELECT pg_create_physical_replication_slot('physical')));
sub refuses ($name, $status, $said, $args, $db = 'shop') {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = Cdc->run(server => $pg, db => $db, args => $args);
    $r->exited($status, "$name: exit status $status");
    like($r->err, $said, "$name: says why");
    is($r->out, '', "$name: no output");
}
refuses('no slot', 2, qr/\Acdcdump: error: replication slot "none" does not exist\nHINT:  --list-slots shows which there are\.\n\z/, args('none'));
refuses('a physical slot', 2, qr/error: replication slot "physical" is a physical slot\n/, args('physical'));
refuses('another database', 2, qr/error: replication slot "every_pgoutput" belongs to database "shop", not to "postgres"\n/, args('every_pgoutput'), 'postgres');
refuses('another plugin', 2, qr/error: replication slot "every_test_decoding" was created for plugin "test_decoding", not for "wal2json"\n/, args('every_test_decoding', -P => 'wal2json'));
refuses('--two-phase', 2, qr/error: replication slot "every_pgoutput" does not give prepared transactions .*\nHINT:  .*it would change the slot\./, args('every_pgoutput', qw(--two-phase --transactions)));
refuses('no publication', 2, qr/\Acdcdump: error: publication "cdcdump_every_pgoutput" does not exist\nHINT:  .* by --publication; the database has "every"\.\n\z/, ['--peek', qw(-S every_pgoutput)]);
{
    my $reader = start('every_pgoutput', args => ['--idle-exit=600', '-v']);
    $reader->wait_stderr(qr/streaming from/);
    refuses('no publication, but a reader', 2, qr/publication "none" does not exist\nDETAIL:  Who reads the slot now has asked for "every"\.\nHINT:  /, args('every_pgoutput', '--publication=none'));
    $reader->stop->exited(0, 'the reader');
}
for my $option (qw(--state=x --ack-mode=read --exec=cat --startup-mode=never --publication-mode=filtered --replica-identity=full --temporary-slot --drop-slot-on-stop
    --dead-letter=x --snapshot=incremental --force)) {
    my ($name) = $option =~ /--([\w-]+)/;
    refuses($option, 2, qr/\Acdcdump: error: --peek and --$name cannot be used together\n/, ['--peek', qw(-S every_pgoutput), $option]);
}
refuses('placeholders', 2, qr/--peek and placeholders in -f cannot be used together\n/, ['--peek', qw(-S every_pgoutput -f), "$dir/{table}"]);

# A slot that gives transactions when they are prepared; a copy of it does only where the plugin is asked to.
SKIP: {
    skip_without(PgServer::version() >= 15, 'two-phase slots are read from PostgreSQL 15 on', 12);
    $pg->sql('shop', q(SELECT pg_create_logical_replication_slot('two_' || p, p, false, true) FROM unnest('{pgoutput,test_decoding}'::text[]) p;
        BEGIN; INSERT INTO u VALUES (20); PREPARE TRANSACTION 'a'; BEGIN; INSERT INTO u VALUES (21); PREPARE TRANSACTION 'b'; COMMIT PREPARED 'a'));
    my @two = qw(--two-phase --transactions);
    my %ops = (pgoutput => 'begin c prepare begin c prepare commit_prepared', test_decoding => 'begin c end');
    for my $plugin (sort keys %ops) {
        my $slot = "two_$plugin";
        refuses("$plugin, without --two-phase", 2, qr/error: replication slot "$slot" gives prepared transactions before they are committed\n/, args($slot));
        is(join(' ', map { $_->{op} } peek($slot, @two)->records), $ops{pgoutput}, "$plugin, --two-phase: what became of them");
        my $c = start($slot, args => [@two, '--idle-exit=600', '-v']);
        $c->wait_stderr(qr/streaming from/);
        my $r = peek($slot, @two);
        is(join(' ', map { $_->{op} } $r->records), $ops{$plugin}, "$plugin, --two-phase, in use: of the copy");
        my $said = $plugin eq 'pgoutput' ? '' : "DETAIL:  It gives prepared transactions when they are committed; the slot does so when they are prepared.\n";
        like($r->err, qr/looking at a temporary copy of it\n\Q$said\E\z/, "$plugin, --two-phase, in use: and where that is not the same, it is said");
        $c->stop;
        idle($slot);
    }
    $pg->sql('shop', q(COMMIT PREPARED 'b'; SELECT pg_drop_replication_slot('two_pgoutput'); SELECT pg_drop_replication_slot('two_test_decoding')));
}

# Hosts that do not have the slot are passed over.
{
    my $other = PgServer->new;
    $other->create_db('shop');
    my $r = Cdc->run(args => ['-d', PgServer::hosts('shop', [$other, $pg]), @{ args('every_pgoutput', qw(--count=1)) }]);
    $r->exited(0, 'the next host: exit status 0');
    is($r->err, qq(cdcdump: replication slot "every_pgoutput" cannot be read here: trying the next host\n), 'the next host: says so');
    is(rows($r), 'c:1 c:2 c:3', 'the next host: what is pending there');
    $other->stop('immediate');
}

# Changes that are older than the publication cannot be had, through a look or otherwise.
$pg->sql('shop', q(SELECT pg_create_logical_replication_slot('early', 'pgoutput'); INSERT INTO u VALUES (10); CREATE PUBLICATION late FOR TABLE u; INSERT INTO u VALUES (11)));
refuses('a late publication', 4, qr/error: could not read .*"late".*\n(?:(?:DETAIL|HINT):  .*\n)*HINT:  The publication did not exist at that point of the WAL, .*-I LSN/s, args('early', '--publication=late'));
idle('early');
is(rows(peek('early', '--publication=late', -I => $pg->sql('shop', 'SELECT pg_current_wal_flush_lsn()'))), '', '-I behind it');
is(rows(peek('early', '--publication=late', -I => (records(peek('every_pgoutput')->out))[-1]{commit_lsn})), 'c:11', '-I behind the publication, but before a change');

# ---- all is as it was ----

$pg->sql('shop', q(SELECT pg_drop_replication_slot('early'); SELECT pg_drop_replication_slot('physical'); DROP PUBLICATION late));
is(catalog(), $catalog, 'publications, replica identities and slots are as they were');
idle("every_$_") for @libraries;
$pg->restart('immediate');
for my $plugin (@libraries) {
    my $looked = peek("every_$plugin")->out;
    is(substr($looked, 0, length $given{$plugin}), $given{$plugin}, "$plugin, after a crash of the server: the same changes first");
    is(capture("every_$plugin", args => [-E => 'now'])->wait->out, $looked, "$plugin: a capture gets what was looked at");
    is(peek("every_$plugin")->out, '', "$plugin: then nothing is pending");
}

# ---- a slot that is lost ----

SKIP: {
    skip_without(PgServer::version() >= 13, 'max_slot_wal_keep_size came with PostgreSQL 13', 3);
    $pg->append_conf({ max_slot_wal_keep_size => '1MB' });
    $pg->reload;
    wait_until(sub {
        $pg->sql('shop', q(SELECT pg_switch_wal(); INSERT INTO u SELECT max(id) + 1 FROM u; CHECKPOINT));
        $pg->slot('every_pgoutput')->{wal_status} eq 'lost';
    }, 30, 'the slot to be lost');
    refuses('a lost slot', 4, qr/error: position lost: replication slot "every_pgoutput" has been invalidated \(/, args('every_pgoutput'));
}

done_testing;
