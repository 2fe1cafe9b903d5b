# Many open output files: descriptors, which can run out, and memory, which does not grow with them.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_wal_senders => 40 });
my $top = scratch();
my ($began, $part) = (time, 'start');
sub lap ($next) { note sprintf '%s: %.1f s', $part, time - $began; ($began, $part) = (time, $next) }

my @quick = ('--status-interval' => '0.2', '--retry-delay' => '0.1');
sub args ($slot, @more) { return [-S => $slot, '-v', '-e' => 'plain', '-m' => 'never', '--state' => "$top/$slot.json", @quick, @more] }
sub start ($db, $slot, @more) {
    my %how = ref $more[0] ? %{ shift @more } : ();
    return Cdc->start(server => $pg, db => $db, stdout => 'null', args => args($slot, @more), %how);
}
sub run ($db, $slot, @more) { return start($db, $slot, @more)->wait }
sub streaming ($c) { $c->wait_stderr(qr/streaming from/); return $c }
sub files ($dir) { return map { s{.*/}{}r } glob "$dir/*" }
sub under_way ($dir) { return grep { /\.partial\z/ } files($dir) }
sub ids ($dir, @files) { return join ' ', sort { $a <=> $b } map { map { $_->{row}{id} } records(slurp("$dir/$_")) } @files }

my $sanitized = `nm -D $Cdc::BINARY 2>/dev/null` =~ /asan/ || slurp($Cdc::BINARY) =~ /__asan_init/;
sub folder ($name) { mkdir "$top/$name" or die "$top/$name: $!"; return "$top/$name" }

# ---- many tables ----

$pg->create_db('many');
$pg->sql('many', join ';', map { "CREATE TABLE t$_ (id int PRIMARY KEY, v text)" } 1 .. 300);
$pg->sql('many', q(CREATE PUBLICATION m FOR ALL TABLES; SELECT pg_create_logical_replication_slot('many', 'pgoutput')));
# Every table gets more than a buffer of its own would have to hold at once.
$pg->sql('many', "DO \$\$ BEGIN FOR i IN 1 .. 300 LOOP
    EXECUTE format('INSERT INTO t%s SELECT g, repeat(md5(g::text), 94) FROM generate_series(1, 100) g', i);
    COMMIT; END LOOP; END \$\$");
$pg->sql('many', "DO \$\$ BEGIN FOR n IN 101 .. 102 LOOP FOR i IN 1 .. 300 LOOP
    EXECUTE format('INSERT INTO t%s VALUES (%s, ''x'')', i, n); END LOOP; COMMIT; END LOOP; END \$\$");

sub many ($slot, $limit, @more) {
    my $dir = folder($slot);
    $pg->sql('many', "SELECT pg_copy_logical_replication_slot('many', '$slot')");
    my @how = ('--publication' => 'm', '--publication-mode' => 'existing', -f => "$dir/{table}", @more);
    # without a long quarantine of memory that a sanitizer keeps
    my %env = (env => { ASAN_OPTIONS => 'exitcode=99:quarantine_size_mb=8' . ($ENV{CDCTEST_NO_LEAKS} ? ':detect_leaks=0' : '') });
    my $c = start('many', $slot, { %env, $limit ? (wrap => ['bash', '-c', "$limit; exec \"\$@\"", 'bash']) : () }, @how);
    return ($dir, $c, @how);
}

for my $format ('ndjson', 'csv', 'avro', 'avro_zstandard') {
    my @format = $format =~ /(.*)_(.*)/ ? (-F => $1, '--codec' => $2) : (-F => $format);
    my ($dir, $c) = many("many_$format", 'ulimit -S -n 100', @format, $format eq 'csv' ? (-e => 'flink', '--changelog-mode' => 'upsert') : ());
    streaming($c)->wait_written($pg->wal_lsn, 60);
    is(scalar files($dir), 300, "$format: 300 files are open");
    my ($peak) = slurp('/proc/' . $c->pid . '/status') =~ /VmHWM:\s+(\d+) kB/;
    # A sanitizer needs memory of its own.
    SKIP: {
        skip('with a sanitizer memory tells nothing', 1) if $sanitized;
        cmp_ok($peak, '<', 40 * 1024, "$format: in less than 40 MiB");
    }
    note "$format: peak $peak kB";
    $c->stop->exited(0, "$format: with a limit of 100 descriptors that can be raised");
    is(scalar(grep { !/partial/ } files($dir)), 300, "$format: all complete");
    is(ids($dir, 't300'), join(' ', 1 .. 102), "$format: with all records") if $format eq 'ndjson';
}

{
    my ($dir, $c, @how) = many('few', 'ulimit -n 100', -E => 'now');
    my $r = $c->wait;
    $r->exited(5, 'a limit of descriptors that cannot be raised');
    like($r->err, qr/Too many open files/, 'says why');
    run('many', 'few', @how, -E => 'now')->exited(0, 'the next run has more');
    is(scalar(under_way($dir)), 0, 'nothing is under way');
    my @wrong;
    for my $n (1 .. 300) {
        my $ids = ids($dir, grep { /\At$n(_\d+)?\z/ } files($dir));
        push @wrong, "t$n: $ids" if $ids ne join ' ', 1 .. 102;
    }
    is(join("\n", @wrong), '', 'every record once');
}
lap('end');
done_testing;
