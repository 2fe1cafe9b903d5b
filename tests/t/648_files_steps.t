# kill -9 at each step of making, completing and recovering several output files: each change once in the
# end, and nothing left under way.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.  CDCTEST_ALL_STEPS=1: all steps,
# not just some.
use v5.36;
use CdcTest;
use CdcTest::Files;
use File::Path qw(remove_tree);
use List::Util qw(shuffle);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_wal_senders => 40 });
my $top = scratch();
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- runs ----

$pg->create_db('shop');
my $end;
sub new_slot ($name, $from) { $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('$from', '$name')") }
sub drop_slot ($name) {
    # after a kill the server needs a moment to notice
    wait_until(sub { ($pg->try_sql('shop', "SELECT pg_drop_replication_slot('$name')"))[0] == 0 }, 30, "slot $name to be free");
}

sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '--publication-mode' => 'existing', -e => 'plain',
        '--state' => "$top/$name.json", '--status-interval' => '0.02', -E => $end, @more];
}
sub start ($name, @more) { return Cdc->start(server => $pg, db => 'shop', stdout => 'null', args => args($name, @more)) }

# [commit_lsn, tx_seq, line]
sub events_of ($path) {
    return map { /"commit_lsn":"([^"]+)","seq":(\d+),/ or die "no place in: $_"; [lsn_num($1), $2, $_] } split /^/, slurp($path);
}
sub in_order (@events) { return sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events }

# ---- each step ----

my $strace = CdcTest::Process::find_program('strace');
my $strace_works = $strace && eval {
    CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', '-e', 'inject=write:signal=KILL:when=1', 'echo'])->{signal};
};

# As a reader of complete files does.
sub take_away ($dir) {
    state $n = 0;
    mkdir "$dir.taken";
    my @files = complete($dir);
    for my $file (@files) {
        $n++;
        rename "$dir/$file", "$dir.taken/$n-$file" or die "$file: $!";
        taken("$dir/$file");
    }
    return scalar @files;
}

sub traced ($name, $dir, $calls, @more) {
    return Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, '--publication' => 's', -f => "$dir/{table}-{lsn}.ndjson", '--rotate' => '2kB'),
        env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
        wrap => [$strace, '-qq', '-f', '-e', "trace=$calls", @more]);
}

SKIP: {
    skip_without($strace_works, 'strace cannot inject signals here', 13);
    # A few transactions of two tables; files of three kinds: completed by size, by columns, at the end.
    $pg->sql('shop', q(CREATE TABLE one (id int PRIMARY KEY, v text); CREATE TABLE two (id int PRIMARY KEY, v text);
        CREATE PUBLICATION s FOR TABLE one, two; SELECT pg_create_logical_replication_slot('steps', 'pgoutput')));
    $pg->sql('shop', "BEGIN; INSERT INTO one VALUES ($_, repeat('x', 500)); INSERT INTO two VALUES ($_, 'y'); COMMIT") for 1 .. 5;
    $pg->sql('shop', 'BEGIN; INSERT INTO two VALUES (6); ALTER TABLE two ADD w int; INSERT INTO two VALUES (7); INSERT INTO one VALUES (6); COMMIT');
    $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
    my ($name, $dir) = ('stepped', "$top/stepped");
    my $again = sub {
        new_slot($name, 'steps');
        unlink "$top/$name.json", "$top/$name.json.tmp";
        forget($dir);
        remove_tree("$dir.taken");
    };
    # Which calls are about our files, each by its number among those of its name.
    $again->();
    my $trace = "$top/trace";
    my $calls = 'openat,renameat2,rename,fsync,fdatasync,write,unlink,mkdir';
    traced($name, $dir, $calls, '-y', '-o', $trace)->exited(0, 'stepped: an undisturbed run');
    my @want = in_order(map { events_of("$dir/$_") } complete($dir));
    is(scalar @want, 13, 'stepped: has all changes');
    my (%n, @steps);
    for (split /\n/, slurp($trace)) {
        my ($call) = /\b(\w+)\(/ or next;
        $n{$call}++;
        push @steps, [$call, $n{$call}] if /\Q$dir\E/ || /\Q$top\/$name.json\E/ && $call eq 'rename';
    }
    note scalar(@steps) . ' steps: ' . join ', ', map { "@$_" } @steps;
    my ($early, %killed, @missed, @wrong) = 0;
    my @chosen = sort { $a <=> $b } (shuffle(grep { $steps[$_][0] !~ /renameat2|unlink|fdatasync/ } 0 .. $#steps))[0 .. 29];
    @steps = (@steps[@chosen], grep { $_->[0] =~ /renameat2|unlink|fdatasync/ } @steps) unless $ENV{CDCTEST_ALL_STEPS};
    for my $step (@steps) {
        my ($call, $n) = @$step;
        drop_slot($name);
        $again->();
        my $r = traced($name, $dir, $call, '-o', '/dev/null', '-e', "inject=$call:signal=KILL:when=$n");
        if   (defined $r->signal && $r->signal == 9) { $killed{$call}++ }
        # how many commit cycles there are is a matter of time: a run may end before it gets there
        elsif (defined $r->exit && $r->exit == 0)   { $early++ }
        else                                        { push @missed, "$call $n: " . $r->describe }
        look($dir, "stepped: $call $n");
        # in the runs that put it right, too, while a reader takes away what is complete
        my $then = '';
        for (1 .. rand 4) {
            my ($other, $m) = ((qw(renameat2 rename fdatasync unlink fsync fsync))[rand 6], 1 + int rand 4);
            $then .= ", then $other $m";
            $then .= ', taken away' if rand() < 0.5 && take_away($dir);
            traced($name, $dir, $other, '-o', '/dev/null', '-e', "inject=$other:signal=KILL:when=$m");
            look($dir, "stepped: $call $n$then");
        }
        $then .= ', taken away' if rand() < 0.5 && take_away($dir);
        my $last = start($name, '--publication' => 's', -f => "$dir/{table}-{lsn}.ndjson")->wait;
        look($dir, "stepped: $call $n");
        my $what = "$call $n$then";
        push @wrong, "$what: exit " . $last->describe unless defined $last->exit && $last->exit == 0;
        push @wrong, "$what: warns: " . $last->err if $last->err =~ /warning|error/;
        push @wrong, "$what: left " . join ' ', under_way($dir) if under_way($dir);
        my @have = in_order(map { events_of($_) } (map { "$dir/$_" } complete($dir)), glob "$dir.taken/*");
        push @wrong, "$what: " . join ' ', map { "$_->[0],$_->[1]" } @have
            if join('', map { $_->[2] } @have) ne join('', map { $_->[2] } @want);
    }
    is(join("\n", @wrong), '', 'stepped: each change once after a kill at each step');
    is(scalar @missed, 0, 'stepped: every run was killed or came to its end') or diag(@missed);
    note join(', ', map { "$_ $killed{$_}" } sort keys %killed) . "; $early ended before their step";
    my %least = (openat => 3, write => 3, fsync => 2, rename => 1, mkdir => 1, fdatasync => 1, renameat2 => 3);
    my %chosen;
    $chosen{ $_->[0] }++ for @steps;
    for my $call (sort keys %least) {
        my $least = ($chosen{$call} // 0) < $least{$call} ? $chosen{$call} // 0 : $least{$call};
        cmp_ok($killed{$call} // 0, '>=', $least, "stepped: killed at $call");
    }
    cmp_ok($killed{renameat2} // 0, '>=', 3, 'stepped: at renames of files');
    cmp_ok(scalar(keys %killed), '>=', 5, 'stepped: at most kinds of calls');
    lap('stepped');
}
done_testing;
