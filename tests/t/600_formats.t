# Values of every type in every format and envelope, from rows and from the stream, as PostgreSQL
# itself, jq, Python's avro and avrocat read them.  What they have to find the server says.
#
# CDCTEST_SEED=N makes the same random values again; the seed is printed.
use v5.36;
use utf8;
use Encode qw(decode_utf8);
use CdcTest;
use CdcTest::Formats;
use CdcTest::Records qw(record);
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use Time::HiRes qw(time);

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

# Settings that would all like values to look otherwise.
my $pg = PgServer->new(extra_conf => {
    timezone => 'America/New_York', datestyle => 'SQL, DMY', intervalstyle => 'sql_standard',
    bytea_output => 'escape', extra_float_digits => -10, max_replication_slots => 80,
});
$pg->create_db('shop');
my $dir = scratch();
my %has = map { $_ => 1 } split /\n/, $pg->sql('shop', 'SELECT name FROM pg_available_extensions');
SKIP: {
    skip_without($has{hstore}, 'the extension hstore is not installed');
    $pg->sql('shop', 'CREATE EXTENSION hstore');
    pass('hstore is there');
}
$pg->sql('shop', q(
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "sad", é');
    CREATE TYPE pair AS (n int, label text, d date);
    CREATE DOMAIN price AS numeric(12,2);
    CREATE DOMAIN label AS text;
    -- a text of up to 12 characters, the awkward ones among them
    CREATE FUNCTION any_text() RETURNS text LANGUAGE sql AS $$
        SELECT coalesce(string_agg((ARRAY['a', 'Z', '0', ' ', ',', '"', '''', E'\n', E'\r', '\', 'é', '😀', '{', '}', E'\t', '.', 'NULL', '_', ';', ':'])
            [1 + floor(random() * 20)::int], ''), '') FROM generate_series(1, floor(random() * 12)::int) $$;
    CREATE FUNCTION any_bytes() RETURNS bytea LANGUAGE sql AS $$
        SELECT coalesce(string_agg(set_byte('\x00', 0, floor(random() * 256)::int), ''), '') FROM generate_series(1, floor(random() * 20)::int) $$;
    CREATE FUNCTION any_numeric(digits int, scale int) RETURNS numeric LANGUAGE sql AS $$
        SELECT (CASE WHEN random() < 0.5 THEN '-' ELSE '' END || coalesce(string_agg(floor(random() * 10)::text, ''), '0') || 'e-' || scale)::numeric
        FROM generate_series(1, 1 + floor(random() * digits)::int) $$;
    CREATE FUNCTION any_int(low numeric, high numeric) RETURNS numeric LANGUAGE sql AS $$
        SELECT CASE WHEN random() < 0.1 THEN low WHEN random() < 0.1 THEN high
               ELSE least(high, floor(low + random()::numeric * random()::numeric * (high - low))) END $$;
    CREATE FUNCTION any_timestamp() RETURNS timestamp LANGUAGE sql AS $$
        SELECT timestamp '1600-01-01' + random() * interval '800 years' + random() * interval '1 second' $$;
));

# [type, literals, SQL of a random value]
my @columns = (
    ['bool', ['true', 'false'], 'random() < 0.5'],
    ['int2', ['-32768', '32767'], 'any_int(-32768, 32767)'],
    ['int4', ['-2147483648', '2147483647', '0'], 'any_int(-2147483648, 2147483647)'],
    ['int8', ['-9223372036854775808', '9223372036854775807', '9007199254740993'], 'any_int(-9223372036854775808, 9223372036854775807)'],
    ['oid', ['4294967295', '0'], 'any_int(0, 4294967295)::bigint::oid'],
    ['float4', ['0.1', '-0', '3.4028235e38', '1e-45', 'NaN', 'Infinity', '-Infinity'], '(random() - 0.5) * 10::float8 ^ any_int(-30, 30)::float8'],
    ['float8', ['0.1', '-0', '1.7976931348623157e308', '5e-324', 'NaN', 'Infinity', '-Infinity'], '(random() - 0.5) * 10::float8 ^ any_int(-300, 300)::float8'],
    ['numeric', ['1234567890123456789012345678901234567890.0123456789', '-0.000', 'NaN', '1e20', '0.00010'], 'any_numeric(60, floor(random() * 30)::int)'],
    ['numeric(10,2)', ['1.5', '-12345678.9', '0', '99999999.99', '-99999999.99', '1.27', '1.28', '-1.28', '-1.29'], 'any_numeric(10, 2)'],
    ['numeric(38,0)', ['-' . '9' x 38, '9' x 38, '-1', '255', '256', '-256'], 'any_numeric(38, 0)'],
    ['numeric(20,20)', ['0.00000000000000000001', '-0.99999999999999999999'], 'any_numeric(20, 20)'],
    ['char(5)', ['ab', '', 'é"'], 'left(any_text(), 5)'],
    ['varchar(20)', ['x y', '', ' '], 'left(any_text(), 20)'],
    ['text', ['', 'NULL', '  a  ', "two\nlines\r\n", 'say "it\'s" \\ / <&>', '\\.', '\\N', '""', ',', "é €\x{2028}\x{feff}😀", 'x' x 5000], 'any_text()'],
    ['name', ['Some "name"'], 'any_text()::name'],
    ['"char"', ['a', ''], 'chr(32 + floor(random() * 90)::int)::"char"'],
    ['uuid', ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'], 'md5(random()::text)::uuid'],
    ['xml', ["<a b=\"1\">\n x</a>"], "xmlelement(name x, md5(random()::text))"],
    ['mood', ['ok', 'very "sad", é'], "(enum_range(NULL::mood))[1 + floor(random() * 3)::int]"],
    ['inet', ['192.168.0.1/24', '::1', '10.0.0.1'], "('10.0.0.0'::inet + floor(random() * 10000)::int)"],
    ['cidr', ['10/8', '2001:db8::/32'], "(floor(random() * 255) || '.0.0.0/8')::cidr"],
    ['macaddr', ['08-00-2b-01-02-0F'], "left(md5(random()::text), 12)::macaddr"],
    ['int4range', ['[1,5]', 'empty', '(,7)'], 'int4range(0, any_int(0, 1000)::int)'],
    ['tstzrange', ['[2020-01-02 00:00+02,)'], "tstzrange(any_timestamp() AT TIME ZONE 'UTC', NULL)"],
    ['bit(1)', ['0', '1'], "floor(random() * 2)::int::bit(1)"],
    ['bit(11)', ['10000000001', '00000000000', '00000001000'], 'floor(random() * 2048)::int::bit(11)'],
    ['varbit', ['', '1', '0', '1011', '100000000'], 'substring(any_int(-2147483648, 2147483647)::int::bit(32) FROM 1 FOR 1 + floor(random() * 31)::int)'],
    ['money', ['1234.56', '-0.01', '-92233720368547758.08', '92233720368547758.07'], 'any_int(-1000000, 1000000)::money / 100'],
    ['point', ['(1.5,-2)'], 'point(random() * 100, -random())'],
    ['box', ['(0,0),(2,3)'], 'box(point(random(), random()), point(1, 2))'],
    ['circle', ['<(1,2),3>'], 'circle(point(random(), random()), random())'],
    ['polygon', ['((0,0),(1,1),(2,0))'], 'polygon(box(point(random(), random()), point(1, 2)))'],
    ['pair', ['(1,"a ""q"", b",2020-01-31)', '(,,)'], "ROW(any_int(0, 9), any_text(), NULL)::pair"],
    ['tsvector', ['fat:2A cat:3,5B a', ''], "to_tsvector('simple', any_text())"],
    ['tsquery', ['fat & !rat'], "plainto_tsquery('simple', md5(random()::text))"],
    ['json', [qq({ "b" : 1,\n\t"a":[ 1, 2 ,{"x" : null} ] ,\r\n "big":12345678901234567890123, "e":1.50e10 }), ' null ', '"x"', ' [ ] '], 'json_build_object(any_text(), random(), $$k$$, any_text())'],
    ['jsonb', ['{"b": 1, "a": [1, 2.500, null, "x\\ny"]}', 'null', 'true', '1.50'], 'jsonb_build_object(any_text(), random(), $$k$$, any_text())'],
    ['date', ['2023-05-01', '1969-12-31', '1970-01-01', '0001-01-01', '2000-02-29', '9999-12-31'], 'any_timestamp()::date'],
    ['time', ['12:34:56.789', '24:00', '00:00:00.000001'], 'any_timestamp()::time'],
    ['time(3)', ['12:34:56.789', '00:00'], 'any_timestamp()::time(3)'],
    ['timetz', ['12:34:56+02', '23:59:59.5-05:30'], "any_timestamp()::time AT TIME ZONE 'UTC' + interval '1 hour'"],
    ['timestamp', ['2023-05-01 12:34:56.789', '1969-12-31 23:59:59.999999', '0001-01-01 00:00', '9999-12-31 23:59:59.999999'], 'any_timestamp()'],
    ['timestamp(3)', ['2000-01-01 00:00:00.1', '1969-12-31 23:59:59.999'], 'any_timestamp()::timestamp(3)'],
    ['timestamptz', ['2023-05-01 14:34:56.789+02', '1880-01-01 00:00:00+00', '1969-12-31 23:59:59.999999Z'], "any_timestamp() AT TIME ZONE 'UTC'"],
    ['interval', ['1 year 2 months 3 days 4 hours', '0', '-1 day', '1 mon -1 day 02:03:04', '-1 year -2 mons +3 days -04:05:06.789', '-178000 years', '0.000001 s'],
        "make_interval(any_int(-9, 9)::int, any_int(-20, 20)::int, 0, any_int(-40, 40)::int) + (any_timestamp()::time - time '12:00')"],
    ['bytea', ['\x00ff10', '', '\x5c'], 'any_bytes()'],
    ['bool[]', ['{t,f,NULL}', '{}'], 'ARRAY[random() < 0.5, NULL, random() < 0.5]'],
    ['int4[]', ['{1,NULL,3}', '{}', '{{1,2},{3,4}}', '{{{1}},{{NULL}}}'], 'ARRAY(SELECT any_int(-2147483648, 2147483647)::int FROM generate_series(1, floor(random() * 5)::int))'],
    ['int8[]', ['{-9223372036854775808}'], 'ARRAY[any_int(-9223372036854775808, 9223372036854775807)]::int8[]'],
    ['float8[]', ['{NaN,1.5,-inf}'], 'ARRAY[random(), -random()]'],
    ['numeric[]', ['{1.50,NaN}'], 'ARRAY[any_numeric(30, 5), NULL]'],
    ['numeric(8,3)[]', ['{1.5,-0.001,NULL}'], 'ARRAY[any_numeric(8, 3), NULL]'],
    ['text[]', ['{"a \"b\"","c,d","{}","NULL",NULL,"","x\\\\y",é," z "}', '{{a,b},{c,NULL}}', "{\"a\nb\"}"], 'ARRAY[any_text(), NULL, any_text()]'],
    ['uuid[]', ['{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'], 'ARRAY[md5(random()::text)::uuid]'],
    ['jsonb[]', [q({"{\"a\": null}",1.50})], 'ARRAY[jsonb_build_object(any_text(), 1), NULL]'],
    ['bytea[]', [q({"\\\\x01",""})], 'ARRAY[any_bytes(), NULL]'],
    ['date[]', ['{2020-01-31,NULL}'], 'ARRAY[any_timestamp()::date]'],
    ['timestamptz[]', ['{"2023-05-01 14:34:56+02"}'], "ARRAY[any_timestamp() AT TIME ZONE 'UTC']"],
    ['interval[]', ['{"1 day","00:00:00"}'], "ARRAY[any_timestamp()::time - time '12:00']"],
    ['mood[]', [q({sad,"very \"sad\", é"})], 'enum_range(NULL::mood)'],
    ['box[]', ['{(1,1),(0,0);(3,3),(2,2)}'], 'ARRAY[box(point(random(), random()), point(1, 2)), NULL]'],
    ['price', ['7'], 'any_numeric(10, 2)'],
    ['label', ['a "b"', ''], 'any_text()'],
    $has{hstore} ? (['hstore', ['"q\"x"=>"y,z",a=>1,"b c"=>NULL', '', '"é"=>"NULL","\\\\"=>""'], 'hstore(any_text(), any_text())']) : (),
);
$_ = { type => $_->[0], literals => $_->[1], random => $_->[2] } for @columns;
$columns[$_]{name} = sprintf 'c%02d', $_ + 1 for keys @columns;

sub quote ($text) { return defined $text ? "'" . ($text =~ s/'/''/gr) . "'" : 'NULL' }

my $style = "SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET bytea_output = hex; SET extra_float_digits = 1;";
my @names = map { $_->{name} } @columns;
$pg->sql('shop', 'CREATE TABLE made (id int PRIMARY KEY, ' . join(', ', map { "$_->{name} $_->{type}" } @columns) . ')');
my ($nliterals) = sort { $b <=> $a } map { scalar @{ $_->{literals} } } @columns;
$pg->sql('shop', join "\n", $style, map { my $n = $_;
    "INSERT INTO made VALUES (" . join(', ', $n, map { quote($_->{literals}[$n - 1]) } @columns) . ');' } 1 .. $nliterals + 1);
$pg->sql('shop', "$style SELECT setseed(${\ ($seed % 1000 / 1000)});
    INSERT INTO made SELECT 100 + g, " . join(', ', map { "CASE WHEN random() < 0.9 THEN $_->{random} END" } @columns) . ' FROM generate_series(1, 60) g');
my $count = $pg->sql('shop', 'SELECT count(*) FROM made');
cmp_ok($count, '>=', 70, 'rows of all types');

# Captured are tables of their own: "snap" has the rows from the start, "flow" gets them later.
$pg->sql('shop', 'CREATE TABLE snap (LIKE made, PRIMARY KEY (id)); INSERT INTO snap SELECT * FROM made ORDER BY id;
    CREATE TABLE flow (LIKE made, PRIMARY KEY (id)); ALTER TABLE flow REPLICA IDENTITY FULL');

# name -> options; each reads the rows of snap, and the changes of flow.
my %ways = (
    (map { ("ndjson_$_" => [-e => $_]) } qw(debezium debezium-0.9 flink plain)),
    (map { ("types_$_" => [-e => $_, '--types=debezium']) } qw(debezium debezium-0.9 flink plain)),
    csv_flink => [qw(-F csv)], csv_debezium => [qw(-F csv -e debezium)], csv_types => [qw(-F csv -e debezium --types=debezium)],
    avro_debezium => [qw(-F avro --codec=null)], avro_flink => [qw(-F avro -e flink --codec=deflate)],
    avro_plain => [qw(-F avro -e plain --codec=snappy)], avro_zstandard => [qw(-F avro --codec=zstandard)],
    modes_1 => [map { ('--set', $_) } qw(decimal.handling.mode=double time.precision.mode=connect interval.handling.mode=string binary.handling.mode=hex
        hstore.handling.mode=map include.unknown.datatypes=true)],
    modes_2 => [map { ('--set', $_) } qw(decimal.handling.mode=string time.precision.mode=isostring interval.handling.mode=numeric binary.handling.mode=base64-url-safe hstore.handling.mode=json)],
    modes_3 => [map { ('--set', $_) } qw(decimal.handling.mode=precise time.precision.mode=microseconds binary.handling.mode=base64)],
    modes_4 => [map { ('--set', $_) } qw(time.precision.mode=nanoseconds)],
    modes_5 => [map { ('--set', $_) } qw(time.precision.mode=adaptive_time_microseconds)],
    avro_modes => [qw(-F avro), map { ('--set', $_) } qw(decimal.handling.mode=string time.precision.mode=isostring interval.handling.mode=string binary.handling.mode=base64 hstore.handling.mode=json)],
    avro_double => [qw(-F avro), map { ('--set', $_) } qw(decimal.handling.mode=double interval.handling.mode=numeric binary.handling.mode=hex)],
);
$pg->sql('shop', "CREATE PUBLICATION p FOR TABLE flow; SELECT pg_create_logical_replication_slot('base', 'pgoutput')");
$pg->sql('shop', "$style INSERT INTO flow SELECT * FROM made ORDER BY id; UPDATE flow SET id = -id; DELETE FROM flow");
for my $way (sort keys %ways) {
    Cdc->run(server => $pg, db => 'shop', args => [-S => 'rows', qw(-m initial_only -t snap -f), "$dir/$way.snap", @{ $ways{$way} }])
        ->exited(0, "$way: rows");
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('base', 's_" . ($way =~ s/\W/_/gr) . "')");
    Cdc->run(server => $pg, db => 'shop', args => [-S => 's_' . ($way =~ s/\W/_/gr), qw(-m never -t flow -E now --publication=p --publication-mode=existing --state), "$dir/$way.json",
        '-f', "$dir/$way.flow", @{ $ways{$way} }])->exited(0, "$way: changes");
}

# ---- rows as the server says they are ----

# id -> row; what has no answer is undef.
sub ask ($sql) {
    return { map { $_->[0] => $_->[1] } @{ $pg->query('shop', $sql) } };
}

# Compares rows by id, column by column; both are {id => {column => data}}.
sub rows_are ($have, $want, $name, %leave) {
    my @wrong;
    for my $id (sort { $a <=> $b } keys %$want) {
        if (!$have->{$id}) { push @wrong, "no row $id"; next }
        for my $c (grep { !$leave{ $_->{type} } } @columns) {
            my ($h, $w) = map { canonical(plain_text($_->{$id}{ $c->{name} })) } $have, $want;
            push @wrong, "row $id, $c->{type}: $h, not $w" if $h ne $w;
        }
    }
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(!@wrong && keys %$have == keys %$want, $name)
        or diag(map { substr($_, 0, 400) . "\n" } scalar(@wrong), @wrong[0 .. ($#wrong > 7 ? 7 : $#wrong)]);
}

# The four lists of rows in the changes of flow: inserted, old and new of the update, deleted.
# old_rows: that has them in records of their own (flink).
sub parts (@records) {
    my %part;
    for my $r (@records) {
        my $kind = $r->{row_kind} // $r->{op};
        my ($old, $new) = exists $r->{before} ? @$r{qw(before after)} : @$r{qw(old row)};
        my $n = $kind =~ /c|\+I|r/ ? 'inserted' : $kind =~ /u|U/ ? 'updated' : 'deleted';
        if ($kind =~ /\A[-+]/) {
            ($old, $new) = $kind =~ /-/ ? ($r->{row}, undef) : (undef, $r->{row});
        }
        for (['old', $old], ['new', $new]) {
            my ($which, $row) = @$_;
            next unless $row;
            my $id = $row->{id} < 0 ? -$row->{id} : $row->{id};
            die "row $id comes twice as $n, $which\n" if $part{"$n $which"}{$id};
            $part{"$n $which"}{$id} = $row;
        }
    }
    return \%part;
}

# From either file of a way.  $read: path -> records.
sub check_way ($way, $read, $want, %leave) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $of (qw(snap flow)) {
        my $parts = eval { parts($read->("$dir/$way.$of")) };
        if (!$parts) { fail("$way, $of: readable"); diag($@); next }
        is(join(', ', sort keys %$parts), $of eq 'snap' ? 'inserted new' : 'deleted old, inserted new, updated new, updated old', "$way, $of: which rows there are");
        rows_are($parts->{$_}, $want, "$way, $of: $_", %leave) for sort keys %$parts;
    }
}

# ---- Avro ----

{
    my $json = JSON::PP->new->utf8(0)->allow_nonref->allow_bignum;
    my $sql = avro_row($pg, 'shop', 'made');
    my $want = ask("$style SELECT id, $sql FROM made t");
    $_ = $json->decode($_) for values %$want;
    check_way("avro_$_", \&avro, $want) for qw(debezium flink plain zstandard);

    SKIP: {
        skip_without(has_avrocat(), 'avrocat is not installed', 1);
        # whose JSON has neither NaN nor the infinities, and of bytes what is before a NUL
        my $tame = join ' AND ', map { "($_->{name}::text ~ 'NaN|Inf') IS NOT TRUE" } grep { $_->{type} =~ /float/ } @columns;
        $pg->sql('shop', "CREATE TABLE tame (LIKE made, PRIMARY KEY (id)); INSERT INTO tame SELECT * FROM made WHERE $tame");
        for my $way (qw(avro_debezium avro_flink avro_plain)) {
            Cdc->run(server => $pg, db => 'shop', args => [-S => 'rows', qw(-m initial_only -t tame -f), "$dir/$way.tame", @{ $ways{$way} }])->exited(0, "$way: rows for avrocat");
            my @python = avro("$dir/$way.tame", as => 'avrocat');
            my @c = eval { avrocat("$dir/$way.tame") };
            is($@, '', "$way: avrocat reads it");
            my @differ = grep { canonical(plain_text($c[$_])) ne canonical(plain_text($python[$_])) } 0 .. $#python;
            ok(@c == @python && !@differ, "$way: avrocat reads the same") or diag(scalar(@c), ' and ', scalar(@python), " records\n", map { substr canonical(plain_text($_)), 0, 3000 } $c[$differ[0]], $python[$differ[0]]);
            my @ids = map { ($_->{after} // $_->{row})->{id} } @python;
            is(scalar @ids, $pg->sql('shop', 'SELECT count(*) FROM tame'), "$way: all of its rows");
            cmp_ok(scalar @ids, '>', 50, "$way: they are many");
        }
    }
}

# ---- CSV, into a table of the same columns ----

{
    my $columns = join ', ', map { "b.$_" } @names;
    for my $of (qw(snap flow)) {
        my $text = join ', ', map { "b.$_\::text" } @names;
        my $source = join ', ', map { "m.$_\::text" } @names;
        # a file with a header of its own names, read under other settings
        $pg->sql('shop', "DROP TABLE IF EXISTS back; CREATE TABLE back (row_kind text, commit_lsn numeric, tx_seq int8, xid int8, ts timestamptz, LIKE made, _unchanged text[])");
        my $copied = eval { $pg->sql('shop', "$style \n\\copy back FROM '$dir/csv_flink.$of' (FORMAT csv, HEADER)\n"); 1 };
        ok($copied, "CSV, $of: COPY reads it") or diag($@);
        my $kinds = $pg->sql('shop', "SELECT string_agg(k || ' ' || n, ', ' ORDER BY k COLLATE \"C\") FROM (SELECT row_kind AS k, count(*) AS n FROM back GROUP BY 1) x");
        is($kinds, $of eq 'snap' ? "+I $count" : "+I $count, +U $count, -D $count, -U $count", "CSV, $of: all kinds of records");
        is($pg->sql('shop', "SELECT count(*) FROM back b LEFT JOIN made m ON m.id = abs(b.id) WHERE ROW($text) IS DISTINCT FROM ROW($source)"), 0, "CSV, $of: equal rows, NULL and '' told apart");
        is($pg->sql('shop', 'SELECT count(*) FROM back WHERE _unchanged IS NOT NULL'), 0, "CSV, $of: all values were sent");
    }
    # byte for byte, between the metadata and _unchanged
    my $want = CdcTest::Process->capture(argv => [PgServer::bindir() . '/psql', '-XAtq', '-d', $pg->connstr('shop')], env => { PGCLIENTENCODING => 'UTF8' },
        input => "$style\n\\copy (SELECT * FROM snap ORDER BY ctid) TO STDOUT (FORMAT csv)\n")->{out};
    my $have = slurp("$dir/csv_flink.snap") =~ s/\A[^\n]*\n//r;
    my $start = qr/\+I,,,,\d{4}-\d\d-\d\dT[\d:.]+Z,/;
    $have =~ s/,\n(?=$start|\z)/\n/g;
    $have =~ s/^$start//mg;
    ok($have eq $want, 'CSV: the cells are byte by byte those of COPY') or do {
        my @pairs = map { [split /(?<=\n)/] } $have, $want;
        my ($at) = grep { $pairs[0][$_] ne ($pairs[1][$_] // '') } keys @{ $pairs[0] };
        diag(decode_utf8("$pairs[0][$at]$pairs[1][$at]"));
    };
}

# ---- NDJSON, readable: PostgreSQL makes rows of it ----

# What it cannot make rows of by itself, by type: SQL of the value from j (json), and of the source.
my %by_hand = (
    bytea => [q(decode(j->>'%s', 'base64')::text), '%s::text'],
    'bytea[]' => [q((SELECT array_agg(decode(x.e, 'base64') ORDER BY n) FROM json_array_elements_text(CASE json_typeof(j->'%s') WHEN 'array' THEN j->'%1$s' END) WITH ORDINALITY x(e, n))::text), '%s::text'],
    hstore => [q((SELECT coalesce(hstore(array_agg(key), array_agg(value)), '') FROM json_each_text(CASE json_typeof(j->'%s') WHEN 'object' THEN j->'%1$s' END) HAVING json_typeof(j->'%1$s') = 'object')::text), '%s::text'],
    pair => [q(j->>'%s'), '%s::text'],
    # JSON's own null looks as NULL does
    (map { $_ => [q(nullif((j->'%s')::jsonb::text, 'null')), q(nullif(%s::jsonb::text, 'null'))] } qw(json jsonb)),
);

sub populate ($way, $of, $field) {
    my %hand = map { $_->{name} => $by_hand{ $_->{type} } } grep { $by_hand{ $_->{type} } } @columns;
    my $row = 'json_populate_record(NULL::plain_columns, j) r';
    my $have = join ', ', map { $hand{$_} ? sprintf($hand{$_}[0], $_) : "r.$_\::text" } @names;
    my $source = join ', ', map { $hand{$_} ? sprintf($hand{$_}[1], "m.$_") : "m.$_\::text" } @names;
    $pg->sql('shop', "DROP TABLE IF EXISTS lines; CREATE TABLE lines (line json)");
    # a delimiter and quotes that no line has
    $pg->sql('shop', "\\copy lines FROM '$dir/$way.$of' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')\n");
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $part (@$field) {
        my $rows = "(SELECT line->'$part' AS j FROM lines WHERE json_typeof(line->'$part') = 'object')";
        # NULL of a column of JSON is null there
        my $differ = $pg->query('shop', "$style SELECT m.id, 1 FROM $rows l, $row LEFT JOIN made m ON m.id = abs(r.id)
            WHERE ROW($have) IS DISTINCT FROM ROW($source)");
        my @differ = map { $_->[0] } @$differ;
        is("@differ", '', "$way, $of: PostgreSQL makes equal rows of $part") or diag(differing($rows, $differ[0], \%hand));
        is($pg->sql('shop', "SELECT count(*) FROM $rows l"), $field->[0] eq 'row' && @$field == 1 && $of eq 'flow' ? 4 * $count : $part =~ /after|row/ && $of eq 'flow' ? 2 * $count : $of eq 'flow' ? 2 * $count : $count, "$way, $of: as many of them");
    }
}

sub differing ($rows, $id, $hand) {
    return map { my $c = $_; my $h = $hand->{ $c->{name} };
        map { "$c->{type}: " . ($_->[0] // 'NULL') . ' not ' . ($_->[1] // 'NULL') . "\n" } @{ $pg->query('shop', "$style SELECT * FROM (SELECT " . ($h ? sprintf($h->[0], $c->{name}) : "r.$c->{name}\::text") . ' AS a, '
            . ($h ? sprintf($h->[1], "m.$c->{name}") : "m.$c->{name}\::text") . " AS b FROM $rows l, json_populate_record(NULL::plain_columns, j) r JOIN made m ON m.id = abs(r.id) WHERE m.id = $id LIMIT 1) x WHERE a IS DISTINCT FROM b") } } @columns;
}

$pg->sql('shop', 'CREATE TABLE plain_columns AS SELECT id, ' . join(', ', map { $_->{name} } grep { !$by_hand{ $_->{type} } } @columns) . ' FROM made LIMIT 0');
for my $of (qw(snap flow)) {
    populate("ndjson_$_", $of, [$of eq 'snap' ? 'after' : qw(before after)]) for qw(debezium debezium-0.9);
    populate('ndjson_plain', $of, [$of eq 'snap' ? 'row' : qw(row old)]);
    populate('ndjson_flink', $of, ['row']);
}

# Where the row is, the same text in all envelopes; jq reads all lines.
for my $types (qw(ndjson types)) {
    for my $of (qw(snap flow)) {
        my %rows;
        for my $e (qw(debezium debezium-0.9 plain flink)) {
            my @lines = split /\n/, slurp("$dir/${types}_$e.$of");
            $rows{$e} = join "\n", map { /"row_kind":"(?:\+.)".*?"row":(.*)\}\z/ ? $1 : /"row":(\{.*\}),"old":/ ? $1 : /"after":(\{.*\}),"source":/ ? $1 : () } @lines;
        }
        cmp_ok(length $rows{debezium}, '>', 50_000, "$types, $of: the rows");
        ok($rows{$_} eq $rows{debezium}, "$types, $of: $_ has the same") for 'debezium-0.9', 'plain', 'flink';
        my @cells = csv_records(slurp("$dir/" . ($types eq 'types' ? 'csv_types' : 'csv_debezium') . ".$of"));
        my $mine = join "\n", map { canonical($_->{after} // ()) } grep { $_->{after} } @cells;
        my $theirs = join "\n", map { canonical($_->{after}) } grep { $_->{after} } records(slurp("$dir/${types}_debezium.$of"));
        ok($mine eq $theirs, "$types, $of: so have the cells of CSV");
    }
}
SKIP: {
    my $jq = CdcTest::Process::find_program('jq');
    skip_without($jq, 'jq is not installed', 1);
    for my $way (grep { !/avro|csv/ } sort keys %ways) {
        my $r = CdcTest::Process->capture(argv => [$jq, '-c', '[.op // .row_kind, (.after // .row // .before | .id)]', "$dir/$way.snap"]);
        is($r->{err}, '', "$way: jq reads it");
        is(join(' ', sort map { /(\d+)\]/ } split /\n/, $r->{out}), join(' ', sort split /\n/, $pg->sql('shop', 'SELECT id FROM made')), "$way: jq finds all rows");
    }
}

# ---- --types=debezium and --set ----

my %per_second = (connect => 1000, microseconds => 1_000_000, adaptive_time_microseconds => 1_000_000, nanoseconds => 1_000_000_000);

# Units of a second in which a time or timestamp(p) comes; undef for text.
sub unit ($kind, $digits, $mode) {
    return undef if $mode eq 'isostring';
    my $adaptive = $mode eq 'adaptive' || $mode eq 'adaptive_time_microseconds' && $kind eq 'timestamp';
    return $per_second{$mode} unless $adaptive;
    return defined $digits && $digits <= 3 ? 1000 : 1_000_000;
}

# What the server says, as SQL that gives json; undef: nothing is said here about that type.
sub debezium_expression ($type, $v, $mode) {
    if ($type =~ /\A(.*)\[\]\z/) {
        my $element = debezium_expression($1, 'x.e', $mode) // return undef;
        return "CASE WHEN array_ndims($v) > 1 THEN to_json($v) WHEN $v IS NOT NULL THEN (SELECT coalesce(json_agg($element ORDER BY x.n), '[]') FROM unnest($v) WITH ORDINALITY x(e, n)) END";
    }
    $type = 'numeric(12,2)' if $type eq 'price';
    my ($name, $args) = $type =~ /\A([^(]*)(?:\((.*)\))?\z/;
    my $micros = "(extract(epoch FROM date_trunc('second', $v))::numeric * 1000000 + extract(microseconds FROM $v)::bigint % 1000000)";
    if ($name eq 'numeric' || $name eq 'money') {
        my $m = $mode->{decimal} // return undef;
        $v = "$v\::numeric(30,2)" if $name eq 'money';
        return "to_json(CASE WHEN $v = 'NaN' THEN 'NAN' ELSE $v\::text END)" if $m eq 'string';
        return "to_json('float:' || encode(float8send($v\::float8), 'hex'))" if $m eq 'double';
        return "to_json($v\::text)";
    }
    if ($name =~ /\A(?:date|time|timestamp|timestamptz|timetz)\z/) {
        my $m = $mode->{time} // return undef;
        return "to_json(to_char($v AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z')" if $name eq 'timestamptz';
        return "to_json(to_char((date '2000-01-01' + $v) AT TIME ZONE 'UTC', 'HH24:MI:SS.US') || 'Z')" if $name eq 'timetz';
        return $m eq 'isostring' ? "to_json($v\::text || 'Z')" : "to_json($v - date '1970-01-01')" if $name eq 'date';
        my $unit = unit($name, $args, $m);
        return $name eq 'time' ? "to_json($v\::text || 'Z')" : "to_json(to_char($v, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z')" unless $unit;
        return "to_json(floor($micros * $unit / 1000000)::text)";
    }
    if ($name eq 'interval') {
        my $m = $mode->{interval} // return undef;
        return "CASE WHEN $v IS NOT NULL THEN to_json(format('P%sY%sM%sDT%sH%sM%sS', extract(year FROM $v), extract(month FROM $v), extract(day FROM $v), extract(hour FROM $v), extract(minute FROM $v), extract(second FROM $v))) END"
            if $m eq 'string';
        return "to_json(((extract(year FROM $v)::numeric * 12 + extract(month FROM $v)::numeric) * 2629800000000 + extract(day FROM $v)::numeric * 86400000000
            + extract(hour FROM $v)::numeric * 3600000000 + extract(minute FROM $v)::numeric * 60000000 + extract(microseconds FROM $v)::numeric)::numeric(40,0)::text)";
    }
    return $mode->{binary} && "to_json('\\x' || encode($v, 'hex'))" if $name eq 'bytea';
    return $mode->{hstore} && "hstore_to_json($v)" if $name eq 'hstore';
    return $mode->{unknown} && text_json($v) if $name =~ /\A(?:pair|tsquery|circle|box|polygon)\z/;
    return undef unless $mode->{all};
    return "to_json($v = B'1')" if $type eq 'bit(1)';
    return "CASE WHEN $v IS NOT NULL THEN json_build_object('x', 'float:' || encode(float8send($v\[0]), 'hex'), 'y', 'float:' || encode(float8send($v\[1]), 'hex')) END" if $name eq 'point';
    return "to_json($v\::bigint)" if $name eq 'oid';
    return "to_json($v)" if $name =~ /\A(?:bool|int[248])\z/;
    return "to_json('float:' || encode(float8send($v\::text::float8), 'hex'))" if $name =~ /\Afloat/;
    return text_json($v);
}

# a cast to text is not always the type's own text
sub text_json ($v) { return "CASE WHEN $v IS DISTINCT FROM NULL THEN to_json(format('%s', $v)) END" }

sub float ($v) { return 'float:' . unpack 'H*', pack 'd>', $v =~ /NaN/ ? -sin(9**9**9) : $v =~ /\A(-?)Inf/ ? "${1}Inf" : $v }
sub short ($v) { return $v =~ s/(\.[0-9]*?)0+(?=[SZ]\z)/$1/r =~ s/\.(?=[SZ]\z)//r }
my %unbinary = (bytes => \&decode_base64, base64 => \&decode_base64, hex => sub ($v) { pack 'H*', $v },
    'base64-url-safe' => sub ($v) { decode_base64($v =~ tr{-_}{+/}r . '=' x (-length($v) % 4)) });

# A value of a record in the form of the above.
sub undebezium ($type, $v, $mode) {
    return undef unless defined $v;
    if ($type =~ /\A(.*)\[\]\z/) {
        my $element = $1;
        return ref $v eq 'ARRAY' ? [map { undebezium($element, $_, $mode) } @$v] : $v;
    }
    $type = 'numeric(12,2)' if $type eq 'price';
    my ($name, $args) = $type =~ /\A([^(]*)(?:\((.*)\))?\z/;
    if ($name eq 'numeric' || $name eq 'money') {
        return float($v) if $mode->{decimal} eq 'double';
        return $v if $mode->{decimal} eq 'string' || !ref $v && $v eq 'NaN';
        my $scale = $name eq 'money' ? 2 : defined $args ? $args =~ s/.*,//r : $v->{scale};
        return decimal_text(decode_base64(ref $v ? $v->{value} : $v), $scale);
    }
    return $unbinary{ $mode->{binary} }->($v) =~ s/(.)/sprintf '%02x', ord $1/gesr =~ s/\A/\\x/r if $name eq 'bytea';
    return ref $v ? "an object for $mode->{hstore}" : record(Encode::encode_utf8($v)) if $name eq 'hstore' && $mode->{hstore} eq 'json';
    if ($name =~ /bit\z/ && $type ne 'bit(1)') {
        return 'bits ' . unpack 'b*', decode_base64($v);
    }
    if ($name eq 'point') {
        my $wkb = unpack 'H*', "\x01\x01\0\0\0" . pack 'd<2', @$v{qw(x y)};
        return 'bad wkb' if $wkb ne unpack 'H*', decode_base64($v->{wkb});
        return { map { $_ => float($v->{$_}) } qw(x y) };
    }
    return float($v) if $name =~ /\Afloat/;
    return decode_utf8($unbinary{ $mode->{binary} }->($v)) if ($mode->{unknown} // '') eq 'bytes' && $name =~ /\A(?:pair|tsquery|circle|box|polygon)\z/;
    return $v;
}

# The bits of the server's text, the last one first, up to the highest.
sub bits ($v) { return defined $v ? 'bits ' . (reverse($v) =~ s/0+\z//r =~ s/\A(.*)\z/$1 . '0' x (-length($1) % 8)/er) : undef }

my %modes = (
    (map { ("types_$_" => { all => 1, decimal => 'precise', time => 'adaptive', interval => 'numeric', binary => 'bytes', hstore => 'json', unknown => 'text' }) } qw(debezium debezium-0.9 flink plain)),
    modes_1 => { decimal => 'double', time => 'connect', interval => 'string', binary => 'hex', hstore => 'map', unknown => 'bytes' },
    modes_2 => { decimal => 'string', time => 'isostring', interval => 'numeric', binary => 'base64-url-safe', hstore => 'json' },
    modes_3 => { decimal => 'precise', time => 'microseconds', binary => 'base64' },
    modes_4 => { time => 'nanoseconds' },
    modes_5 => { time => 'adaptive_time_microseconds' },
);
for my $way (sort keys %modes) {
    my $mode = $modes{$way};
    my %expression = map { $_->{name} => debezium_expression($_->{type}, "t.$_->{name}", $mode) } @columns;
    my %leave = map { $_->{type} => 1 } grep { !$expression{ $_->{name} } } @columns;
    my $all = $mode->{all} // 0;
    cmp_ok(scalar(keys %leave), $all ? '==' : '<', $all ? 0 : @columns, "$way: types that are looked at");
    my $pairs = join ' UNION ALL ', map { "SELECT '$_' AS k, $expression{$_} AS v" } grep { $expression{$_} } sort keys %expression;
    my $want = ask("$style SELECT id, (SELECT json_object_agg(k, v) FROM ($pairs) pairs) FROM made t");
    for my $row (values %$want) {
        $row = record(Encode::encode_utf8($row));
        for my $c (grep { defined $row->{ $_->{name} } && !ref $row->{ $_->{name} } } @columns) {
            for ($row->{ $c->{name} }) {
                $_ = bits($_) if $c->{type} =~ /\A(?:bit\(11\)|varbit)\z/;
                $_ = short($_) if $c->{type} =~ /\A(?:time|interval)/;
            }
        }
        $_ = short_all($_) for @$row{ map { $_->{name} } grep { $_->{type} =~ /\A(?:time|interval).*\[\]/ } @columns };
    }
    my $read = sub ($path) {
        # numbers that Perl would change
        my @records = records(slurp($path) =~ s/(?<=[^\\]":)(-0|-?[0-9]{18,})(?=[,}])/"$1"/gr);
        for my $row (grep { ref } map { @$_{qw(before after row old)} } @records) {
            for my $c (grep { !$leave{ $_->{type} } } @columns) {
                next unless exists $row->{ $c->{name} };
                my $v = undebezium($c->{type}, $row->{ $c->{name} }, $mode);
                $row->{ $c->{name} } = $c->{type} =~ /\A(?:time|interval)/ ? short_all($v) : $v;
            }
        }
        return @records;
    };
    check_way($way, $read, $want, %leave);
}

# The same modes in Avro: what is text there is as in NDJSON.
{
    my $read = sub ($path) { map { $_->{after} } grep { $_->{after} } $path =~ /ndjson/ ? records(slurp($path)) : avro($path) };
    my @ndjson = $read->("$dir/ndjson_debezium.snap");
    my @text = $read->("$dir/avro_modes.snap");
    my @double = $read->("$dir/avro_double.snap");
    is(scalar @$_, $count, 'Avro with modes: all rows') for \@text, \@double;
    my ($looked, @wrong);
    for my $n (0 .. $#ndjson) {
        for my $c (grep { $_->{type} =~ /\A(?:numeric|date|time|interval|bytea|hstore|price|money)/ } @columns) {
            my ($have, $want) = ($text[$n]{ $c->{name} }, $ndjson[$n]{ $c->{name} });
            $have = record(Encode::encode_utf8($have)) if defined $have && $c->{type} eq 'hstore';
            push @wrong, "$c->{type}: " . canonical([$have, $want]) if canonical($have) ne canonical($want);
            $looked++;
        }
        for my $c (grep { $_->{type} =~ /\A(?:numeric|price|bytea)/ } @columns) {
            my ($have, $want) = ($double[$n]{ $c->{name} }, $ndjson[$n]{ $c->{name} });
            my $of = sub ($v) { !defined $v ? undef : ref $v ? [map { __SUB__->($_) } @$v] : $c->{type} =~ /bytea/ ? unpack('H*', decode_base64($v)) : float($v) };
            push @wrong, "$c->{type}, double: " . canonical([$have, $of->($want)]) if canonical($have) ne canonical($of->($want));
        }
    }
    cmp_ok($looked, '>', 1000, 'values were compared');
    is(substr(join("\n", @wrong), 0, 2000), '', 'Avro with modes: text is as in NDJSON, doubles are those of the text');
    my $interval = (grep { $_->{type} eq 'interval' } @columns)[0]{name};
    my $micros = ask("$style SELECT id, " . debezium_expression('interval', "t.$interval", { interval => 'numeric' }) . ' FROM made t');
    is(join(' ', map { $_->{$interval} // 'null' } @double), join(' ', map { ($micros->{ $_->{id} } // 'null') =~ s/"//gr } @double), 'intervals are microseconds');
}

sub short_all ($v) { return ref $v eq 'ARRAY' ? [map { short_all($_) } @$v] : defined $v ? short($v) : undef }

done_testing;
