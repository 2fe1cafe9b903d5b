# How often and when a run tries again, and what it does in between.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();
my $id = 0;

sub insert () { $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$id . ', NULL)'); return $id }
sub args ($slot, @more) { return ['-S' => $slot, qw(-m never -e plain --state), "$dir/$slot.json", @more] }
sub start ($slot, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($slot, '-v', @more)) }
sub run ($slot, @more) { return start($slot, '-E' => 'now', @more)->wait(30) }
sub streaming ($c, $times = 1) { $c->wait_stderr(qr/(?:streaming from.*){$times}/s); return $c }
sub pauses ($r) { return join ' ', $r->err =~ /trying again in (\S+) seconds/g }
sub ids ($r) { return join ' ', $r->out =~ /"row":\{"id":(\d+)/g }
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }

# Nobody listens there.
my @nowhere = ('-h' => '127.0.0.1', '-p' => PgServer::free_port(), '-U' => 'postgres');
sub nowhere (@more) { return Cdc->start(args => [@nowhere, @{ args('nowhere', @more) }, 'shop']) }

# ---- how often, and when ----

for my $c (
    [[], ''],
    [['--retry-delay=0.01'], ''],
    [['--retries=0', '--retry-delay=0.01'], ''],
    [['--retries=1', '--retry-delay=0.01'], '0.01'],
    [['--retries=7', '--retry-delay=0.01'], '0.01 0.02 0.04 0.08 0.16 0.32 0.64'],
    [['--retries=2', '--retry-delay=0.3'], '0.3 0.6'],
) {
    my ($how, $expected) = @$c;
    my $r = nowhere(@$how)->wait(20);
    $r->exited(3, "@$how: status 3");
    is(pauses($r), $expected, "@$how: pauses");
    my ($n, $sum) = (0, 0);
    $n++, $sum += $_ for split ' ', $expected;
    is(scalar(() = $r->err =~ /^cdcdump: error: could not connect/mg), 1 + $n, "@$how: one try more than pauses, each with its reason");
    cmp_ok($r->seconds, '>=', $sum, "@$how: the pauses are kept");
    is($r->out, '', "@$how: gives nothing");
    ok(!-e "$dir/nowhere.json", "@$how: leaves no state file");
}

# Up to half a minute, which nobody wants to wait for: with a clock that runs a thousand times as fast.
SKIP: {
    my $cc = CdcTest::Process::find_program('cc');
    my $sanitized = slurp($Cdc::BINARY) =~ /__asan_init/;
    skip_without($cc && !$sanitized, $cc ? 'a sanitizer build takes no other library before its own' : 'there is no C compiler', 8);
    spew("$dir/fast.c", <<~'C');
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <poll.h>
        #include <time.h>
        enum { FASTER = 1000 };
        int clock_gettime(clockid_t id, struct timespec *t)
        {
            static int (*real)(clockid_t, struct timespec *);
            long long ns;
            if (!real)
                real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
            if (real(id, t) != 0 || id != CLOCK_MONOTONIC)
                return real(id, t);
            ns = (t->tv_sec % 1000000 * 1000000000LL + t->tv_nsec) * FASTER;
            t->tv_sec = ns / 1000000000;
            t->tv_nsec = ns % 1000000000;
            return 0;
        }
        int poll(struct pollfd *fds, nfds_t n, int ms)
        {
            struct timespec t = {ms / FASTER / 1000, ms % (1000 * FASTER) * (1000000LL / FASTER)};
            return ppoll(fds, n, ms < 0 ? 0 : &t, 0);
        }
        C
    my $made = CdcTest::Process->capture(argv => [$cc, qw(-shared -fPIC -o), "$dir/fast.so", "$dir/fast.c", '-ldl']);
    is($made->{exit}, 0, 'a clock is made') or diag($made->{err});
    my %fast = (env => { LD_PRELOAD => "$dir/fast.so" });
    my $r = Cdc->run(%fast, args => [@nowhere, @{ args('nowhere', '--retries=8') }, 'shop']);
    $r->exited(3, 'the default: status 3');
    is(pauses($r), '1 2 4 8 16 30 30 30', 'the default: pauses of a second to half a minute');
    cmp_ok($r->seconds, '<', 60, 'the default: on a fast clock');
    like($r->err, qr/^HINT:  Gave up after 8 retries\.\n\z/m, 'the default: the end is said');
    for my $c ([20 => '20 30 30'], [30 => '30 30 30'], [40 => '40 40 40']) {
        my ($delay, $expected) = @$c;
        $r = Cdc->run(%fast, args => [@nowhere, @{ args('nowhere', '--retries=3', "--retry-delay=$delay") }, 'shop']);
        is(pauses($r), $expected, "--retry-delay=$delay: pauses that do not shrink");
    }
}

# ---- the first connection: a signal, and questions, while it waits ----

for my $signal (qw(INT TERM)) {
    my $c = nowhere('--retries=5', '--retry-delay=20');
    $c->wait_stderr(qr/trying again in 20 seconds/);
    my $began = time;
    my $r = $c->stop($signal, 10);
    $r->exited(0, "$signal while it waits for the first connection: status 0");
    cmp_ok(time - $began, '<', 5, "$signal while it waits for the first connection: at once");
    ok(!-e "$dir/nowhere.json", "$signal while it waits for the first connection: leaves no state file");
}
{
    my $c = nowhere('--retries=5', '--retry-delay=20');
    $c->wait_stderr(qr/trying again in 20 seconds/);
    $c->kill('USR1');
    $c->wait_stderr(qr/0 records, 0 bytes; received up to/);
    $c->kill('HUP');
    $c->wait(10)->exited(0, 'SIGHUP, where no file is to be opened anew, ends it, too');
}

# ---- once connected ----

run('s')->exited(0, 'a slot');

# Progress makes earlier failures forgotten: with one retry it survives many.
{
    my $c = streaming(start('s', '--retries=1', '--retry-delay=0.05'));
    my @new;
    for my $n (1 .. 6) {
        push @new, insert();
        $c->read_until(qr/"id":$id\b/);
        $c->wait_written($pg->wal_lsn);
        $pg->terminate_slot_user('s') or die 'nobody to terminate';
        streaming($c, $n + 1);
    }
    push @new, insert();
    $c->read_until(qr/"id":$id\b/);
    $c->wait_written($pg->wal_lsn);
    my $r = $c->stop;
    $r->exited(0, 'with progress in between one retry is enough');
    is(pauses($r), join(' ', ('0.05') x 6), 'and each pause is the first one');
    is(ids($r), "@new", 'every change, once');
}

# Without --retries: on and on.
{
    my $new = insert();
    my $c = streaming(start('s', '--retry-delay=0.01'));
    $c->read_until(qr/"id":$new\b/);
    $c->wait_written($pg->wal_lsn);
    $pg->stop('fast', 20);
    $c->wait_stderr(qr/(?:trying again.*){7}/s);
    $pg->start;
    streaming($c, 2);
    my $newer = insert();
    $c->read_until(qr/"id":$newer\b/);
    $c->wait_written($pg->wal_lsn);
    my $r = $c->stop;
    $r->exited(0, 'a server that was away for long');
    like(pauses($r), qr/\A0\.01 0\.02 0\.04 0\.08 0\.16 0\.32 0\.64\b/, 'the pauses grow');
    is(ids($r), "$new $newer", 'every change, once');
    is(ids(run('s')), '', 'and all is on record');
}

# A temporary slot has gone with its connection: there is nothing to go on from.
{
    my $c = streaming(Cdc->start(server => $pg, db => 'shop', args => [qw(-S passing --temporary-slot -m never -e plain -v --retries=5 --retry-delay=0.05)]));
    $pg->terminate_slot_user('passing') or die 'nobody to terminate';
    my $r = $c->wait(20);
    $r->exited(3, 'a temporary slot: status 3');
    is(pauses($r), '', 'a temporary slot: no other try');
}

# A state file that another run uses is not waited for.
{
    my $c = streaming(start('s'));
    my $r = run('s', '--retries=5', '--retry-delay=0.05');
    $r->exited(3, 'a state file that is in use: status 3');
    is(pauses($r), '', 'a state file that is in use: no other try');
    $c->stop->exited(0, 'the one that uses it');
}

# ---- between two connections ----

# The reader goes on, and what it takes goes on record, without the server.
{
    my $c = start('s', '--retry-delay=20');
    my $new = insert();
    $pg->wait_for(sub { lsn_num($pg->slot('s')->{confirmed_flush_lsn}) < lsn_num($pg->wal_lsn) }, 10, 'a change');
    streaming($c);
    # It is in the pipe, and not taken out of it.
    wait_until(sub { my $ready = ''; vec($ready, fileno $c->{pipe}, 1) = 1; select($ready, undef, undef, 0) }, 10, 'the change in the pipe');
    $pg->stop('immediate');
    $c->wait_stderr(qr/trying again in 20 seconds/);
    my $before = saved('s')->{lsn};
    sleep 0.5;
    is(saved('s')->{lsn}, $before, 'what lies in the pipe is not on record');
    $c->read_until(qr/"id":$new\b/);
    wait_until(sub { saved('s')->{lsn} ne $before }, 10, 'the position to be recorded');
    pass('what is taken out of it while the server is away is');
    my $r = $c->stop('TERM', 10);
    $r->exited(0, 'stopped while the server is away');
    $pg->start;
    is(ids(run('s')), '', 'and does not come again');
}
# The reader goes away.
{
    my $c = streaming(start('s', '--retry-delay=20'));
    my $new = insert();
    $c->read_until(qr/"id":$new\b/);
    $c->wait_written($pg->wal_lsn);
    $pg->stop('immediate');
    $c->wait_stderr(qr/trying again in 20 seconds/);
    $c->close_stdout;
    $c->wait(10)->signaled('PIPE', 'a reader that goes away while the server is away');
    $pg->start;
    is(ids(run('s')), '', 'what it had read is on record');
}

done_testing;
