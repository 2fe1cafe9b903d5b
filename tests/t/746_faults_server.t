# The connection to the server: bytes that come one by one, calls that are interrupted or would block, a cut
# at each call in turn, errors of calls, and clocks that jump.  The output is the same, each change once.
#
# CDCTEST_ALL_CALLS=1: at all calls, not just some.  CDCTEST_SEED=N makes the same choices again; the seed is
# printed.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use List::Util qw(shuffle);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

skip_all_without(!CdcTest::Faults::why_not(), CdcTest::Faults::why_not());

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- a backlog that every slot gets ----

$pg->create_db('shop');
$pg->sql('shop', q(CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL;
    CREATE PUBLICATION p FOR TABLE t; SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
$pg->sql('shop', <<SQL) for 1 .. 20;
INSERT INTO t SELECT g, repeat('v', g % 97) FROM generate_series($_ * 10, $_ * 10 + 3) g;
UPDATE t SET v = v || 'w' WHERE id = $_ * 10;
DELETE FROM t WHERE id = $_ * 10 + 1;
SQL
$pg->sql('shop', q(INSERT INTO t SELECT g, repeat('z', 200) FROM generate_series(1000, 1200) g));
my $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
my $session = $pg->session('shop');
my $faults = CdcTest::Faults->new;
my $dir = scratch();

sub renew_slot ($name) {
    wait_until(sub { ($session->try("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$name'"))[0] },
        30, "slot $name to be free");
    $session->sql("SELECT pg_copy_logical_replication_slot('base', '$name')");
}
sub confirmed () { return lsn_num($session->sql(q(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 's'))) }
sub saved () { return -e "$dir/s.json" ? lsn_num(JSON::PP->new->decode(slurp("$dir/s.json"))->{lsn}) : confirmed() }

sub start (%how) {
    my $more = delete $how{more} // [];
    return Cdc->start(server => $pg, db => 'shop', stdout => 'null', %how,
        args => [-S => 's', '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
            '--state' => "$dir/s.json", '--retry-delay' => '0.01', '--retries' => 5, -E => $end, @$more]);
}
sub begin () { unlink glob "$dir/*"; renew_slot('s') }
my @to_file = (more => ['-f', "$dir/out"]);

begin();
start(@to_file)->wait->exited(0, 'an undisturbed run');
my $want = slurp("$dir/out");
is($want =~ tr/\n//, 20 * 6 + 201, 'has all changes');

# is() would print all of it.
sub same ($have, $name) { ok($have eq $want, $name) or diag(length($have) . ' bytes, not ' . length $want) }

# ---- what must not matter ----

my @in = (call => 'recv', path => 'socket:', times => 0);
my @out = (call => 'send', path => 'socket:', times => 0);
my %harmless = (
    'one byte at a time'   => [[@in, short => 1]],
    'seven bytes at a time' => [[@in, short => 7]],
    'one byte sent at a time' => [[@out, short => 1]],
    'interrupted'          => [[@in, error => 'EINTR', every => 2], [@out, error => 'EINTR', every => 2], [call => 'poll', error => 'EINTR', every => 2, times => 0]],
    'would block'          => [[@in, error => 'EAGAIN', every => 2], [@out, error => 'EAGAIN', every => 2]],
    'all of it'            => [[@in, error => 'EINTR', every => 3], [@in, error => 'EAGAIN', nth => 2, every => 3], [@in, short => 3],
        [@out, error => 'EINTR', every => 3], [@out, short => 5], [call => 'poll', error => 'EINTR', every => 3, times => 0]],
);
for my $name (sort keys %harmless) {
    for my $tcp (0, 1) {
        my $what = "$name, " . ($tcp ? 'TCP' : 'a socket');
        begin();
        $faults->clear;
        my @rules = map { $faults->arm(@$_) } @{ $harmless{$name} };
        my $r = start(@to_file, tcp => $tcp, env => $faults->env)->wait;
        $r->exited(0, "$what: exit status");
        is($r->err, '', "$what: nothing to say");
        is(scalar(grep { $faults->fired($_) == 0 } @rules), 0, "$what: happened") and note(join ' ', map { $faults->fired($_) } @rules);
        same(slurp("$dir/out"), "$what: the same output");
    }
}
lap('harmless');

# ---- at each call in turn ----

# The run goes on by itself, or gives up; then the next one does.
sub trial ($n, $what, %rule) {
    begin();
    $faults->clear;
    my $rule = $faults->arm(%rule, nth => $n);
    my $r = start(@to_file, env => $faults->env)->wait;
    my $fired = $faults->fired($rule);
    my @wrong;
    push @wrong, $r->describe . ' ' . $r->err unless defined $r->exit && $r->exit =~ ($fired ? qr/\A[03]\z/ : qr/\A0\z/);
    push @wrong, sprintf 'took %.0f s', $r->seconds if $r->seconds > CdcTest::Process::patient(15);
    push @wrong, 'says nothing' if $r->exit && $r->err !~ /^cdcdump: error: /m;
    push @wrong, 'the slot is ahead of the state file' if confirmed() > saved();
    push @wrong, 'said to have ended, but has not all' if defined $r->exit && $r->exit == 0 && slurp("$dir/out") ne $want;
    my $last = start(@to_file)->wait;
    push @wrong, 'then: ' . $last->describe . ' ' . $last->err unless defined $last->exit && $last->exit == 0;
    push @wrong, 'then has something else' if slurp("$dir/out") ne $want;
    return ($fired, $r->exit, map { "$what at $n: $_" } @wrong);
}

# $sample: of so many calls, some; else until a run sees no fault.
sub sweep ($what, $sample, %rule) {
    my ($fired, $over, $again, @wrong) = (0, 0, 0);
    my @at = $sample && !$ENV{CDCTEST_ALL_CALLS} ? shuffle(1 .. 2 * $sample) : 1 .. 300;
    for my $n (@at) {
        my ($hit, $exit, @complaints) = trial($n, $what, %rule);
        push @wrong, @complaints;
        $fired++ if $hit;
        $again++ if $hit && defined $exit && $exit == 0;
        # pieces come as they come, so the number of calls is not always the same
        last if @at == 300 && !$hit && ++$over == 2 || $sample && @at < 300 && $fired == $sample;
    }
    is(join("\n", @wrong), '', "$what: all is right");
    cmp_ok($fired, '>=', $sample ? $sample / 2 : 10, "$what: faults");
    lap("$what: $fired, after $again of them the run went on");
    return $again;
}

my $again = sweep('cut before a call', 0, call => [qw(send recv)], path => 'socket:', cut => 1);
cmp_ok($again, '>=', 1, 'some of the runs go on by themselves');
sweep('reset', 6, call => 'recv', path => 'socket:', error => 'ECONNRESET');
sweep('timed out', 6, call => 'recv', path => 'socket:', error => 'ETIMEDOUT');
sweep('not refused for long', 2, call => 'connect', error => 'ECONNREFUSED');
sweep('no descriptor', 2, call => 'socket', error => 'EMFILE');
sweep('no memory to wait', 6, call => 'poll', error => 'ENOMEM');

# ---- clocks ----

# The wall clock is for records only; timers do not care, neither does the order of anything.
for my $jump (-86400, 3600, 10 * 365 * 86400) {
    begin();
    $faults->clear;
    $faults->clock(realtime => $jump);
    my $r = start(@to_file, env => $faults->env, more => ['-f', "$dir/out", '-e', 'debezium'])->wait;
    $r->exited(0, "wall clock, $jump seconds off: exit status");
    my ($ms) = slurp("$dir/out") =~ /"ts_ms":(\d+),"ts_us":\d+,"ts_ns":\d+\}$/m;
    cmp_ok(abs($ms / 1000 - time - $jump), '<', 60, "wall clock, $jump seconds off: records have it");
    start(@to_file)->wait->exited(0, "wall clock, $jump seconds off: the next run");
    is(slurp("$dir/out") =~ tr/\n//, 321, "wall clock, $jump seconds off: each change once");
}

# A suspended machine: time has passed, and all timers are due.
{
    begin();
    $faults->clear;
    $faults->clock(realtime => 0);
    my $c = start(env => $faults->env, stdout => 'pipe', more => ['-E', 'FFFF/0', '--status-interval' => 10]);
    my @lines = $c->read_lines(321);
    my $id = 5000;
    for my $jump (30, 3600, 86400) {
        $faults->clock(monotonic => $jump, realtime => $jump);
        $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$id . ", 'later')");
        push @lines, $c->read_until(qr/"id":$id,/);
        my $lsn = $pg->wal_lsn;
        $faults->clock(monotonic => $jump + 20, realtime => $jump + 20);
        $c->wait_written($lsn);
        wait_until(sub { confirmed() >= lsn_num($lsn) || $c->kill('USR1') && 0 }, 10, "the position after a jump of $jump seconds");
        pass("clocks, $jump seconds ahead: goes on and acknowledges");
    }
    # and back, which only the wall clock can do
    $faults->clock(realtime => -3600);
    $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$id . ", 'back')");
    push @lines, $c->read_until(qr/"id":$id,/);
    my $r = $c->stop;
    $r->exited(0, 'clocks: stopped');
    is($r->out =~ tr/\n//, 325, 'clocks: each change once');
    is(join('', map { "$_\n" } @lines[0 .. 320]), $want, 'clocks: and right');
    $faults->clock(monotonic => 0, realtime => 0);
}
lap('clocks');
done_testing;
