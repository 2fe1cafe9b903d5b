# What must not happen while something takes its time: readers, servers, locks.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my @here = (server => $pg, db => 'shop');

sub slot ($name) {
    Cdc->run(@here, args => ['-q', '-S', $name, qw(-m never -E now)])->exited(0, "slot $name");
}

sub status ($c, $member) {
    my ($value) = slurp('/proc/' . $c->pid . '/status') =~ /^$member:\s+(\d+)/m;
    return $value;
}

sub cpu_seconds ($c) {
    my @stat = split ' ', slurp('/proc/' . $c->pid . '/stat') =~ s/.*\)//sr;
    return ($stat[11] + $stat[12]) / 100;
}

# ---- a slow reader ----
# The sanitizers keep what has been freed for a while: their memory says nothing.
my $sanitized = slurp($Cdc::BINARY) =~ /__asan_init/;

slot('slow');
$pg->sql('shop', q(INSERT INTO t SELECT g, 'name ' || g FROM generate_series(1, 100000) g));
my $slow = Cdc->start(@here, args => [qw(-S slow -m never --stall-timeout=600)]);
my ($read, $greatest) = (0, 0);
while ($read < 16_000_000) {
    $read += $slow->read_some(65536, 10);
    my $rss = status($slow, 'VmRSS');
    $greatest = $rss if $rss > $greatest;
    sleep 0.002;
}
ok($read >= 16_000_000, 'a slow reader has had 16 MB');
SKIP: {
    skip_without(!$sanitized, 'memory of a sanitizer build', 1);
    ok($greatest < 16 * 1024, 'and memory has not grown with it') or diag("$greatest kB");
}
$slow->kill('KILL');
$slow->wait(10);

# ---- a steady slow reader is no stalled one ----
my $steady = Cdc->start(@here, args => [qw(-S slow -m never --stall-timeout=2)]);
my $until = time + 5;
while (time < $until) {
    $steady->read_some(65536, 5);
    sleep 0.05;
}
unlike($steady->stderr, qr/has taken nothing/, 'one who reads without pause is not taken for a stalled one');
$steady->kill('KILL');
$steady->wait(10);

# ---- timers that are due in the middle of a transaction ----
# They must not be due before it; where they are, nothing is taken, and they get more time.
my $waiting;
for my $due (0.5, 2, 10) {
    $waiting = Cdc->start(@here, args => [qw(-S slow -m never --heartbeat=0.2 --stall-timeout=600), "--max-time=$due", "--idle-exit=$due"]);
    sleep($due + 0.5), last if eval { $waiting->read_until(qr/"op":"c"/) };
}
my $before = cpu_seconds($waiting);
sleep 1.5;
cmp_ok(cpu_seconds($waiting) - $before, '<', 0.5, 'timers that wait for the end of a transaction do not spin');
ok($waiting->running, 'and do not end it within');
$waiting->kill('KILL');
$waiting->wait(10);

# ---- the reader's pause is not the server's silence ----
slot('idle');
$pg->sql('shop', 'DELETE FROM t');
$pg->sql('shop', q(DO $$ BEGIN FOR i IN 1..10000 LOOP INSERT INTO t VALUES (i, repeat('x', 200)); COMMIT; END LOOP; END $$));
my $idle = Cdc->start(@here, args => [qw(-S idle -m never --idle-exit=1)]);
$idle->read_some(100, 10);
sleep 2.5;
my $r = $idle->wait(60);
$r->exited(0, '--idle-exit, with a reader that pauses');
cmp_ok(scalar(() = $r->out =~ /"op":"c"/g), '>=', 9_999, 'ends after the last change');

# ---- a socket whose reader goes away ----
slot('sock');
$pg->sql('shop', q(INSERT INTO t SELECT g, 'sock' FROM generate_series(20001, 20005) g));
socketpair(my $ours, my $theirs, 1, 1, 0) or die "socketpair: $!";    # AF_UNIX, SOCK_STREAM
my $state = scratch() . '/sock.json';
my $sock = Cdc->start(@here, args => [qw(-S sock -m never --state), $state], stdout => $theirs);
close $theirs;
sysread $ours, my $some, 100;
sleep 0.3;
close $ours;
$sock->wait(10)->signaled('PIPE', 'a socket whose reader has gone');
is(scalar(() = Cdc->run(@here, args => [qw(-S sock -m never -E now --state), $state])->out =~ /"op":"c"/g), 5,
    'what nobody read comes again');

# ---- statements that wait ----
my $holder = $pg->session('shop');
$holder->sql('BEGIN; LOCK TABLE t');
my $locked = Cdc->start(@here, args => [qw(-S locked -m never --replica-identity=full)]);
$pg->wait_for(sub { $pg->sql('shop', q(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock')) > 0 },
    10, 'ALTER TABLE waits for the lock');
$locked->kill('TERM');
$locked->wait(5)->exited(0, 'SIGTERM while a statement waits for a lock');
$holder->sql('ROLLBACK');
is($pg->slot('locked'), undef, 'and nothing has been created');

Cdc->run(@here, args => [qw(-S fresh -m never -I 0/100)])->exited(2, '-I with a slot that does not exist');
is($pg->slot('fresh'), undef, 'creates none');

# ---- SIGHUP ----
my $nohup = Cdc->start(@here, args => [qw(-S sock -m never -v)], wrap => ['nohup']);
$nohup->wait_stderr(qr/streaming from/);
$nohup->kill('HUP');
sleep 0.5;
ok($nohup->running, 'under nohup SIGHUP is ignored');
$nohup->stop('TERM');

# ---- a server that stays away ----
my $limited = Cdc->start(@here, args => [qw(-S sock -m never -v --max-time=4 --retry-delay=0.5)]);
$limited->wait_stderr(qr/streaming from/);
$pg->stop('immediate');
$limited->wait(15)->exited(3, '--max-time holds while the server is away');

done_testing;
