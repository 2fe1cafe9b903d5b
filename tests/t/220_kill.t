# kill -9 at many points: a file holds every change once, a pipe at least once.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Workload;
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my $pg = PgServer->new;
CdcTest::Workload::create($pg, 'shop');
my $dir = scratch();

# A backlog that every slot gets: many small transactions around a large one.
my @ways = qw(plain debezium appended named switched piped reader stepped);
$pg->sql('shop', q(CREATE PUBLICATION p FOR TABLE item, pair;
    SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
$pg->sql('shop', CdcTest::Workload::work($_, 1500)) for 1, 2;
$pg->sql('shop', q(INSERT INTO item SELECT g, repeat('x', 400), 1, 1.5 FROM generate_series(2000000, 2006000) g;
    DELETE FROM item WHERE id >= 2000000));
$pg->sql('shop', CdcTest::Workload::work($_, 1000)) for 3, 4;
$pg->sql('shop', "SELECT pg_copy_logical_replication_slot('base', '$_')") for @ways;
my $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');

sub args ($name, $envelope, @more) {
    return [-S => $name, '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing',
        '--state' => "$dir/$name.json", '--status-interval' => '0.02', -E => $end, -e => $envelope, @more];
}

sub start ($name, $envelope, $stdout, @more) {
    return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => args($name, $envelope, @more));
}

sub saved_lsn ($name) {
    return -e "$dir/$name.json" ? lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) : 0;
}

# All but the times of writing at the end of each line.
sub timeless ($bytes) { return $bytes =~ s/,"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+\}$/}/mgr }

# is() would print megabytes.
sub same ($have, $want, $name) {
    return if ok($have eq $want, $name);
    my $at = 0;
    $at++ while substr($have, 0, $at + 1000) eq substr($want, 0, $at + 1000) && ($at += 999);
    diag(length($have) . ' bytes, not ' . length($want) . "; different from about byte $at on:\n"
        . substr($have, $at, 1200));
}

# ---- the undisturbed runs ----

my %want;
for my $envelope (qw(plain debezium)) {
    my $r = start($envelope, $envelope, ">$dir/$envelope.out")->wait;
    $r->exited(0, "$envelope: an undisturbed run");
    $want{$envelope} = timeless($r->out);
}
my $oracle = CdcTest::Workload::oracle()->apply(records($want{plain}));
$oracle->faultless('undisturbed: the records are right');
CdcTest::Workload::compare($oracle, $pg, 'shop', 'undisturbed');
my $nlines = $want{plain} =~ tr/\n//;
cmp_ok($nlines, '>', 20_000, 'and are many');
is($want{debezium} =~ tr/\n//, $nlines, 'as many in the other envelope');

# ---- regular files ----

# Waits for a random point in the life of the run; false when the run was over before.
sub await_random_point ($c, $file) {
    my $began = -s $file // 0;
    # the whole backlog takes some tenths of a second: points too late on average would leave no
    # run to be killed
    if (rand() < 0.3) {
        sleep rand 0.06;
    } else {
        my $more = rand() < 0.5 ? rand 400_000 : rand 100_000;
        my $deadline = time + 30;
        while ($c->running && (-s $file // 0) - $began < $more && time < $deadline) { sleep 0.0002 }
        sleep rand 0.004 if rand() < 0.5;
    }
    return $c->running;
}

# A machine that leaves the test too little time to kill may let a run come to its end: then once more
# over all of it, until there have been enough of what is wanted.
sub again_until ($name, $enough, $round) {
    for my $n (1 .. 10) {
        $round->();
        last if $enough->();
        last if $n == 10;
        $pg->sql('shop', "SELECT pg_drop_replication_slot('$name'); SELECT pg_copy_logical_replication_slot('base', '$name')");
        unlink "$dir/$name.json";
    }
}

sub kill_and_resume ($name, $envelope, $stdout, @more) {
    my $file = "$dir/$name.out";
    my ($hits, $cuts, $positions) = (0, 0, 0);
    my $round = sub {
        spew($file, '');
        for my $n (1 .. 60) {
            last if $n > 16 && $positions >= 2 && $cuts >= 2; # a slow machine needs more of them
            my $before = saved_lsn($name);
            my $c = start($name, $envelope, $stdout, @more);
            my $hit = await_random_point($c, $file) && $c->kill('KILL');
            my $r = $c->wait;
            $cuts++ if $r->err =~ /cutting output file "\Q$file\E" back to/;
            $positions++ if saved_lsn($name) > $before;
            if (!$hit) {
                $r->exited(0, "$name: ended before it was killed");
                last;
            }
            $hits++ if defined $r->signal && $r->signal == 9;
        }
        my $r = start($name, $envelope, $stdout, @more)->wait;
        $r->exited(0, "$name: the run after the kills");
        $cuts++ if $r->err =~ /cutting output file/;
        same(timeless(slurp($file)), $want{$envelope}, "$name: the file is that of an undisturbed run");
    };
    again_until($name, sub { $hits >= 5 && $cuts >= 2 && $positions >= 2 }, $round);
    cmp_ok($hits, '>=', 5, "$name: kills that hit") and note("$hits of them, $cuts cuts, $positions positions");
    cmp_ok($cuts, '>=', 2, "$name: kills that left what was not accepted");
    cmp_ok($positions, '>=', 2, "$name: runs that moved the position");
    is(start($name, $envelope, $stdout, @more)->wait->exit, 0, "$name: once more");
    is(slurp($file) =~ tr/\n//, $nlines, "$name: and nothing comes again");
}

kill_and_resume('appended', 'debezium', ">>$dir/appended.out");
kill_and_resume('named', 'plain', 'null', '-f', "$dir/named.out");

# Each run to a new file: what a killed run left behind its accepted part has to go from the old one.
{
    my ($hits, $cuts) = (0, 0);
    my $round = sub {
        my @files;
        for my $n (1 .. 8) {
            push @files, "$dir/switched.$n";
            my $c = start('switched', 'plain', ">$files[-1]");
            $hits++ if await_random_point($c, $files[-1]) && $c->kill('KILL');
            $cuts++ if $c->wait->err =~ /cutting the previous output file/;
        }
        push @files, "$dir/switched.last";
        my $r = start('switched', 'plain', ">$files[-1]")->wait;
        $r->exited(0, 'switched: the run after the kills');
        $cuts++ if $r->err =~ /cutting the previous output file/;
        same(join('', map { slurp($_) } @files), $want{plain}, 'switched: all files together are those of an undisturbed run');
        unlink @files;
    };
    again_until('switched', sub { $hits >= 3 && $cuts >= 1 }, $round);
    cmp_ok($hits, '>=', 3, 'switched: kills that hit');
    cmp_ok($cuts, '>=', 1, 'switched: a previous file was cut');
}

# ---- each step of a commit cycle ----

# strace kills it as it enters the nth call of that name: write output, sync it, write the state,
# sync, rename, sync the folder, send feedback.
SKIP: {
    my $strace = CdcTest::Process::find_program('strace');
    my $works = $strace && eval {
        CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', '-e', 'inject=write:signal=KILL:when=1', 'echo'])->{signal};
    };
    skip_without($works, 'strace cannot inject signals here', 4);
    my $file = "$dir/stepped.out";
    my @missed;
    my ($steps, $early) = (0, 0);
    for my $step (map { my $call = $_; map { [$call, $_] } 1, 2, 5 } qw(write fdatasync fsync rename sendto)) {
        my ($call, $n) = @$step;
        my $r = Cdc->run(server => $pg, db => 'shop', args => args('stepped', 'plain', '--transport', 'stream', '-f', $file),
            env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
            wrap => [$strace, '-qq', '-o', '/dev/null', '-e', "trace=$call", '-e', "inject=$call:signal=KILL:when=$n"]);
        if   (defined $r->signal && $r->signal == 9) { $steps++ }
        else                                        { push @missed, "$call $n: " . $r->describe }
        $early++ if -s $file < length $want{plain};
    }
    is($steps, 15, 'killed at each step') or diag(@missed);
    cmp_ok($early, '>=', 6, 'most of the time before all was written') and note("$early of them");
    start('stepped', 'plain', 'null', '-f', $file)->wait->exited(0, 'the run after them');
    same(slurp($file), $want{plain}, 'the file is that of an undisturbed run');
}

# ---- pipes ----

my $place = qr/"commit_lsn":"([^"]+)","seq":(\d+),/;

# Judges what came from run after run: $runs is [bytes, position on record before that run].
sub judge_repeats ($name, @runs) {
    my (%seen, @once, @wrong);
    my $repeated = 0;
    for my $n (0 .. $#runs) {
        my ($bytes, $position) = @{ $runs[$n] };
        $bytes =~ s/[^\n]*\z// if $n < $#runs;    # a kill may tear the last line
        my ($first) = $bytes =~ /\A.*?$place/;
        my $first_seq = $2;
        push @wrong, "run $n begins with change $first_seq of $first" if defined $first && $first_seq != 1;
        for my $line (split /(?<=\n)/, $bytes) {
            my ($commit, $seq) = $line =~ $place or die "no place in: $line";
            push @wrong, "run $n repeats $commit, which was on record" if lsn_num($commit) < $position;
            if   ($seen{"$commit $seq"}++) { $repeated++ }
            else                           { push @once, $line }
        }
    }
    is(join("\n", @wrong[0 .. ($#wrong > 4 ? 4 : $#wrong)]), '', "$name: only whole transactions that were not on record come again");
    same(join('', @once), $want{plain}, "$name: apart from them the output is that of an undisturbed run");
    return $repeated;
}

{
    my ($hits, $repeated) = (0, 0);
    my $round = sub {
        my @runs;
        for (1 .. 12) {
            my $position = saved_lsn('piped');
            my $c = start('piped', 'plain', 'pipe');
            my $until = rand 1_500_000;
            while (length $c->out < $until) {
                last unless $c->read_some(1 + int rand 60_000, 10);
                sleep rand 0.004;
            }
            my $hit = $c->kill('KILL');
            my $r = $c->wait;
            push @runs, [$r->out, $position];
            last unless $hit;
            $hits++ if defined $r->signal && $r->signal == 9;
        }
        my $position = saved_lsn('piped');
        my $r = start('piped', 'plain', 'pipe')->wait;
        $r->exited(0, 'piped: the run after the kills');
        $repeated += judge_repeats('piped', @runs, [$r->out, $position]);
    };
    again_until('piped', sub { $hits >= 5 && $repeated }, $round);
    cmp_ok($hits, '>=', 5, 'piped: kills that hit');
    cmp_ok($repeated, '>', 0, "piped: some do ($repeated)");
}

# ---- a reader that dies with bytes in the pipe ----

{
    my (@runs, $unread, $moved);
    for (1 .. 6) {
        my $position = saved_lsn('reader');
        my $c = start('reader', 'plain', 'pipe');
        my $until = 50_000 + rand 300_000;
        while (length $c->out < $until) { last unless $c->read_some(1 + int rand 30_000, 10) }
        sleep 0.05 + rand 0.1;    # the pipe is full, what was read is on record
        $c->close_stdout;
        my $r = $c->wait;
        $r->signaled('PIPE', 'reader: its end ends the run');
        push @runs, [$r->out, $position];
        $moved++ if saved_lsn('reader') > $position;
        $unread++ if $r->err !~ /error/;
    }
    cmp_ok($moved, '>=', 4, 'reader: what was read is on record');
    is($unread, 6, 'reader: no other complaint');
    my $position = saved_lsn('reader');
    my $r = start('reader', 'plain', 'pipe')->wait;
    $r->exited(0, 'reader: a reader that lives');
    # What was lost in the pipe has to come again: joined up, nothing may be missing.
    judge_repeats('reader', @runs, [$r->out, $position]);
}

done_testing;
