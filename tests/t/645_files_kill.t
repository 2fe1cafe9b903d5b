# kill -9 at many points of runs with several open files: all files together hold every change once,
# each is whole when it has its name, and none is left under way in the end.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Files;
use CdcTest::Formats;
use CdcTest::Workload;
use List::Util qw(sum0);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_wal_senders => 40 });
my $top = scratch();
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- the backlog ----

# Two tables, one of which gets another column in the midst of a transaction, around a large one.
CdcTest::Workload::create($pg, 'shop');
$pg->sql('shop', q(CREATE PUBLICATION p FOR TABLE item, pair;
    SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
$pg->sql('shop', CdcTest::Workload::work(1, 700));
$pg->sql('shop', q(BEGIN; INSERT INTO pair VALUES (100, 'before', 'x'); ALTER TABLE pair ADD more int;
    INSERT INTO pair VALUES (101, 'after', 'y', 1); COMMIT));
$pg->sql('shop', CdcTest::Workload::work(2, 500));
$pg->sql('shop', q(INSERT INTO item SELECT g, repeat('x', 400), 1, 1.5 FROM generate_series(2000000, 2004000) g;
    DELETE FROM item WHERE id >= 2000000));
$pg->sql('shop', CdcTest::Workload::work($_, 500)) for 3, 4;
my $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');

sub new_slot ($name, $from = 'base') { $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('$from', '$name')") }
sub drop_slot ($name) {
    # after a kill the server needs a moment to notice
    wait_until(sub { ($pg->try_sql('shop', "SELECT pg_drop_replication_slot('$name')"))[0] == 0 }, 30, "slot $name to be free");
}

sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
        '--state' => "$top/$name.json", '--status-interval' => '0.02', -E => $end, @more];
}
sub start ($name, @more) { return Cdc->start(server => $pg, db => 'shop', stdout => 'null', args => args($name, @more)) }

# [commit_lsn, tx_seq, line] of NDJSON; the line of others is that of the operation and the row.
sub events_of ($path) {
    my $format = $path =~ /\.(\w+)\z/ ? $1 : die $path;
    return map { /"commit_lsn":"([^"]+)","seq":(\d+),/ or die "no place in: $_"; [lsn_num($1), $2, $_] } split /^/, slurp($path) if $format eq 'ndjson';
    # libavro is much faster than a reader in Python
    return map { /\A\{"op": "(\w)", .*?"commit_lsn": \{"string": "([^"]+)"\}, "seq": \{"long": (\d+)\},.*?"table": "([^"]*)"/ or die "no place in: $_";
        [lsn_num($2), $3, "$1 $4\n"] } split /\n/, CdcTest::Process->capture(argv => ['avrocat', $path])->{out} if $format eq 'avro';
    return map {
        my $s = $_->{source} // $_;
        my ($commit, $seq) = ($s->{commit_lsn} // die('no place: ' . canonical($_)), $s->{tx_seq});
        [$commit =~ m{/} ? lsn_num($commit) : $commit, $seq, "$_->{op} $s->{table}\n"];
    } csv_records(slurp($path));
}

sub in_order (@events) { return sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events }

new_slot('want');
start('want', -f => "$top/want.ndjson")->wait->exited(0, 'an undisturbed run');
my @want = events_of("$top/want.ndjson");
cmp_ok(scalar @want, '>', 12_000, 'has many changes');

# The files of a folder against those of the undisturbed run.
sub judge ($dir, $name, @want) {
    my @have = in_order(map { events_of("$dir/$_") } complete($dir));
    my $text = sub ($as_ndjson, @e) { join '', map { "$_->[0] $_->[1] " . ($as_ndjson ? $_->[2] : $_->[2] =~ /^\{"op":"(\w)".*?"table":"([^"]*)"/ ? "$1 $2\n" : $_->[2]) } @e };
    my $whole = !grep { !/\.ndjson\z/ } files($dir);
    my ($is, $should) = map { $text->($whole, @$_) } \@have, \@want;
    return if ok($is eq $should, "$name: all files together have each change once");
    my %n;
    $n{"$_->[0] $_->[1]"}++ for @have;
    my @twice = grep { $n{$_} > 1 } sort keys %n;
    my @missing = grep { !$n{$_} } map { "$_->[0] $_->[1]" } @want;
    diag(scalar(@have) . ' changes, not ' . scalar(@want) . '; twice: ' . join(', ', splice @twice, 0, 5) . '; missing: ' . join(', ', splice @missing, 0, 5));
}

# ---- killed at random ----

sub total ($dir) { return sum0(map { -s "$dir/$_" // 0 } files($dir)) }

sub await_random_point ($c, $dir) {
    my $before = total($dir);
    my $more = rand() < 0.5 ? rand 900_000 : rand 100_000;
    my $until = time + (rand() < 0.4 ? rand 0.08 : 20);
    while ($c->running && total($dir) - $before < $more && time < $until) { sleep 0.0003 }
    sleep rand 0.004 if rand() < 0.5;
}

sub killed ($name, @more) {
    my ($dir, $hits, $resumed) = ("$top/$name", 0, 0);
    for my $try (1 .. 8) {
        new_slot($name);
        forget($dir);
        for my $n (1 .. 14) {
            my $c = start($name, -f => "$dir/{table}-{lsn}.$more[1]", @more);
            await_random_point($c, $dir);
            my $hit = $c->kill('KILL');
            my $r = $c->wait;
            look($dir, $name);
            $resumed++ if $r->err =~ /cutting output file/;
            $hits++ if defined $r->signal && $r->signal == 9;
            if (!$hit) {
                $r->exited(0, "$name: ended before it was killed");
                last;
            }
        }
        my $r = start($name, -f => "$dir/{table}-{lsn}.$more[1]", @more)->wait;
        $r->exited(0, "$name: the run after the kills");
        look($dir, $name);
        is_deeply([under_way($dir)], [], "$name: nothing is left under way");
        judge($dir, $name, @want);
        last if $hits >= 5 && $resumed;
        last if $try == 8;
        drop_slot($name);
        unlink "$top/$name.json";
    }
    cmp_ok($hits, '>=', 5, "$name: kills that hit") and note("$hits of them, $resumed times something was cut, " . scalar(complete($dir)) . ' files');
    my @before = files($dir);
    start($name, -f => "$dir/{table}-{lsn}.$more[1]", @more)->wait->exited(0, "$name: once more");
    is_deeply([files($dir)], \@before, "$name: and nothing comes again");
    look($dir, $name);
    lap($name);
}

killed('plain', -F => 'ndjson');
killed('rotated', -F => 'ndjson', '--rotate' => '100kB');
killed('table', -F => 'csv', -e => 'debezium');
SKIP: {
    skip_without(has_avrocat(), 'no avrocat', 4);
    killed('blocks', -F => 'avro', '--codec' => 'null', '--rotate' => '200kB');
}

# ---- cut off from the server ----

# The stream goes on in the midst of a transaction, into files that are open.
for my $how ([ndjson => '--rotate' => '100kB'], [csv => -e => 'debezium'], ['avro', '--codec' => 'null', '--rotate' => '100kB']) {
    my ($format, @more) = @$how;
    SKIP: {
        skip_without($format ne 'avro' || has_avrocat(), 'no avrocat', 4);
        my ($name, $cuts) = ("cut_$format", 0);
        my $dir = "$top/$name";
        new_slot($name);
        my $c = start($name, -F => $format, -f => "$dir/{topic}-{lsn}.$format", '--retry-delay' => '0.02', @more);
        while ($c->running && $cuts < 8) {
            await_random_point($c, $dir);
            $cuts += $pg->terminate_slot_user($name) ? 1 : 0;
            look($dir, $name);
        }
        $c->wait->exited(0, "$name: to the end");
        note scalar(() = $c->stderr =~ /trying again/g) . ' times cut off, ' . files($dir) . ' files';
        is_deeply([grep { !/\Ashop\.public\.(?:item|pair)-[0-9A-F]{16}(?:_\d+)?\.$format\z/ } files($dir)], [], "$name: files have their names");
        is_deeply([under_way($dir)], [], "$name: nothing is left under way");
        judge($dir, $name, @want);
        lap($name);
    }
}

# ---- two of them in one folder ----

{
    my ($dir, @runs) = "$top/shared";
    new_slot($_) for qw(left right);
    @runs = map { start($_, -f => "$dir/{table}.ndjson", '--rotate' => '50kB') } qw(left right);
    look($dir, 'shared') while grep { $_->running } @runs;
    $_->wait->exited(0, 'two runs with the same names of files') for @runs;
    is_deeply([under_way($dir)], [], 'nothing is left under way');
    judge($dir, 'both', map { ($_, $_) } @want);
    lap('shared');
}
done_testing;
