# The server goes away and comes back: the run goes on, without loss and without duplicates.
use v5.36;
use CdcTest;
use CdcTest::Workload;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
CdcTest::Workload::create($pg, 'shop');
my $dir = scratch();

sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '-e' => 'plain', '--retry-delay' => '0.1', '--transport' => 'stream', '--state' => "$dir/$name.json", @more];
}

sub start ($name, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($name, @more)) }
sub run ($name, @more) { return start($name, @more)->wait }

sub streaming ($c) { $c->wait_stderr(qr/streaming from/); return $c }
# So that a stop does not come between rows and their commit: what is not whole is cut off, or comes again.
sub stop_behind_all ($c) { $c->wait_written($pg->wal_lsn); return $c->stop }
sub connections ($c) { return scalar(() = $c->stderr =~ /streaming from/g) }

# Each line has its place in one transaction: 1, 2, 3, … to $n.
sub is_one_transaction ($bytes, $n, $name) {
    my ($next, $wrong) = (1, 0);
    while ($bytes =~ /"seq":(\d+),/g) { $wrong++ if $1 != $next++ }
    is("$wrong wrong, " . ($next - 1), "0 wrong, $n", $name);
}

# ---- the connection is cut in mid-transaction ----

run('s', '-E', 'now')->exited(0, 'a slot');
my $rows = 20_000;
$pg->sql('shop', "INSERT INTO item SELECT g, repeat('y', 200), 0, NULL FROM generate_series(1, $rows) g");
for my $wall (qw(pipe file)) {
    my $file = "$dir/big.out";
    my $c = $wall eq 'pipe' ? start('s', '-v', '-E', 'now')
        : Cdc->start(server => $pg, db => 'shop', args => args('s2', '-v', '-f', $file), stdout => 'null');
    streaming($c);
    if ($wall eq 'pipe') {
        # Nothing is read, so it stands in the middle of the transaction.
        my @first = $c->read_lines(10);
        like($first[9], qr/"seq":10,/, 'pipe: the transaction has begun to come');
        sleep 0.3;
    } else {
        $pg->sql('shop', 'UPDATE item SET n = n + 1 WHERE id <= ' . $rows);
        wait_until(sub { -s $file }, 10, 'output');
    }
    ok($pg->terminate_slot_user($wall eq 'pipe' ? 's' : 's2'), "$wall: there was a connection to cut");
    wait_until(sub { connections($c) == 2 || !$c->running || ($wall eq 'pipe' && $c->read_some(65536, 0.01), 0)[-1] },
        20, 'the second connection');
    like($c->stderr, qr/terminating connection due to administrator command|lost the connection/, "$wall: it was cut");
    like($c->stderr, qr/trying again in 0\.1 seconds/, "$wall: and is taken up again");
    if ($wall eq 'pipe') {
        my $r = $c->wait;
        $r->exited(0, 'pipe: to the end');
        is_one_transaction($r->out, $rows, 'pipe: every change once, though it was cut in the middle');
        run('s2', '-E', 'now')->exited(0, 'another slot');
    } else {
        wait_until(sub { -s $file && slurp($file) =~ /"seq":$rows,.*\n\z/ }, 20, 'all of it');
        stop_behind_all($c)->exited(0, 'file: stopped');
        is_one_transaction(slurp($file), $rows, 'file: every change once, though it was cut in the middle');
    }
}
$pg->sql('shop', 'TRUNCATE item');
run('s', '-E', 'now')->exited(0, 'on from there');

# ---- cut again and again, restarted in every way, while others write ----

my $oracle = CdcTest::Workload::oracle();
sub through_trouble ($name, $trouble, $times) {
    my $file = "$dir/$name";
    pipe my $from, my $to or die "pipe: $!";
    my $reader = CdcTest::Process->spawn(argv => ['cat'], stdin => $from, stdout => ">$file");
    my $c = streaming(Cdc->start(server => $pg, db => 'shop', stdout => $to, args => args('s', '-v')));
    close $_ for $from, $to;
    for my $n (1 .. $times) {
        my $writer = $pg->session('shop');
        $writer->send(CdcTest::Workload::work($n, 100, 0.002));
        sleep 0.1;
        my $before = connections($c);
        $trouble->();
        wait_until(sub { connections($c) > $before }, 20, 'another connection');
        $writer->finish;
    }
    $pg->sql('shop', "INSERT INTO pair VALUES (9, '$name')");
    wait_until(sub { slurp($file) =~ /"b":"\Q$name\E"/ }, 20, 'the last change');
    cmp_ok(connections($c), '>', $times, "$name: there was trouble $times times");
    my $r = stop_behind_all($c);
    $r->exited(0, "$name: stopped");
    $reader->wait_exit(10);
    $oracle->apply(records(slurp($file)));
    $oracle->faultless("$name: every change once, through a pipe");
    CdcTest::Workload::compare($oracle, $pg, 'shop', $name);
    return $r;
}

sub restart ($how) { $pg->stop($how, 10); sleep 0.15; $pg->start }
my $r = through_trouble('terminated', sub { $pg->terminate_slot_user('s') or die 'nothing to terminate' }, 5);
$r = through_trouble('fast restart', sub { restart('fast') }, 2);
like($r->err, qr/the server has ended the stream|server closed the connection|terminating connection|shutting down|lost the connection/, 'fast restart: the end is said');
$r = through_trouble('immediate restart', sub { restart('immediate') }, 2);
like($r->err, qr/lost the connection|server closed the connection/, 'immediate restart: the loss is said');

# ---- a server that is not there ----

$pg->stop;
$r = run('s', '-E', 'now');
$r->exited(3, 'no server at the start: ends at once');
cmp_ok($r->seconds, '<', 2, 'within no time');
like($r->err, qr/error: could not connect/, 'and says so');
unlike($r->err, qr/trying again/, 'and does not try again');
$r = run('s', '-E', 'now', '--retries=3', '--retry-delay=0.1');
$r->exited(3, '--retries=3: tries so often');
is(join(' ', $r->err =~ /trying again in (\S+) seconds/g), '0.1 0.2 0.4', 'with growing pauses');
cmp_ok($r->seconds, '>=', 0.7, 'which are kept');
my $c = start('s', '-E', 'now', '--retries=100');
$c->wait_stderr(qr/(trying again.*){2}/s);
$pg->start;
$c->wait->exited(0, '--retries=100: goes on when the server is there');
ok(-e "$dir/s.json", 'with its state');

$c = streaming(start('s', '-v', '--retries=0'));
$pg->stop('immediate');
$r = $c->wait(10);
$r->exited(3, '--retries=0: a lost connection is the end');
unlike($r->err, qr/trying again/, 'without another try');
$pg->start;
$c = streaming(start('s', '-v', '--retries=2'));
$pg->stop('immediate');
$r = $c->wait(10);
$r->exited(3, '--retries=2: gives up');
is(scalar(() = $r->err =~ /trying again/g), 2, 'after two');
$pg->start;

# Time spent waiting for the server is not lost on a signal.
$c = streaming(start('s', '-v', '--retry-delay=20'));
$pg->stop('immediate');
$c->wait_stderr(qr/trying again in 20 seconds/);
$r = $c->stop('TERM', 5);
$r->exited(0, 'a signal ends the wait for the server');
cmp_ok(time - $c->{process}{ended}, '<', 5, 'at once');
$pg->start;

# ---- the server is not held up ----

for my $busy (0, 1) {
    my $name = $busy ? 'busy' : 'idle';
    my $c = Cdc->start(server => $pg, db => 'shop', stdout => ">$dir/stop.$name",
        args => [-S => 's', '-m' => 'never', '-e' => 'plain', '-v', '--state' => "$dir/s.json", '--retry-delay' => '0.5']);
    streaming($c);
    my $writer = $pg->session('shop');
    if ($busy) {
        $writer->send('INSERT INTO item SELECT 5000000 + g FROM generate_series(1, 30000) g; ' . CdcTest::Workload::work(2, 5000, 0));
        wait_until(sub { -s "$dir/stop.$name" }, 10, 'output');
    } else {
        $pg->sql('shop', q(INSERT INTO pair VALUES (8, 'idle')));
    }
    my $began = time;
    ok(eval { $pg->stop('fast', 5) }, "a fast stop of the server is not held up: $name") or do { diag($c->stderr); $pg->stop('immediate') };
    note sprintf 'stopped in %.2f s', time - $began;
    ok($c->running, "$name: cdcdump was there and waits");
    $pg->start;
    $c->wait_stderr(qr/(streaming from.*){2}/s);
    $pg->sql('shop', "INSERT INTO pair VALUES (8, 'after $name')");
    wait_until(sub { slurp("$dir/stop.$name") =~ /"after $name"/ }, 10, 'the change after the restart');
    stop_behind_all($c)->exited(0, "$name: goes on");
    $oracle->apply(records(slurp("$dir/stop.$name")));
    $oracle->faultless("$name: nothing lost, nothing twice");
    CdcTest::Workload::compare($oracle, $pg, 'shop', $name);
}

# ---- the slot goes away ----

$c = streaming(start('s', '-v', '--retry-delay=1'));
$pg->terminate_slot_user('s') or die 'nobody uses the slot';
# once more where it was quicker to come back
$pg->wait_for(sub {
    my ($failed) = $pg->try_sql('postgres', q(SELECT pg_drop_replication_slot('s')));
    $pg->terminate_slot_user('s') if $failed;
    return !$failed;
}, 10, 'the slot to be dropped');
$r = $c->wait(10);
$r->exited(4, 'the slot is dropped while it is in use');
like($r->err, qr/position lost: replication slot "s" does not exist/, 'and says so');
run('s', '-E', 'now')->exited(4, 'the next run does not create it');
is($pg->slot('s'), undef, 'really not');

done_testing;
