# A limit on the WAL that slots may keep: who stops reading holds up no checkpoint for longer than the
# stall timeout, and a slot that is lost ends the run, at once and for good.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

# Segments of 1 MB, of which a slot may keep a few.
skip_all_without(PgServer::version() >= 13, 'max_slot_wal_keep_size came with PostgreSQL 13');
my $pg = PgServer->new(initdb => ['--wal-segsize=1'],
    extra_conf => { max_slot_wal_keep_size => '4MB', min_wal_size => '2MB', max_wal_size => '1GB', checkpoint_timeout => '1h' });
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t');
my $dir = scratch();

sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '-e' => 'plain', '--publication' => 'p', '--publication-mode' => 'existing',
        '--state' => "$dir/$name.json", '--retry-delay' => '0.1', '-v', @more];
}

sub start ($name, $stdout, @more) { return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => args($name, @more)) }
sub run ($name, $stdout, @more) { return start($name, $stdout, -E => 'now', @more)->wait }
sub streaming ($c, $n = 1) { $c->wait_stderr(qr/(streaming from.*){$n}/s); return $c }
sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }

my $last = 0;
sub insert ($n, $length = 200) {
    my ($from, $to) = ($last + 1, $last += $n);
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', $length) FROM generate_series($from, $to) g");
}

sub ids ($bytes) { return $bytes =~ /"row":\{"id":(\d+),/g }

# More than a slot may keep.
sub fill ($megabytes = 8) {
    $pg->sql('shop', qq(SELECT count(pg_logical_emit_message(false, 'fill', repeat('z', 8000))) FROM generate_series(1, $megabytes * 128)));
}

# A slot whose restart_lsn is near its position: else the first checkpoint loses it whatever it reads.
sub ready ($name) {
    run($name, 'null')->exited(0, "$name: a slot") unless $pg->slot($name);
    wait_until(sub {
        $pg->sql('shop', 'CHECKPOINT');
        run($name, 'null');
        lsn_num($pg->wal_lsn) - lsn_num($pg->slot($name)->{restart_lsn}) < 1 << 20;
    }, 20, 'restart_lsn to follow');
}

sub is_lost ($name) {
    my $slot = $pg->slot($name);
    return ($slot->{wal_status} // '') eq 'lost';
}

# How long a checkpoint takes; it is cancelled where it does not end.
sub checkpoint ($name, $seconds) {
    my $session = $pg->session('postgres');
    $session->sql("SET statement_timeout = '60s'");
    my $began = time;
    my ($ok, undef, $err) = $session->try('CHECKPOINT', 90);
    my $took = time - $began;
    ok($ok && $took < CdcTest::Process::patient($seconds), "$name: the checkpoint ends") or diag("$took s: $err");
    note sprintf '%s: %.2f s', $name, $took;
    return $took;
}

sub refused ($name, $what) {
    my $before = slurp("$dir/$name.json");
    my $r = run($name, 'pipe', '--retries=1000');
    $r->exited(4, "$what: exit status 4");
    like($r->err, qr/position lost: replication slot "$name" has been invalidated \((?:lost|wal_removed)\)\nDETAIL:.*\nHINT:/, "$what: says why");
    unlike($r->err, qr/trying again/, "$what: does not try again");
    cmp_ok($r->seconds, '<', CdcTest::Process::patient(5), "$what: ends at once");
    is($r->out, '', "$what: no output");
    ok(slurp("$dir/$name.json") eq $before, "$what: the state is as it was");
}

# ---- as long as it reads, the slot follows ----

{
    ready('alive');
    my $c = streaming(start('alive', ">$dir/alive.out"));
    for (1 .. 4) {
        insert(2000);
        $c->wait_written($pg->wal_lsn);
        wait_until(sub { lsn_num($pg->slot('alive')->{confirmed_flush_lsn}) >= lsn_num(saved('alive')->{lsn}) }, 20, 'the acknowledgment');
        $pg->sql('shop', 'CHECKPOINT');
    }
    ok(!is_lost('alive'), 'a slot that is read is not lost');
    $c->stop->exited(0, 'and read on');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('alive')));
}

# ---- a reader that has stopped, in the middle of a large transaction ----

{
    ready('full');
    my $c = streaming(start('full', 'pipe', '--stall-timeout=2'));
    my $first = $last + 1;
    insert(20_000);
    my $behind = $pg->wal_lsn;
    $c->read_lines(1);
    fill();
    my $took = checkpoint('a stopped reader', 15);
    ok(is_lost('full'), 'a stopped reader: the slot is lost');
    $c->wait_stderr(qr/the output has taken nothing for 2 seconds: giving up the connection/);
    ok($c->running, 'a stopped reader: the run waits for it');
    unlike($c->stderr, qr/position lost/, 'a stopped reader: and does not know yet');
    my $r = $c->wait(30);
    $r->exited(4, 'the reader goes on: exit status 4');
    like($r->err, qr/position lost: replication slot "full" has been invalidated/, 'the reader goes on: is told why');
    my @ids = ids($r->out);
    is("$ids[0]..$ids[-1]", "$first.." . ($first + $#ids), 'the reader goes on: and has got what had been read');
    cmp_ok(scalar(@ids), '<', 20_000, 'the reader goes on: which is not all');
    cmp_ok(lsn_num(saved('full')->{lsn}), '<', lsn_num($behind), 'the reader goes on: nothing of the transaction is accepted');
    refused('full', 'the next run');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('full')));
}

# The same with what fits into the pipe, and a reader that comes back before the limit is reached.
{
    ready('some');
    my $c = streaming(start('some', 'pipe', '--stall-timeout=2'));
    my $first = $last + 1;
    insert(10);
    $c->wait_stderr(qr/the output has taken nothing for 2 seconds/);
    checkpoint('an unread pipe', 15);
    ok(!is_lost('some'), 'an unread pipe: the slot is there');
    is(join(' ', map { ids($_) } $c->read_lines(10)), join(' ', $first .. $last), 'an unread pipe: is read');
    streaming($c, 2);
    insert(1);
    $c->read_until(qr/"id":$last,/);
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'an unread pipe: goes on');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('some')));
}

# ---- a slot that is lost while it is in use, and while it is not ----

{
    ready('busy');
    my $c = streaming(start('busy', ">$dir/busy.out"));
    insert(3);
    $c->wait_written($pg->wal_lsn);
    my @before = ids(slurp("$dir/busy.out"));
    $c->kill('STOP');
    fill();
    checkpoint('a stopped run', 15);
    ok(is_lost('busy'), 'a stopped run: the slot is lost');
    insert(3);
    $c->kill('CONT');
    my $r = $c->wait(20);
    $r->exited(4, 'lost while in use: exit status 4');
    like($r->err, qr/position lost: replication slot "busy" has been invalidated/, 'lost while in use: says so');
    cmp_ok(scalar(() = $r->err =~ /trying again/g), '<=', 2, 'lost while in use: no endless tries');
    is(join(' ', ids(slurp("$dir/busy.out"))), "@before", 'lost while in use: nothing from behind the gap');
    refused('busy', 'and then');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('busy')));

    ready('idle');
    fill();
    checkpoint('without a run', 10);
    ok(is_lost('idle'), 'without a run: the slot is lost');
    refused('idle', 'lost while not in use');
    my $s = run('idle', 'pipe', '-m' => 'when_needed');
    $s->exited(0, 'when_needed: begins anew');
    is(scalar(my @rows = $s->out =~ /^\{"op":"r"/mg), $last, 'when_needed: with a snapshot');
    ok(!is_lost('idle'), 'when_needed: and another slot');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('idle')));
}

# ---- a server that loses patience soon ----

{
    $pg->append_conf({ max_slot_wal_keep_size => '-1', wal_sender_timeout => '2s' });
    $pg->reload;
    ready('soon');
    my $mark = $pg->log_mark;
    my $c = streaming(start('soon', 'pipe'));
    sleep 3;
    my $first = $last + 1;
    insert(20_000);
    my @ids = map { ids($_) } $c->read_lines(100);
    sleep 3;    # the reader pauses for longer than the server would wait
    push @ids, map { ids($_) } $c->read_lines(19_900);
    $c->wait_written($pg->wal_lsn, 30);
    is("$ids[0]..$ids[-1] " . @ids, "$first..$last 20000", 'a short wal_sender_timeout: every change once');
    ok(!$pg->log_contains(qr/terminating walsender process due to replication timeout/, $mark), 'and the server never had to give up');
    my $connections = () = $c->stderr =~ /streaming from/g;
    $c->kill('STOP');
    wait_until(sub { $pg->log_contains(qr/terminating walsender process due to replication timeout/, $mark) }, 20, 'the timeout');
    $c->kill('CONT');
    insert(1);
    $c->read_until(qr/"id":$last,/);
    cmp_ok(scalar(() = $c->stderr =~ /streaming from/g), '>', $connections, 'a run that was stopped connects anew');
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'and goes on');
}

done_testing;
