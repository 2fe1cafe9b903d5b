# Avro: names that it does not allow, values that its types do not hold, labels and tables that come
# while a run goes on.
use v5.36;
use utf8;
use Encode qw(encode_utf8 decode_utf8);
use CdcTest;
use CdcTest::Formats;

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
$pg->create_db('shop');
my $dir = scratch();

sub sql ($text) { return $pg->sql('shop', $text) }
sub start ($slot, @args) {
    return Cdc->start(server => $pg, db => 'shop', args => [-S => $slot, qw(-m never -F avro -e plain --state), "$dir/$slot.json", '-f', "$dir/$slot.avro", @args]);
}
sub run ($slot, @args) { return start($slot, qw(-E now), @args)->wait }
sub story (@records) { return join ' ', map { $_->{op} . ($_->{row} // $_->{old} // $_->{key})->{id} } @records }

# Both readers, as the same data; all of Python's when avrocat has no such thing.
sub both ($slot, $name) {
    my @python = eval { avro("$dir/$slot.avro") };
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($@, '', "$name: Python reads it");
    SKIP: {
        skip_without(has_avrocat(), 'avrocat is not installed');
        my @want = eval { avro("$dir/$slot.avro", as => 'avrocat') };
        my @have = eval { avrocat("$dir/$slot.avro") };
        is(canonical(plain_text(\@have)), canonical(plain_text(\@want)), "$name: avrocat reads the same") or diag($@);
    }
    return @python;
}

sub quoted ($name) { return '"' . ($name =~ s/"/""/gr) . '"' }

# ---- names ----

my @odd = ('a b', 'a_u0020b', 'a.b', 'ab', 'a_b', 'a__b', '_u0061', 'ä', 'Ä', 'int', 'null', 'record', 'Value', 'Envelope', 'before', '1st', ' ', '_', '-', '"q"',
    "line\nfeed", '😀', 'x' x 63, ('é' x 31) . 'x', 'select', '$', "back\\slash", 'class', 'name', 'type', 'None');
{
    my $table = 'odd ".tä' . "b\nle";
    my $columns = join ', ', map { quoted($_) . ' int' } @odd;
    sql("CREATE SCHEMA \"s c-h\"; CREATE TABLE \"s c-h\"." . quoted($table) . " (id int PRIMARY KEY, $columns)");
    my $id = 0;
    for my $envelope (qw(plain debezium flink)) {
        my $slot = "odd_$envelope";
        my @args = ('-e', $envelope, $envelope eq 'flink' ? '--changelog-mode=upsert' : (), '--server-name', encode_utf8('sérver 1.x'), '-n', 's c-h');
        run($slot, @args)->exited(0, "odd names, $envelope: a slot");
        sql('INSERT INTO "s c-h".' . quoted($table) . ' VALUES (' . join(', ', ++$id, 1 .. @odd) . ')');
        run($slot, @args)->exited(0, "odd names, $envelope: a run");
        my ($r) = both($slot, "odd names, $envelope");
        my $row = $r->{row} // $r->{after};
        is(canonical([map { $row->{$_} } @odd]), canonical([1 .. @odd]), "odd names, $envelope: each column has its value");
        my $s = $r->{source} // $r;
        is(($s->{schema} // $s->{schema_name}) . '|' . ($s->{table} // $s->{table_name}), "s c-h|$table", "odd names, $envelope: schema and table");
        my $schema = container("$dir/$slot.avro")->{schema};
        is("$schema->{'pg.schema'}|$schema->{'pg.table'}", "s c-h|$table", "odd names, $envelope: as properties too");
    }
    # tables, schemas that would become one name
    sql('CREATE SCHEMA "n"; CREATE SCHEMA "n.a"');
    my @tables = ('n."a.b"', '"n.a".b', 'n."a b"', 'n."a_u0020b"', 'n."int"', 'n."string"', 'n.v2', 'n.a', '"n.a".v2');
    sql("CREATE TABLE $_ (id int PRIMARY KEY)") for @tables;
    run('collide', '-n', 'n(\.a)?')->exited(0, 'names that collide: a slot');
    sql("INSERT INTO $tables[$_] VALUES ($_)") for 0 .. $#tables;
    run('collide', '-n', 'n(\.a)?')->exited(0, 'names that collide: a run');
    is(join(', ', map { quoted($_->{schema}) . '.' . quoted($_->{table}) . $_->{row}{id} } both('collide', 'names that collide')),
        join(', ', map { my $n = $_; $tables[$n] =~ s/\An\./"n"./r =~ s/\.([a-z]\w*)\z/."$1"/r . $n } 0 .. $#tables), 'names that collide: each record has its table');
}

# ---- values that Avro's types do not hold ----

# [column's type, value, what is said, hint, its way out, how it comes then]
my @cases = (
    ['numeric(10,2)', 'NaN', qr/NaN/, 'decimal.handling.mode=string', 'NaN'],
    ['date', 'infinity', qr/infinity/, 'time.precision.mode=isostring', 'infinity'],
    ['timestamp', '-infinity', qr/infinity/, 'time.precision.mode=isostring', '-infinity'],
    ['timestamp', '294276-12-31 23:59:59.999999', qr/beyond what its Avro type holds/, 'time.precision.mode=isostring', '+294276-12-31T23:59:59.999999'],
    ['timestamptz', 'infinity', qr/infinity/, 'time.precision.mode=isostring', 'infinity'],
);
for my $n (0 .. $#cases) {
    my ($type, $value, $said, $set, $want) = @{ $cases[$n] };
    my $slot = "fault$n";
    sql("CREATE TABLE f$n (id int PRIMARY KEY, \"The Column\" $type)");
    run($slot, -t => "f$n")->exited(0, "$type: a slot");
    sql("INSERT INTO f$n VALUES (1, NULL); INSERT INTO f$n VALUES (2, '$value'); INSERT INTO f$n VALUES (3, NULL)");
    for my $try (1, 2) {
        my $r = run($slot, -t => "f$n");
        $r->exited(1, "$type, $value: status 1");
        like($r->err, qr/^cdcdump: error: could not write column "The Column" of table "public\.f$n" at [0-9A-F\/]+: .*$said/m, "$type, $value: column and table are named");
        like($r->err, qr/^HINT:  .*--set \Q$set\E/m, "$type, $value: and a way out");
        is(story(avro("$dir/$slot.avro")), 'c1', "$type, $value: what came before it is there, once");
    }
    my $r = run($slot, -t => "f$n", '--set', $set, '-f', "$dir/$slot.other");
    $r->exited(0, "$type, $value: with --set $set into another file");
    my @records = avro("$dir/$slot.other");
    is(story(@records), 'c2 c3', "$type, $value: nothing is missing, nothing comes twice");
    is($records[0]{row}{'The Column'}, $want, "$type, $value: the value");
}

# What they do hold: the ends of their ranges, and beyond them text without an error.
{
    sql(q(CREATE TABLE wide (id int PRIMARY KEY, d date, t timestamp, z timestamptz, n numeric, m numeric(3,5), o numeric(3,-2), a int[], i interval)));
    run('wide', '-t', 'wide')->exited(0, 'extremes: a slot');
    my @values = (q('5874897-12-31', '294246-12-31 23:59:59.999999', '294246-12-31 23:59:59.999999Z', 'NaN', 0.00123, 12300, '{{1},{2}}', '-178000000 years'),
        q('4713-01-01 BC', '4713-01-01 00:00 BC', '4713-01-01 00:00Z BC', 1e100, -0.00999, -99900, '{}', '1 day'));
    SKIP: {
        skip_without($pg->version >= 15, 'PostgreSQL 15 brought scales below 0 and above the precision', 4);
        sql("SET timezone = 'UTC'; INSERT INTO wide VALUES ($_, $values[$_])") for 0 .. $#values;
        run('wide', '-t', 'wide')->exited(0, 'extremes: a run');
        my @have = map { $_->{row} } both('wide', 'extremes');
        my $sql = avro_row($pg, 'shop', 'wide');
        my @want = map { JSON::PP->new->decode($_->[0]) } @{ $pg->query('shop', "SET timezone = 'UTC'; SELECT $sql FROM wide t ORDER BY id") };
        is(canonical(plain_text(\@have)), canonical(plain_text(\@want)), 'extremes: equal');
    }
}

# Python's own types, by the logical types.
{
    sql('CREATE TABLE native (id int PRIMARY KEY, d date, t time, z timestamptz, n numeric(12,3), u uuid, y bytea)');
    run('native', '-t', 'native')->exited(0, 'logical types: a slot');
    sql(q(INSERT INTO native VALUES (1, '2023-05-01', '12:34:56.789', '2023-05-01 14:34:56.789+02', -1234.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff')));
    run('native', '-t', 'native')->exited(0, 'logical types: a run');
    my ($r) = avro("$dir/native.avro", as => 'native');
    is(canonical($r->{row}), canonical({ id => 1, d => '2023-05-01', t => '12:34:56.789000', z => '2023-05-01 12:34:56.789000+00:00', n => '-1234.500',
        u => 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', y => '\\x00ff' }), 'logical types: Python makes its own dates, times and decimals of them');
    my %fields = map { $_->{'pg.name'} => $_ } map { @{ (ref $_->{type} eq 'ARRAY' ? $_->{type}[1] : $_->{type})->{fields} } } grep { $_->{name} eq 'row' } @{ container("$dir/native.avro")->{schema}{fields} };
    is(canonical([map { $fields{$_}{type} } qw(d t z n u y)]), canonical([['null', { type => 'int', logicalType => 'date' }], ['null', { type => 'long', logicalType => 'time-micros' }],
        ['null', { type => 'long', logicalType => 'timestamp-micros' }], ['null', { type => 'bytes', logicalType => 'decimal', precision => 12, scale => 3 }],
        ['null', { type => 'string', logicalType => 'uuid' }], ['null', 'bytes']]), 'logical types: as the specification has them');
    is(join(' ', map { $fields{$_}{'pg.key'} ? "$_: key" : () } sort keys %fields), 'id: key', 'the key is told');
    ok(!grep({ !exists $_->{default} || defined $_->{default} } values %fields), 'all columns have the default null');
}

# ---- while a run goes on ----

{
    sql(q(CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE feel (id int PRIMARY KEY, m mood)));
    run('feel', '-t', 'feel')->exited(0, 'labels: a slot');
    my $c = start('feel', '-t', 'feel');
    sql(q(INSERT INTO feel VALUES (1, 'sad')));
    sql(q(ALTER TYPE mood ADD VALUE 'gréat "new"' BEFORE 'ok'));
    sql(q(INSERT INTO feel VALUES (2, 'gréat "new"'); ALTER TYPE mood RENAME VALUE 'sad' TO 'glum'; INSERT INTO feel VALUES (3, 'glum')));
    $c->wait_handler('INT');
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'labels: a run in which they are added and renamed');
    is(join(' ', map { "$_->{row}{id}:$_->{row}{m}" } both('feel', 'labels')), '1:sad 2:gréat "new" 3:glum', 'labels: as they were');
}
{
    sql('CREATE TABLE first (id int PRIMARY KEY)');
    run('come', '-t', '(first|second)')->exited(0, 'a further table: a slot');
    my $c = start('come', '-t', '(first|second)');
    sql('INSERT INTO first VALUES (1)');
    $c->wait_handler('INT');
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'a further table: not there yet');
    sql('CREATE TABLE second (id int PRIMARY KEY, v text)');
    my $r = run('come', '-t', '(first|second)');
    $r->exited(0, 'a further table: it is there, but has no changes');
    sql(q(INSERT INTO first VALUES (2); BEGIN; INSERT INTO first VALUES (3); INSERT INTO second VALUES (4, 'x'); COMMIT));
    $r = run('come', '-t', '(first|second)');
    $r->exited(6, 'a further table: the file cannot carry it');
    like($r->err, qr/"public\.second"/, 'a further table: it is named');
    is(story(avro("$dir/come.avro")), 'c1 c2', 'a further table: whole transactions before it');
    run('come', '-t', '(first|second)', '-f', "$dir/come.2")->exited(0, 'a further table: another file can');
    is(story(avro("$dir/come.2")), 'c3 c4', 'a further table: with all the rest');
    # as the hint says: an empty one in its place
    sql('CREATE TABLE third (id int PRIMARY KEY)');
    run('place', '-t', 'first')->exited(0, 'in its place: a slot');
    sql('INSERT INTO first VALUES (5)');
    run('place', '-t', 'first')->exited(0, 'in its place: a record');
    sql('ALTER TABLE first ADD more int; INSERT INTO first VALUES (6)');
    $r = run('place', '-t', 'first');
    $r->exited(6, 'in its place: the columns change');
    like($r->err, qr/^HINT:  Move the file away, put an empty one in its place and run again/m, 'in its place: the hint');
    rename "$dir/place.avro", "$dir/place.old";
    spew("$dir/place.avro", '');
    run('place', '-t', 'first')->exited(0, 'in its place: after what the hint says');
    is(story(avro("$dir/place.old")) . ' | ' . story(avro("$dir/place.avro")), 'c5 | c6', 'in its place: all is there');
}

# ---- options ----

for my $case (
    [['-K', '\t'], qr/-F avro and -K cannot be used together/],
    [['--tombstones'], qr/tombstones/],
    [['--types=debezium'], qr/-F avro and --types=debezium cannot be used together/],
    [['-e', 'debezium-0.9'], qr/invalid envelope for Avro: must be one of debezium, flink, plain/],
    [['--set', 'time.precision.mode=connect'], qr/invalid time.precision.mode for Avro: must be isostring/],
    [['--transactions'], qr/--transactions and -F avro cannot be used together/],
    [['--schema-events'], qr/--schema-events and -F avro cannot be used together/],
    [['--messages'], qr/--messages and -F avro cannot be used together/],
    [['--heartbeat=1'], qr/--heartbeat and -F avro cannot be used together/],
    [['--codec=lzma'], qr/invalid codec "lzma": must be one of null, deflate, zstandard, snappy/],
) {
    my ($args, $message) = @$case;
    my $r = Cdc->run(args => [-S => 'x', qw(-F avro), @$args]);
    $r->exited(2, "@$args: status 2");
    like($r->err, $message, "@$args: why");
}
Cdc->run(args => [-S => 'x', '--codec=null'])->exited(2, '--codec without Avro');

done_testing;
