# The two tables of the project's first documents, products and documents, through every format: read by
# jq, by \copy, by Python's avro, by avrocat, by kcat behind a broker, each compared with the tables.
# (Numbers are below 2^53 here, as jq has doubles, and there is no NaN, as avrocat's JSON has none.)
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Formats;
use CdcTest::Kafka;
use CdcTest::Records qw(record);
use Oracle;

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $pg = PgServer->new(extra_conf => { max_replication_slots => 20 });
my $dir = scratch();
$pg->create_db('shop');
$pg->sql('shop', <<'SQL');
CREATE TABLE products (product_id SERIAL PRIMARY KEY, product_name VARCHAR(200) NOT NULL, sku CHAR(12) NOT NULL, description TEXT,
    price NUMERIC(10,2) NOT NULL, discount_price DECIMAL(10,2), stock_quantity INTEGER DEFAULT 0, weight REAL, volume DOUBLE PRECISION, dimensions BOX,
    release_date DATE, is_featured BOOLEAN DEFAULT FALSE, rating FLOAT, warranty_period INTERVAL, metadata JSON, tags TEXT[]);
CREATE TABLE documents (document_id UUID PRIMARY KEY, title VARCHAR(200) NOT NULL, content TEXT, summary TEXT,
    publication_date TIMESTAMP WITHOUT TIME ZONE, last_updated TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP, author_id BIGINT, file_data BYTEA,
    xml_content XML, json_metadata JSON, reading_time INTERVAL, is_public BOOLEAN DEFAULT TRUE, views_count INTEGER DEFAULT 0, category VARCHAR(50), tags TEXT[]);
ALTER TABLE products REPLICA IDENTITY FULL;
ALTER TABLE documents REPLICA IDENTITY FULL;
SQL
my @tables = qw(products documents);
my %key = ('public.products' => ['product_id'], 'public.documents' => ['document_id']);

# Rows that are there, and changes to come.
sub fill ($from, $to) {
    $pg->sql('shop', <<"SQL");
INSERT INTO products (product_name, sku, description, price, discount_price, stock_quantity, weight, volume, dimensions, release_date, is_featured, rating, warranty_period, metadata, tags)
    SELECT 'Bolt, "M' || g || '"', 'SKU' || g, CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE E'two\\nlines' END, g + 0.5, CASE g % 2 WHEN 0 THEN NULL ELSE 0 END, g,
        CASE g % 4 WHEN 0 THEN NULL ELSE g / 3.0 END, CASE g % 5 WHEN 0 THEN 1e300 ELSE g / 7.0 END, box(point(0, 0), point(g, -g)), date '2023-05-01' + g, g % 2 = 0, g * 1e-5,
        make_interval(years => g, days => -g, secs => g / 8.0), json_build_object('n', g, 'list', array[1, 2]), CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN '{}' ELSE array['a b', NULL, 'c"d', 'NULL'] END
    FROM generate_series($from, $to) g;
INSERT INTO documents
    SELECT md5(g::text)::uuid, 'Titel ä ' || g, repeat('x', g * 10), CASE g % 2 WHEN 0 THEN NULL ELSE '\\.' END, timestamp '1969-12-31 23:59:59.999999' + g * interval '1 year',
        timestamptz '2023-05-01 12:00:00+02' + g * interval '1.5 s', 9007199254740000 + g, decode(lpad(to_hex(g), 6, '0'), 'hex'), xmlparse(content '<a b="' || g || '"/>'),
        json_build_object('k', NULL, 'v', g), make_interval(mins => g), g % 2 = 0, g, CASE g % 3 WHEN 0 THEN NULL ELSE 'cat' END, array[g::text]
    FROM generate_series($from, $to) g;
SQL
}

sub change {
    $pg->sql('shop', q(UPDATE products SET price = price * 2, tags = tags || 'new'::text, metadata = NULL WHERE product_id % 2 = 0;
        UPDATE documents SET content = repeat('y', 4000), views_count = views_count + 1 WHERE views_count % 3 = 0;
        DELETE FROM products WHERE product_id % 7 = 0; DELETE FROM documents WHERE views_count % 5 = 0));
}

my %ways = (
    ndjson => [], flink_upsert => [qw(-e flink --changelog-mode upsert)], csv => [qw(-F csv), '-f', "$dir/csv/{table}-{lsn}.csv"],
    (map { ("avro_$_" => ['-F', 'avro', '--codec', $_, '-f', "$dir/$_.avro"]) } qw(null deflate zstandard snappy)),
);
my %out;

sub run_all ($mode) {
    for my $way (sort keys %ways) {
        my $r = Cdc->run(server => $pg, db => 'shop', args => ['-q', -S => $way, -m => $mode, '--state' => "$dir/$way.json", -E => 'now', @{ $ways{$way} }]);
        $r->exited(0, "$way: a run");
        $out{$way} .= $r->out;
    }
}
fill(1, 60);
run_all('initial');
fill(61, 90);
change();
run_all('initial');

# ---- NDJSON through jq ----

sub through_jq ($text, $program) {
    spew("$dir/jq.in", $text);
    return CdcTest::Process->capture(argv => ['jq', '-c', $program, "$dir/jq.in"])->{out};
}
{
    my $oracle = Oracle->new(keys => \%key);
    spew("$dir/jq.out", through_jq($out{ndjson}, '.'));
    $oracle->apply_file("$dir/jq.out");
    $oracle->faultless('jq: rows, then changes, each once');
    $oracle->compare($pg, 'shop', "public.$_") for @tables;
    my %last;
    for my $line (split /\n/, through_jq($out{flink_upsert}, 'select(.table_name == "products") | [.row_kind, .row.product_id, .row.price]')) {
        my ($kind, $id, $price) = $line =~ /\A\["(..)",(\d+),(?:"(.*)"|null)\]\z/ or die $line;
        if ($kind eq '-D') { delete $last{$id} } else { $last{$id} = $price }
    }
    my %now = map { @$_ } @{ $pg->query('shop', 'SELECT product_id, price FROM products') };
    is_deeply(\%last, \%now, 'jq: the upserts of flink end in the table');
}

# ---- CSV through \copy ----

for my $table (@tables) {
    my @files = sort glob "$dir/csv/$table-*.csv";
    is(scalar(@files), 2, "CSV: $table: a file for each run");
    $pg->sql('shop', "CREATE TABLE copied_$table (n serial, row_kind text, commit_lsn numeric, tx_seq int, xid bigint, ts timestamptz, LIKE $table, _unchanged text[])");
    my $columns = join ', ', map { @$_ } @{ $pg->query('shop', "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 ORDER BY attnum") };
    $pg->sql('shop', "\\copy copied_$table (row_kind, commit_lsn, tx_seq, xid, ts, $columns, _unchanged) FROM '$_' (FORMAT csv, HEADER)\n") for @files;
    my $id = $key{"public.$table"}[0];
    # what is left when -U and -D take away and +I and +U bring: the last record of each key
    my $differ = $pg->sql('shop', qq(WITH last AS (SELECT DISTINCT ON ($id) * FROM copied_$table ORDER BY $id, n DESC),
        model AS (SELECT ($columns)::text AS r FROM last WHERE row_kind IN ('+I', '+U')), there AS (SELECT ($columns)::text AS r FROM $table)
        SELECT (SELECT count(*) FROM (TABLE model EXCEPT ALL TABLE there) x) + (SELECT count(*) FROM (TABLE there EXCEPT ALL TABLE model) x)));
    is($differ, 0, "CSV: $table: COPY FROM gives back the table");
    cmp_ok($pg->sql('shop', "SELECT count(*) FROM copied_$table WHERE row_kind = '-U'"), '>=', 10, "CSV: $table: with old rows of updates");
}

# ---- Avro through Python and avrocat ----

sub model_of (@records) {
    my %model;
    for my $r (@records) {
        my ($table, $row) = ($r->{source}{table}, $r->{after} // $r->{before});
        my $id = $row->{ $key{"public.$table"}[0] };
        if ($r->{op} eq 'd') { delete $model{$table}{$id} } else { $model{$table}{$id} = plain_text($row) }
    }
    return \%model;
}
for my $codec (qw(null deflate zstandard snappy)) {
    my $model = model_of(avro("$dir/$codec.avro"));
    for my $table (@tables) {
        my $row = avro_row($pg, 'shop', $table);
        my %there = map { my $data = JSON::PP->new->allow_bignum->decode($_->[0]); ($data->{ $key{"public.$table"}[0] } => plain_text($data)) }
            @{ $pg->query('shop', "SELECT $row FROM $table t") };
        is(canonical($model->{$table}), canonical(\%there), "Avro, $codec: $table: Python reads what is in the table");
    }
    is(canonical([avrocat("$dir/$codec.avro")]), canonical([avro("$dir/$codec.avro", as => 'avrocat')]), "Avro, $codec: avrocat reads the same")
        if has_avrocat() && $codec ne 'zstandard';
}

# ---- Kafka through kcat ----

SKIP: {
    skip_without(CdcTest::Kafka::missing() eq '', CdcTest::Kafka::missing());
    my $kafka = CdcTest::Kafka->new;
    my $oracle = Oracle->new(keys => \%key);
    for my $table (@tables) {
        my $topic = $kafka->topic("shop.public.$table", 1);
        my $kcat = $kafka->producer($topic);
        my $c = Cdc->start(server => $pg, db => 'shop', args => ['-q', -S => "kafka_$table", -m => 'initial', -t => $table, -E => 'now', -K => '\t', '--tombstones'], stdout => $kcat->stdin);
        $kcat->close_stdin;
        $c->wait->exited(0, "kcat: $table: a run");
        $kcat->exited(0, "kcat: $table: all is delivered");
        my @messages = $kafka->messages($topic);
        $oracle->apply(map { record($_->{value}) } grep { defined $_->{value} } @messages);
        $oracle->compare($pg, 'shop', "public.$table");
        is(scalar(keys %{ CdcTest::Kafka::compacted(@messages) }), $pg->sql('shop', "SELECT count(*) FROM $table"), "kcat: $table: a message for each key");
    }
}
done_testing;
