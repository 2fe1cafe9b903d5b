# kill -9 at random beside writers, of snapshots and of the stream, now with several output files, now with
# one: each change once over all of them, nothing left under way.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Writers;
use Digest::MD5 qw(md5_hex);
use List::Util qw(sum0);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_wal_senders => 40, max_prepared_transactions => 20 });
my $top = scratch();
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- looking at files ----

sub files ($dir) { return map { s{.*/}{}r } grep { !-d } glob "$dir/*" }
sub complete ($dir) { return grep { !/\.partial\z/ } files($dir) }

my %seen;    # path -> inode, size, time, digest

# Whoever looks sees to it that complete files are what they were.
sub look ($dir, $name) {
    my @wrong = map { "$_ has gone" } grep { m{\A\Q$dir\E/} && !-e } keys %seen;
    for my $path (map { "$dir/$_" } complete($dir)) {
        my $is = join ' ', (stat $path)[1, 7, 9], md5_hex(slurp($path));
        push @wrong, "$path was $seen{$path}, is $is" if ($seen{$path} //= $is) ne $is;
    }
    is(join("\n", @wrong), '', "$name: complete files stay as they are") if @wrong;
}

sub in_order (@events) { return sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events }

# ---- beside writers ----

# Waits until there is more in the folder, or for a moment.
sub await_random_point ($c, $dir) {
    my $total = sub { sum0(map { -s "$dir/$_" // 0 } files($dir)) };
    my $before = $total->();
    my $more = rand() < 0.5 ? rand 300_000 : rand 50_000;
    my $until = time + (rand() < 0.4 ? rand 0.1 : 2);
    while ($c->running && $total->() - $before < $more && time < $until) { sleep 0.0005 }
    sleep rand 0.004 if rand() < 0.5;
}

# Every change once, over all files: rows of a snapshot come before what has happened since.
sub judge_writers ($name, $dir) {
    is_deeply([map { glob "$_/*.partial" } $dir, "$dir/public"], [], "$name: nothing is left under way");
    my @events = map { my ($commit, $seq) = /"commit_lsn":(\d+|null),"tx_seq":(\d+|null)/ or die "no place in: $_";
        [map({ $_ eq 'null' ? 0 : $_ } $commit, $seq), $_] } map { split /^/, slurp($_) } grep { !-d } map { glob "$_/*" } $dir, "$dir/public";
    my $rows = grep { !$_->[0] } @events;
    # of one snapshot after another each has a last row
    $_->[2] =~ s/"snapshot":"last"/"snapshot":"true"/ for @events;
    my $oracle = CdcTest::Writers::oracle($rows ? (allow_gaps => 1) : ());
    $oracle->apply(records(join '', map { $_->[2] } in_order(@events)));
    $oracle->faultless("$name: each change once, in all files together");
    CdcTest::Writers::compare($oracle, $pg, $name, $name);
    note scalar(@events) . " records, $rows of rows, in " . (files($dir) + files("$dir/public")) . ' files';
}

# Run after run, now with several files, now with one: whatever the last one has left is put right.
sub beside ($name, $seconds, %how) {
    my $dir = "$top/$name";
    mkdir $dir;
    CdcTest::Writers::create($pg, $name);
    CdcTest::Writers::fill($pg, $name, $how{rows}) if $how{initial};
    $pg->sql($name, 'CREATE PUBLICATION w FOR ALL TABLES');
    $pg->sql($name, "SELECT pg_create_logical_replication_slot('$name', 'pgoutput')") unless $how{initial};
    CdcTest::Writers::fill($pg, $name, $how{rows}) unless $how{initial};
    my $writers = CdcTest::Writers->start(server => $pg, db => $name, writers => 2, seed => $seed, hold => [0.2, 0.5], pause => 0.004, $how{initial} ? () : (truncate => 0.01));
    my @names = ('{table}-{lsn}', '{lsn}', '{schema}/{topic}-{lsn}');
    my ($hits, %phases) = 0;
    my $until = time + $seconds;
    my $run = sub (@more) {
        return Cdc->start(server => $pg, db => $name, stdout => 'null', args => [-S => $name, '--publication' => 'w', '--publication-mode' => 'existing',
            -e => 'debezium', '--state' => "$top/$name.json", '--status-interval' => '0.02', @{ $how{args} }, @more]);
    };
    for my $n (1 .. 60) {
        last if $n > 14 && time > $until;
        my $one = $n % 4 == 0;
        my $file = $one ? "one-$n" : $names[rand 3];
        my $c = $run->(-f => "$dir/$file.ndjson", !$one && rand() < 0.5 ? ('--rotate' => '60kB') : ());
        await_random_point($c, $dir);
        my $hit = $c->kill('KILL');
        my $r = $c->wait;
        $hits++ if $hit && defined $r->signal && $r->signal == 9;
        $r->exited(0, "$name: it ran on") unless $hit;
        $phases{ -s "$top/$name.json" ? JSON::PP->new->decode(slurp("$top/$name.json"))->{phase} : 'none' }++;
        # what the one file has is not complete before it has been cut
        look($dir, $name) unless $one;
        delete @seen{ grep { m{/one-} } keys %seen };
    }
    $writers->stop;
    $run->(-E => 'now', -f => "$dir/{table}-{lsn}.ndjson")->wait->exited(0, "$name: the last run");
    cmp_ok($hits, '>=', 8, "$name: kills that hit: $hits");
    note join ', ', map { "$_ $phases{$_}" } sort keys %phases;
    judge_writers($name, $dir);
    lap($name);
}

beside('stream', 5, rows => 100, args => ['-m' => 'never']);
beside('rows', 3, rows => 1500, initial => 1, args => ['-m' => 'initial', -j => 2]);
beside('chunks', 3, rows => 300, initial => 1, args => ['-m' => 'initial', '--snapshot' => 'incremental', '--chunk-size' => 60]);

done_testing;
