# kill -9 in every phase of a snapshot beside writers, again and again: a file holds each row and each
# change once.  Pipes: 415_snapshot_kill_pipe.t.
#
# CDCTEST_SEED, CDCTEST_ROUNDS: as in 400_snapshot_oracle.t.
use v5.36;
use CdcTest;
use CdcTest::SnapshotKills;
use Time::HiRes qw(time);

my $first = $ENV{CDCTEST_SEED} // int(time * 1000) % 1_000_000;
note "seed $first";
END { diag("seed $first") if defined $first && !Test::More->builder->is_passing }

my @how = (server => my $pg = PgServer->new, dir => scratch());
sub killed ($name, @more) { CdcTest::SnapshotKills::killed($name, @how, @more) }

my $strace = CdcTest::Process::find_program('strace');
my $strace_works = $strace && eval {
    CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', '-e', 'inject=write:signal=KILL:when=1', 'echo'])->{signal};
};

# strace kills it as it enters the nth call of that name.
sub stepped ($name, $seed, @args) {
    return if $name !~ $CdcTest::Snapshots::ONLY;
    my $began = time;
    my $s = CdcTest::Snapshots->new(@how, seed => $seed, rows => 60);
    $s->{name} = $name;
    $s->write(hold => undef, writers => 1, pause => 0.01);
    my (@missed, %phases);
    my $steps = 0;
    for my $step (map { my $call = $_; map { [$call, $_] } 1, 2, 4 } qw(write fdatasync fsync rename sendto)) {
        my ($call, $n) = @$step;
        my $c = $s->start(args => [@args], env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
            wrap => [$strace, '-qq', '-o', '/dev/null', '-e', "trace=$call", '-e', "inject=$call:signal=KILL:when=$n"]);
        my $r = $c->wait(20);
        if   (defined $r->signal && $r->signal == 9) { $steps++ }
        else                                        { push @missed, "$call $n: " . $r->describe }
        $phases{ ($s->state // { phase => 'none' })->{phase} }++;
    }
    is($steps, 15, "$name: killed at each step") or diag(@missed);
    $s->{writers}->stop;
    $s->run(args => [@args, -E => 'now'])->exited(0, "$name: the run after them");
    note join ', ', map { "$_ $phases{$_}" } sort keys %phases;
    $s->judge($name);
    note sprintf "%s: %.1f s", $name, time - $began;
    $pg->sql('postgres', "SELECT pg_drop_replication_slot('$s->{slot}')");
}

my @incremental = ('--snapshot' => 'incremental', '--chunk-size' => 40);

for my $seed ($first .. $first + ($ENV{CDCTEST_ROUNDS} // 1) - 1) {
    note "---- seed $seed";
    killed('a new slot', seed => $seed, args => ['-m' => 'initial']);
    killed('joined', seed => $seed, slot => 1, args => ['-m' => 'initial', -j => 2]);
    killed('incremental', seed => $seed, phases => [qw(start slot chunk rows rows chunk rows chunk rows turn stream stream stream start)], args => ['-m' => 'initial', @incremental], steps => 1);
    SKIP: {
        skip_without($strace_works, 'strace cannot inject signals here', 6);
        stepped('a new slot, stepped', $seed, '-m' => 'initial');
        stepped('incremental, stepped', $seed, '-m' => 'initial', '--snapshot' => 'incremental', '--chunk-size' => 15);
    }
}
done_testing;
