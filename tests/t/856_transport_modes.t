# Through SQL in every kind of run: an idle slot, runs without an end, --peek, snapshots, and whoever accepts the output.
use v5.36;
use CdcTest;
use CdcTest::Transports;
use POSIX ();

my $pg = PgServer->new(extra_conf => { max_replication_slots => 30 });
create_ones($pg, 'shop', 3000);
my $dir = scratch();
sub fresh () { return fresh_slot($pg, 'shop') }

my @here = (server => $pg, db => 'shop');
sub args ($slot, @how) { return ['-S', $slot, qw(-m never -e plain --publication-mode existing --publication p), @SMALL, '--transport=sql', @how] }
sub run ($slot, @how) { return Cdc->run(@here, args => args($slot, @how)) }
sub start ($slot, @how) { return Cdc->start(@here, args => args($slot, @how)) }
sub saved ($slot) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$slot.json"))->{lsn}) }
sub confirmed ($slot) { return lsn_num($pg->slot($slot)->{confirmed_flush_lsn}) }

my $whole = Cdc->run(@here, args => ['-S', fresh(), qw(-m never -e plain --publication-mode existing --publication p --transport=stream -E now)])->out;
is($whole =~ tr/\n//, 3000, 'the backlog') or BAIL_OUT('no backlog');

# ---- nothing that is captured ----

{
    $pg->sql('shop', q(SELECT pg_create_logical_replication_slot('idle', 'pgoutput')));
    $pg->sql('postgres', 'CREATE TABLE other AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 3000) g');
    my $end = $pg->wal_lsn;
    my $r = run('idle', '-E', 'now', '--state', "$dir/idle.json");
    $r->exited(0, 'idle: exit status 0');
    cmp_ok(pieces($r), '>=', 1, 'idle: through SQL');
    is($r->out, '', 'idle: nothing is given');
    cmp_ok(confirmed('idle'), '>=', lsn_num($end), 'idle: the slot has moved to the end');
    cmp_ok(saved('idle'), '>=', confirmed('idle'), 'idle: and is not ahead of the position');
}

# ---- without an end ----

{
    my $slot = fresh();
    my $c = start($slot, '--state', "$dir/$slot.json", qw(--status-interval=0.2));
    is(join('', map { "$_\n" } $c->read_lines(3000)), $whole, 'polling: the backlog');
    for my $id (10001, 10002) {
        $pg->sql('shop', "INSERT INTO t VALUES ($id, 'live')");
        my ($line) = $c->read_lines(1);
        like($line, qr/"id":$id,/, 'polling: what comes later');
    }
    is(streams($c), 0, 'polling: nothing is streamed');

    # WAL of other kinds: everything that belongs to the run moves on, or the server would keep it.
    $pg->sql('postgres', "INSERT INTO other SELECT g, repeat('z', 500) FROM generate_series(1, 2000) g; CHECKPOINT");
    my $end = lsn_num($pg->wal_lsn);
    my $least = sub {
        $pg->sql('postgres', 'SELECT pg_log_standby_snapshot()') if $pg->version >= 16;
        $pg->sql('postgres', q(INSERT INTO other VALUES (0, 'one more')));
        my $slots = $pg->query('postgres', "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE temporary OR slot_name = '$slot'");
        return @$slots >= 3 && !grep { lsn_num($_->[0]) < $end } @$slots;
    };
    ok(eval { wait_until($least, 20, 'slot and copies to move on') }, 'polling: slot and copies move on')
        or diag($@, $pg->sql('postgres', 'SELECT slot_name, confirmed_flush_lsn, restart_lsn FROM pg_replication_slots') . "\n" . $c->stderr);
    $c->wait_handler('TERM');
    my $r = $c->stop('TERM');
    $r->exited(0, 'polling: SIGTERM ends it well');
    cmp_ok(confirmed($slot), '<=', saved($slot), 'polling: the slot is not ahead of the position');
    cmp_ok(saved($slot), '>=', $end, 'polling: which is at the end');
    copies_are_gone($pg, 'polling');
    my ($first, @more) = $r->err =~ m{reading from (\S+) to }g;
    is(run($slot, '-E', 'now', '--state', "$dir/$slot.json")->out, '', 'polling: nothing comes again');
}

# ---- looking ----

{
    my $slot = fresh();
    my $before = confirmed($slot);
    my $r = Cdc->run(@here, args => ['--peek', '-S', $slot, qw(-e plain --publication p --transport=sql -E now -v)]);
    $r->exited(0, '--peek');
    cmp_ok(pieces($r), '>=', 1, '--peek: through SQL');
    is($r->out =~ tr/\n//, 3002, '--peek: everything');
    ok(index($r->out, $whole) == 0, '--peek: as it is');
    is(confirmed($slot), $before, '--peek: the slot has not moved');
    copies_are_gone($pg, '--peek');
}

# ---- who accepts the output ----

{
    my $slot = fresh();
    my $before = confirmed($slot);
    pipe my $from, my $to or die "pipe: $!";
    my $c = Cdc->start(@here, args => args($slot, '--state', "$dir/$slot.json", qw(--ack-mode=reply --ack-fd=3 --status-interval=0.2)), fds => { 3 => $from });
    close $from;
    my @lines = $c->read_lines(3002);
    my @commits = map { /"commit_lsn":"([^"]+)"/ } @lines[99, -1];
    is(confirmed($slot), $before, 'replies: none yet, the slot stays');
    syswrite $to, "$commits[0]\n";
    wait_until(sub { confirmed($slot) > $before }, 20, 'the slot to follow the reply');
    cmp_ok(confirmed($slot), '>', lsn_num($commits[0]), 'replies: the slot follows');
    my ($next) = $lines[100] =~ /"commit_lsn":"([^"]+)"/;
    cmp_ok(confirmed($slot), '<=', lsn_num($next), 'replies: no farther than that');
    cmp_ok(confirmed($slot), '<=', saved($slot), 'replies: nor than the position');
    syswrite $to, "$commits[1]\n";
    wait_until(sub { confirmed($slot) > lsn_num($commits[1]) }, 20, 'the slot to follow the last reply');
    $c->stop('TERM')->exited(0, 'replies: ends well');
}

{
    my $slot = fresh();
    my $before = confirmed($slot);
    my @state = ('--state', "$dir/$slot.json");
    my $r = run($slot, @state, qw(--ack-mode=deferred -E now));
    $r->exited(0, 'deferred: exit status 0');
    is($r->out =~ tr/\n//, 3002, 'deferred: everything');
    is(confirmed($slot), $before, 'deferred: the slot has not moved');
    Cdc->run(@here, args => ['--ack', @state])->exited(0, 'deferred: --ack');
    is(run($slot, @state, qw(--ack-mode=deferred -E now))->out, '', 'deferred: nothing comes again');
    cmp_ok(confirmed($slot), '>', $before, 'deferred: the slot has moved');
}

{
    my $slot = fresh();
    my $before = confirmed($slot);
    # each command notes where the slot is while it runs
    my $psql = PgServer::bindir() . '/psql';
    spew("$dir/command", qq(cat >> $dir/batches; echo "\$($psql -XAt -d '@{[$pg->connstr('shop')]}' -c "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'") \$CDCDUMP_FIRST_LSN" >> $dir/places));
    my $r = run($slot, '--state', "$dir/$slot.json", qw(--batch-rows=800 -E now --exec), "sh $dir/command");
    $r->exited(0, 'commands: exit status 0');
    ok(index(slurp("$dir/batches"), $whole) == 0, 'commands: everything');
    my @places = map { [map { lsn_num($_) } split ' '] } split /\n/, slurp("$dir/places");
    cmp_ok(scalar @places, '>=', 3, 'commands: several batches');
    ok(!(grep { $_->[0] > $_->[1] } @places), 'commands: the slot is never ahead of what they have had') or diag(slurp("$dir/places"));
    cmp_ok(confirmed($slot), '>', $places[-1][1], 'commands: and behind them at last');
}

# ---- rows and changes ----

for my $how (['consistent', '-m', 'initial'], ['incremental', '-m', 'initial', '--snapshot=incremental', '--chunk-size=200']) {
    my ($name, @how) = @$how;
    my $writer = $pg->session('shop');
    $writer->send('DO $$ BEGIN FOR i IN 1 .. 1500 LOOP UPDATE t SET name = i WHERE id = i; COMMIT; PERFORM pg_sleep(0.0005); END LOOP; END $$');
    my $file = "$dir/$name.out";
    my @args = ('-S', $name, @how, '-v', '--transport=sql', '--catch-up-bytes=1kB', qw(--publication-mode existing --publication p), '--state', "$dir/$name.json", '-f', $file);
    my $c = Cdc->start(@here, args => \@args);
    $c->wait_stderr(qr/reading from \S+ to \S+ through SQL/);
    $writer->finish;
    $c->wait_handler('TERM');
    my $done = $pg->wal_lsn;
    $c->wait_written($done, 30);
    $c->stop('TERM')->exited(0, "rows, $name: ends well");
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, $name eq 'incremental' ? (allow_gaps => 1) : ());
    $oracle->apply_file($file);
    $oracle->faultless("rows, $name: no loss, no duplicate");
    $oracle->compare($pg, 'shop', 'public.t');
    cmp_ok($oracle->count('r'), '>', 1000, "rows, $name: rows");
    $pg->sql('shop', "SELECT pg_drop_replication_slot('$name')");
}
copies_are_gone($pg, 'all of them');

done_testing;
