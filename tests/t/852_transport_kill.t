# Reading through SQL, cut short: kill -9, signals, a full disk, a stalled reader, ends of the server's sessions, the way over
# to the stream.  A file holds every change once.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use CdcTest::Transports;
use Time::HiRes qw(sleep time);
use lib "$Cdc::TOP/tests/torture/lib";
use Torture::Proxy;

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => { max_replication_slots => 40 });
create_ones($pg, 'shop', 3000);
$pg->sql('shop', q(INSERT INTO t SELECT g, repeat('many', 50) FROM generate_series(100001, 104000) g));
$pg->sql('shop', q(DO $$ BEGIN FOR i IN 1 .. 2000 LOOP UPDATE t SET name = repeat('again ' || i, 40) WHERE id = i; COMMIT; END LOOP; END $$));
my $dir = scratch();
sub fresh () { return fresh_slot($pg, 'shop') }

my @here = (server => $pg, db => 'shop');
sub args ($slot, @how) {
    return ['-S', $slot, qw(-m never -e plain --publication-mode existing --publication p --retry-delay=0.1), '--state', "$dir/$slot.json", @how];
}
sub saved ($slot) { return -e "$dir/$slot.json" ? lsn_num(JSON::PP->new->decode(slurp("$dir/$slot.json"))->{lsn}) : 0 }
sub confirmed ($slot) { return lsn_num($pg->slot($slot)->{confirmed_flush_lsn}) }

my $whole = Cdc->run(@here, args => args(fresh(), qw(--transport=stream -E now)))->out;
is($whole =~ tr/\n//, 9000, 'the backlog') or BAIL_OUT('no backlog');

# ---- a server that is silent ----

# It takes connections and says nothing: nobody waits for it.  Looked at further below, as it takes some seconds.
my $proxy = Torture::Proxy->new($pg->port);
my $silent = Cdc->start(args => ['-d', $pg->connstr('shop', tcp => 1, port => $proxy->port), @{ args(fresh(), @SMALL, qw(--transport=sql --stall-timeout=600)) }]);
$silent->read_lines(100);
$proxy->{process}->kill('STOP');
$silent->kill('TERM');

# ---- kill -9 ----

sub kill_and_resume ($way) {
    my $slot = fresh();
    my $file = "$dir/$way.out";
    my ($hits, $cuts, $pieces, $ahead) = (0) x 4;
    for my $try (1 .. 30) {
        last if $hits >= 6 && $cuts >= 2 && $pieces >= 6;
        # all over again, where a run has come to its end before there were enough of them
        if (-s $file && -s $file >= length $whole && $try < 25) {
            unlink $file, "$dir/$slot.json";
            $slot = fresh();
        }
        my $c = Cdc->start(@here, args => args($slot, @SMALL, "--transport=$way", qw(--status-interval=0.05 -E now -f), $file));
        my $until = (-s $file // 0) + rand 0.25 * length $whole;
        while ($c->running && (-s $file // 0) < $until) { sleep 0.0005 }
        sleep rand 0.02 if rand() < 0.3;
        my $hit = $c->kill('KILL');
        my $r = $c->wait;
        $hits++ if $hit && $r->signal;
        $cuts++ if $r->err =~ /cutting output file/;
        $pieces += pieces($r);
        $ahead++ if confirmed($slot) > saved($slot) && -e "$dir/$slot.json";
    }
    my $r = Cdc->run(@here, args => args($slot, @SMALL, "--transport=$way", qw(-E now -f), $file));
    $r->exited(0, "$way, killed: the run after");
    cmp_ok($hits, '>=', 6, "$way, killed: several times");
    cmp_ok($cuts, '>=', 2, "$way, killed: and left what was not accepted");
    cmp_ok($pieces, '>=', 6, "$way, killed: it was reading through SQL");
    is($ahead, 0, "$way, killed: the slot was never ahead of the position");
    same(slurp($file), $whole, "$way, killed: every change once");
}

kill_and_resume($_) for qw(sql auto);

# A pipe: at least once.
{
    my $slot = fresh();
    my ($all, $hits, $ahead) = ('', 0, 0);
    for (1 .. 6) {
        my $c = Cdc->start(@here, args => args($slot, @SMALL, qw(--transport=sql -E now)));
        $c->read_lines(200 + int rand 1500);
        $hits++ if $c->kill('KILL');
        my $r = $c->wait;
        $all .= $r->out =~ s/[^\n]*\z//r;
        $ahead++ if -e "$dir/$slot.json" && confirmed($slot) > saved($slot);
    }
    my $r = Cdc->run(@here, args => args($slot, @SMALL, qw(--transport=sql -E now)));
    $r->exited(0, 'a pipe, killed: the run after');
    cmp_ok($hits, '>=', 3, 'a pipe, killed: several times');
    is($ahead, 0, 'a pipe, killed: the slot was never ahead of the position');
    my %seen;
    same(join('', grep { !$seen{$_}++ } split /(?<=\n)/, $all . $r->out), $whole, 'a pipe, killed: every change at least once');
}

# ---- ends in good order ----

# While the server decodes a piece, later and later ones.
{
    my $slot = fresh();
    my $file = "$dir/term.out";
    my $early = 0;
    for my $n (0 .. 3) {
        my $c = Cdc->start(@here, args => args($slot, @SMALL, qw(--transport=sql -E now -f), $file));
        # it may have come to its end where it has to do with little that is left
        eval { $c->wait_handler('TERM'); $c->wait_stderr(qr/(?:reading from .*?){$n}/s); 1 } && $c->kill('TERM');
        my $r = $c->wait(20);
        $r->exited(0, 'SIGTERM: exit status 0');
        $early++ if (-s $file // 0) < length $whole;
        cmp_ok(confirmed($slot), '<=', saved($slot), 'SIGTERM: the slot is not ahead of the position') if -e "$dir/$slot.json";
    }
    cmp_ok($early, '>=', 1, 'SIGTERM: before all was read');
    Cdc->run(@here, args => args($slot, @SMALL, qw(--transport=sql -E now -f), $file))->exited(0, 'after SIGTERM: exit status 0');
    same(slurp($file), $whole, 'after SIGTERM: every change once');
}

{
    my $r = $silent->wait(30);
    $r->exited(0, 'SIGTERM while the server is silent: exit status 0');
    cmp_ok(pieces($r), '>=', 1, 'SIGTERM while the server is silent: through SQL');
    $proxy->{process}->kill('CONT');
}
copies_are_gone($pg, 'ends');

# ---- a full disk ----

SKIP: {
    my $why = CdcTest::Faults::why_not();
    skip_without($why eq '', $why, 5);
    my $slot = fresh();
    my $file = "$dir/full.out";
    my $faults = CdcTest::Faults->new;
    my $rule = $faults->arm(call => 'write', path => 'full.out', nth => 12, error => 'ENOSPC');
    my $r = Cdc->run(@here, args => args($slot, @SMALL, qw(--transport=sql -E now -f), $file), env => $faults->env);
    $r->exited(5, 'a full disk: exit status 5');
    is($faults->fired($rule), 1, 'a full disk: it was');
    cmp_ok(confirmed($slot), '<=', saved($slot), 'a full disk: the slot is not ahead of the position');
    Cdc->run(@here, args => args($slot, @SMALL, qw(--transport=sql -E now -f), $file))->exited(0, 'a full disk: the run after');
    same(slurp($file), $whole, 'a full disk: every change once');
}

# ---- a reader that stalls, sessions that end ----

{
    my $slot = fresh();
    my $c = Cdc->start(@here, args => args($slot, @SMALL, qw(--transport=sql -E now --stall-timeout=0.5)));
    $c->read_lines(10);
    $c->wait_stderr(qr/the output has taken nothing for 0.5 seconds: giving up the connection/);
    my $none = sub { $pg->sql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdcdump')) == 0 };
    ok(eval { wait_until($none, 20, 'the end of its sessions') }, 'a stalled reader: no session is left') or diag($pg->sql('postgres', 'TABLE pg_stat_activity'));
    copies_are_gone($pg, 'a stalled reader');
    my $r = $c->wait;
    $r->exited(0, 'a stalled reader: exit status 0');
    cmp_ok(scalar(() = $r->err =~ /reading through SQL from/g), '>=', 2, 'a stalled reader: taken up again');
    same($r->out, $whole, 'a stalled reader: every change once');
}

# One after the other of its sessions is ended, in the midst of it.
for my $way (qw(sql auto)) {
    my $slot = fresh();
    my $c = Cdc->start(@here, args => args($slot, @SMALL, "--transport=$way", qw(--stall-timeout=600 --status-interval=0.1 -E now)));
    $c->read_lines(100);
    my $ended = $pg->sql('postgres', "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%binary_changes%'");
    cmp_ok($ended, '>=', 1, "$way, ended sessions: some");
    my $r = $c->wait;
    $r->exited(0, "$way, ended sessions: exit status 0");
    like($r->err, qr/(?:warning: lost the connection|error: could not read changes: terminating connection).*trying again.*reading through SQL from/s,
        "$way, ended sessions: says so, and goes on as before");
    same($r->out, $whole, "$way, ended sessions: every change once");
}

# ---- over to the stream, and back ----

# Writers write all the time.  The backlog is read through SQL; then the connection is cut until there is one again.
{
    my $slot = fresh();
    my $file = "$dir/over.out";
    my $write = sub ($n) {
        my $session = $pg->session('shop');
        $session->send("DO \$\$ BEGIN FOR i IN 1 .. $n LOOP UPDATE t SET name = repeat('w' || i, 40) WHERE id = 1 + i % 3000; COMMIT; END LOOP; END \$\$");
        return $session;
    };
    my @args = ('-d', $pg->connstr('shop', tcp => 1, port => $proxy->port), @{ args($slot, qw(-v --catch-up-bytes=1MB --status-interval=0.2 -f), $file) });
    my $session = $write->(6000);
    my $c = Cdc->start(args => \@args);
    $c->wait_stderr(qr/caught up through SQL at .*streaming from/s, 60);
    cmp_ok(pieces($c), '>=', 2, 'over to the stream: through SQL first');
    $session->finish;
    $c->wait_written($pg->wal_lsn, 30);
    $proxy->ask('slow', 1);      # the new connection is not made before there is a backlog
    $proxy->ask('cut');
    $c->wait_stderr(qr/lost the connection/);
    $write->(5000)->finish;
    $proxy->ask('slow', 0);
    $c->wait_stderr(qr/caught up through SQL at .*streaming from.*lost the connection.*reading through SQL from.*caught up through SQL at .*streaming from/s, 60);
    pass('and after a lost connection through SQL again, and over');
    $c->wait_written($pg->wal_lsn, 30);
    $c->stop('TERM')->exited(0, 'over to the stream: exit status 0');
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] });
    $oracle->apply_file($file);
    $oracle->faultless('over to the stream: no gap and no overlap');
    $oracle->compare($pg, 'shop', 'public.t');
    is($oracle->transactions, 5001 + 11000, 'over to the stream: all transactions');
}
copies_are_gone($pg, 'all');

done_testing;
