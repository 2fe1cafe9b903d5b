# CSV and Avro have what NDJSON has: operations, places and times, old rows as far as they were sent,
# values that were not; with every plugin, with binary values, and from rows.
use v5.36;
use CdcTest;
use CdcTest::Formats;
use Time::HiRes qw(sleep time);

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $pg = PgServer->new(extra_conf => { max_replication_slots => 100 });
$pg->create_db('shop');
my $dir = scratch();
sub sql ($text) { return $pg->sql('shop', $text) }

# Every identity, and a value that is stored out of line.
my $columns = q(id int, k int NOT NULL, v text, n numeric(8,2), b bool, u uuid, big text);
sql(join '', map { "CREATE TABLE $_ ($columns, PRIMARY KEY (id)); ALTER TABLE $_ ALTER big SET STORAGE EXTERNAL;" } '"I odd"', qw(i_default i_full i_index i_nothing));
sql(q(ALTER TABLE i_full REPLICA IDENTITY FULL; CREATE UNIQUE INDEX by_k ON i_index (k); ALTER TABLE i_index REPLICA IDENTITY USING INDEX by_k; ALTER TABLE i_nothing REPLICA IDENTITY NOTHING;
    CREATE PUBLICATION p FOR TABLE i_default, i_full, i_index, "I odd"; CREATE PUBLICATION q FOR TABLE i_nothing WITH (publish = 'insert, truncate')));

# plugin or form -> options
my %forms = (pgoutput => [], $pg->version >= 14 ? (binary => [qw(-o binary=true)]) : ());
for my $plugin (qw(test_decoding wal2json decoderbufs)) {
    $forms{$plugin} = [-P => $plugin] if eval { sql("SELECT pg_create_logical_replication_slot('try', '$plugin'); SELECT pg_drop_replication_slot('try')"); 1 };
}
SKIP: for my $plugin (grep { !$forms{$_} } qw(wal2json decoderbufs)) { skip_without(0, "the plugin $plugin is not installed") }

my %ways = (
    ndjson => [], avro => [qw(-F avro)], csv => [qw(-F csv -e debezium)],
    ndjson_plain => [qw(-e plain)], avro_plain => [qw(-F avro -e plain --codec=snappy)],
    ndjson_flink => [qw(-e flink --changelog-mode=upsert)], avro_flink => [qw(-F avro -e flink --changelog-mode=upsert)],
    ndjson_all => [qw(-e flink -t i_full)], avro_all => [qw(-F avro -e flink -t i_full)],
);
for my $form (sort keys %forms) {
    my $plugin = $form eq 'binary' ? 'pgoutput' : $form;
    sql("SELECT pg_create_logical_replication_slot('${form}_$_', '$plugin')") for sort keys %ways;
}
my $rows = q(SELECT g, g * 10, CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'v' || g END, g / 7.0, g % 2 = 0, md5(g::text)::uuid, repeat('x', 3000) FROM generate_series(1, 4) g);
for my $table (qw(i_default i_full i_index), '"I odd"') {
    sql("BEGIN; INSERT INTO $table $rows; UPDATE $table SET v = 'new' WHERE id = 1; UPDATE $table SET id = 20 WHERE id = 2; COMMIT; UPDATE $table SET k = 77 WHERE id = 3;
        UPDATE $table SET big = NULL WHERE id = 4; DELETE FROM $table WHERE id IN (3, 20)");
}
sql("BEGIN; TRUNCATE \"I odd\", i_full; INSERT INTO i_full $rows; COMMIT");

# All of a record but when it was written, and what one of the two formats has no place for.
sub gist_of ($r, $way) {
    my %r = %$r;
    delete @r{qw(ts_ms ts_us ts_ns key ts)};
    $r{source} = { %{ $r{source} } } if $r{source};
    if ($r{source} && $way =~ /csv/) { delete @{ $r{source} }{ grep { !/\A(?:schema|table|commit_lsn|tx_seq|txId)\z/ } keys %{ $r{source} } } }
    return canonical(plain_text(\%r));
}

sub records_of ($form, $way, @as) {
    my $r = Cdc->run(server => $pg, db => 'shop', stdout => ">$dir/$form.$way", args => [-S => "${form}_$way", qw(-m never -E now), @{ $forms{$form} }, @{ $ways{$way} },
        $form =~ /pgoutput|binary/ ? ('--publication=p', '--publication-mode=existing') : (-T => 'i_nothing')]);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $r->exited(0, "$form, $way: status 0");
    my @records = eval { $way =~ /avro/ ? avro("$dir/$form.$way") : $way =~ /csv/ ? csv_records(slurp("$dir/$form.$way")) : records(slurp("$dir/$form.$way")) };
    is($@, '', "$form, $way: they can be read");
    return @records;
}

sub same ($have, $want, $name) {
    my ($n) = grep { ($have->[$_] // 'none') ne ($want->[$_] // 'none') } 0 .. ($#$have > $#$want ? $#$have : $#$want);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(!defined $n, $name) or diag(map { substr($_ // 'none', 0, 900) . "\n" } scalar(@$have) . ' and ' . scalar(@$want), $have->[$n], $want->[$n]);
}

for my $form (sort keys %forms) {
    my %records = map { $_ => [records_of($form, $_)] } sort keys %ways;
    cmp_ok(scalar @{ $records{ndjson} }, '>=', 38, "$form: records");
    is(scalar(grep { ($_->{op} // '') eq 't' } @{ $records{ndjson} }), 2, "$form: truncations") if $form =~ /pgoutput|binary|wal2json/ && $form ne 'wal2json';
    for my $pair ([avro => 'ndjson'], [csv => 'ndjson'], [avro_plain => 'ndjson_plain'], [avro_flink => 'ndjson_flink'], [avro_all => 'ndjson_all']) {
        my ($have, $want) = @$pair;
        same(map({ my $way = $_; [map { gist_of($_, $have) } @{ $records{$way} }] } $have, $want), "$form: $have has what $want has");
    }
    my ($key) = grep { $_->{op} eq 'd' } @{ $records{avro} };
    is(canonical($key->{before}), '{"id":3}', "$form: an old row of the key is that alone") if $key->{source}{table} eq 'i_default' && $form eq 'pgoutput';
}

# Rows, in every way to read them.
for my $how ([qw(-m initial_only)], [qw(-m initial_only -j 2)], [qw(-m snapshot --snapshot=incremental --chunk-size=2)]) {
    my @have;
    for my $way (qw(ndjson avro csv ndjson_plain avro_plain)) {
        my $r = Cdc->run(server => $pg, db => 'shop', stdout => ">$dir/rows.$way", args => [-S => 'rows_' . lc($way), @$how, -T => 'i_nothing', @{ $ways{$way} }]);
        $r->exited(0, "rows, @$how, $way: status 0");
        my @records = $way =~ /avro/ ? avro("$dir/rows.$way") : $way =~ /csv/ ? csv_records(slurp("$dir/rows.$way")) : records(slurp("$dir/rows.$way"));
        push @have, [sort map { my $s = $_->{source} // $_; canonical(plain_text([$_->{op}, $s->{schema}, $s->{table}, $_->{before}, $_->{after}, $_->{row}, $_->{old}])) } @records];
        sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'rows%'");
    }
    cmp_ok(scalar @{ $have[0] }, '>=', 8, "rows, @$how: there are some");
    same($have[1], $have[0], "rows, @$how: Avro has those of NDJSON");
    same($have[2], $have[0], "rows, @$how: CSV, too");
    same($have[4], $have[3], "rows, @$how: and Avro in the plain envelope");
}

# How many steps of reading rows a state file has on record, while there are more to come.
sub step ($path) {
    my $state = -e $path ? JSON::PP->new->decode(slurp($path)) : {};
    return ($state->{phase} // '') eq 'snapshot' ? $state->{snapshot}{step} : 0;
}

# Rows and changes in one file, begun and gone on with, by an incremental snapshot in several runs.
for my $format (qw(avro csv)) {
    sql("CREATE TABLE many_$format (id int PRIMARY KEY, v text); INSERT INTO many_$format SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 2000) g");
    my @args = (-S => "many_$format", qw(-m initial --snapshot=incremental --chunk-size=20 --status-interval=0.02 -F), $format, -e => 'debezium', -t => "many_$format", '--state', "$dir/many.$format.json", '-f', "$dir/many.$format");
    my ($killed, $gone_on) = (0, 0);
    for my $n (1 .. 6) {
        my $step = step("$dir/many.$format.json");
        $gone_on++ if $step;
        sql("UPDATE many_$format SET v = 'u$n' WHERE id % 50 = $n; DELETE FROM many_$format WHERE id = 100 * $n; INSERT INTO many_$format VALUES (9000 + $n, 'new')");
        my $c = Cdc->start(server => $pg, db => 'shop', args => \@args);
        my $deadline = time + 1;
        sleep 0.001 while $c->running && step("$dir/many.$format.json") <= $step && time < $deadline;
        $c->kill('KILL');
        $killed++ if defined $c->wait->signal;
    }
    cmp_ok($killed, '>=', 5, "$format: killed");
    cmp_ok($gone_on, '>=', 1, "$format: some went on with rows") and note("$gone_on of them");
    Cdc->run(server => $pg, db => 'shop', args => [@args, -E => 'now'])->exited(0, "$format: the run after the kills");
    my @records = eval { $format eq 'avro' ? avro("$dir/many.$format") : csv_records(slurp("$dir/many.$format")) };
    is($@, '', "$format: the file can be read as a whole");
    $_->{source}{snapshot} = 'incremental' for grep { $_->{op} eq 'r' } @records;
    my $oracle = Oracle->new(keys => { "public.many_$format" => ['id'] }, allow_gaps => 1)->apply(@records);
    $oracle->faultless("$format: rows and changes once each");
    $oracle->compare($pg, 'shop', "public.many_$format", name => "$format: the table");
}

done_testing;
